"""The quickstart as somebody follows it: a page of a development server, beside a server that was just started."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from playwright.async_api import async_playwright

from collab import Collab, Settings
from tests.collab.serving import serving
from tools import machine

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "quickstart.md").read_text()
# what the package `codemirror` is: these two names of its parts
CODEMIRROR = """
export { EditorView } from "@codemirror/view"
export const basicSetup = []
"""


def block(beginning: str) -> str:
    """The piece of JavaScript in the quickstart that begins so."""
    found = re.search(rf"```js\n({re.escape(beginning)}.*?)```", GUIDE, re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    modules = tmp_path / "node_modules"
    modules.mkdir()
    for package in (ROOT / "js" / "node_modules").iterdir():
        (modules / package.name).symlink_to(package)
    (modules / "codemirror").mkdir()
    (modules / "codemirror" / "package.json").write_text('{"name": "codemirror", "type": "module", "main": "i.js"}')
    (modules / "codemirror" / "i.js").write_text(CODEMIRROR)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "index.html").write_text('<body><script type="module" src="/src/main.js"></script>')
    (tmp_path / "src").mkdir()
    return tmp_path


@asynccontextmanager
async def development_server(folder: Path) -> AsyncIterator[str]:
    """Vite, on a free port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    vite = ROOT / "js" / "node_modules" / "vite" / "bin" / "vite.js"
    process = await asyncio.create_subprocess_exec(
        machine.node(), vite, "--port", str(port), "--strictPort", "--host", "127.0.0.1", cwd=folder
    )
    try:
        async with httpx.AsyncClient(timeout=40, base_url=f"http://127.0.0.1:{port}") as http, asyncio.timeout(60):
            while True:
                try:
                    await http.get("/")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
        yield f"http://localhost:{port}"
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.parametrize("proxied", [False, True], ids=["another origin", "through the dev proxy"])
async def test_a_page_of_a_development_server_writes_a_document(proxied: bool, project: Path, tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path / "data"))
    async with (
        serving(Collab(settings)) as address,
        httpx.AsyncClient(timeout=40, base_url=f"http://{address}") as http,
    ):
        page_code = block("import * as Y").replace("'ws://127.0.0.1:8000/hocuspocus'", f"'ws://{address}/hocuspocus'")
        if proxied:
            page_code = page_code.replace(f"'ws://{address}/hocuspocus'", "`ws://${location.host}/hocuspocus`")
            config = block("// vite.config.js").replace("127.0.0.1:8000", address)
            (project / "vite.config.js").write_text(config)
        (project / "src" / "main.js").write_text(page_code)
        executable, environment = machine.browser()
        async with development_server(project) as url, async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=executable, env={**environment}, args=list(machine.BROWSER_FLAGS)
            )
            page = await browser.new_page()
            said: list[str] = []
            page.on("console", lambda message: said.append(message.text))
            await page.goto(url)
            await page.locator(".cm-content").click(timeout=60_000)
            await page.keyboard.type("Hello")
            async with asyncio.timeout(60):
                while (await http.get("/rooms/documents/hello?format=text&root=codemirror")).text != "Hello":
                    await asyncio.sleep(0.1)
                while "saved" not in said:
                    await asyncio.sleep(0.1)
            await browser.close()
