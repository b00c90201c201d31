"""An application of Next with the app router: rendered by its server, alive in a browser."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.e2e.pages import chromium, listen
from tests.e2e.server import Server
from tests.packages.npm import install, link_packages, run
from tools import machine

pytestmark = pytest.mark.browser

FOLDER = machine.ROOT / "tests" / "e2e" / "next"
NEXT = Path("node_modules/next/dist/bin/next")


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory, packed: list[Path]) -> Path:
    """The application, built."""
    project = tmp_path_factory.mktemp("next") / "application"
    shutil.copytree(FOLDER, project, ignore=shutil.ignore_patterns("node_modules", ".next"))
    link_packages(FOLDER, project)
    client, react, *_ = packed
    install(project, client, react, "ws@8", "yjs@13", "y-protocols@1", "lib0@0.2")
    run(project, project / NEXT, "build", NEXT_TELEMETRY_DISABLED="1")
    return project


@asynccontextmanager
async def started(application: Path, collab: str) -> AsyncIterator[str]:
    """`next start`, at the address that is given."""
    process = await asyncio.create_subprocess_exec(
        machine.node(),
        application / NEXT,
        "start",
        "--port=0",
        "--hostname=127.0.0.1",
        cwd=application,
        env={**os.environ, "COLLAB_URL": collab, "NEXT_TELEMETRY_DISABLED": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            said = b""
            while not (found := re.search(rb"http://127\.0\.0\.1:(\d+)[\s\S]*Ready", said)):
                line = await process.stdout.readline()
                assert line, said
                said += line
        yield f"http://127.0.0.1:{int(found[1])}/"
    finally:
        process.terminate()
        await process.communicate()


async def test_pages_are_rendered_with_what_the_server_read_and_live_on(application: Path, tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.start()
    try:
        async with started(application, server.http) as url, chromium() as browser:
            page = await browser.new_page()
            complaints = listen(page, "next")
            await page.goto(url)
            await expect(page.locator("#count")).to_have_text("0")
            await page.get_by_role("button", name="New").click()
            await expect(page.locator("li")).to_have_text(["Write it down"])
            await expect(page.locator("output")).to_have_text("saved")
            await expect(page.locator("#created")).to_have_text("1")  # the list shows a row before it is stored
            await page.reload()
            await expect(page.locator("#count")).to_have_text("1")
            await expect(page.locator("li")).to_have_text(["Write it down"])
            assert complaints == []
    finally:
        server.stop()
