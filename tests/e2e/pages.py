"""Pages of the JavaScript packages: built by Vite, served by our server, opened in a browser."""

from __future__ import annotations

import json
import os
import re
import subprocess
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, Route, async_playwright, expect

from collab.realtime.subscriptions.table import SessionSubscriptions
from tools import machine

FOLDER = machine.ROOT / "js" / "tests"
PATIENCE = 40.0  # timeout for conditions, in seconds
# Messages of a browser, and of our client without listeners, about connections that fail while the server or
# the network is away on purpose.
_UNREACHABLE = re.compile(
    r"WebSocket connection to .* failed|Lumenize: (CONNECTION_LOST|UNAVAILABLE): "
    r"|net::ERR_(CONNECTION_|EMPTY|SOCKET_NOT_CONNECTED)"
)


def build(
    target: Path,
    root: Path | None = None,
    *,
    ssr: bool = False,
    development: bool = False,
    folder: Path = FOLDER,
    packages: Path = FOLDER.parent / "node_modules",
    page: Path | None = None,
) -> Path:
    """Build the pages of ``root`` (by default those of the packages' own tests), or modules for Node.

    In ``development`` the frameworks log warnings that they otherwise suppress. ``folder`` contains
    the configuration of the build, ``packages`` has Vite; ``page`` is the specification's page.
    """
    vite = packages / "vite" / "bin" / "vite.js"
    mode = "development" if development else "production"
    options = ["--mode", mode, *(["--ssr"] if ssr else [])]
    command = [str(machine.node()), str(vite), "build", *options, "--outDir", str(target), "--emptyOutDir"]
    environment = {**os.environ, "NODE_ENV": mode}
    if root is not None:
        environment["ROOT"] = str(root)
    if page is not None:
        environment["LUMENIZE_SPEC"] = str(page)
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout
    return target


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A headless Chromium."""
    expect.set_options(timeout=PATIENCE * 1000)
    executable, environment = machine.browser()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=executable, env={**environment}, args=list(machine.BROWSER_FLAGS)
        )
        yield browser
        await browser.close()


class Counter:
    """Counts subscriptions on the server: ``len`` is the number now, ``opened`` the total."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._all: weakref.WeakSet[SessionSubscriptions] = weakref.WeakSet()
        self.opened = 0
        counter = self

        begin, open_all = SessionSubscriptions.__init__, SessionSubscriptions.open

        def begin_counted(made: SessionSubscriptions, limit: int) -> None:
            begin(made, limit)
            counter._all.add(made)

        async def open_counted(made: SessionSubscriptions, context: Any, wanted: Any) -> Any:
            counter.opened += len(wanted)
            return await open_all(made, context, wanted)

        patch.setattr(SessionSubscriptions, "__init__", begin_counted)
        patch.setattr(SessionSubscriptions, "open", open_counted)

    def __len__(self) -> int:
        return sum(len(each) for each in self._all)


def listen(page: Page, name: str) -> list[str]:
    """Collect later errors of a page."""
    complaints: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not _UNREACHABLE.search(message.text):
            complaints.append(f"{name}: {message.text}")

    page.on("pageerror", lambda error: complaints.append(f"{name}: {error}"))
    page.on("console", hear)
    return complaints


class Scene:
    """One test page. :meth:`show` sets what it shows; it is read back as JSON."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints = listen(page, page.url)

    async def open(self, url: str, *, connect: bool = True, rendered: str = "") -> None:
        """Open a page, ``rendered`` by a server or empty."""
        if rendered:

            async def render(route: Route) -> None:
                plain = await (await route.fetch()).text()
                assert '<div id="app"></div>' in plain
                page = plain.replace('<div id="app"></div>', f'<div id="app">{rendered}</div>')
                await route.fulfill(body=page, content_type="text/html")

            await self.page.route(url, render)
        await self.page.goto(url)
        await self.page.wait_for_function("window.page !== undefined")
        if connect:
            await self.page.evaluate("page.client.connect()")

    async def show(self, *widgets: dict[str, Any]) -> None:
        """Show these widgets; each is named by its ``key``, by default its index."""
        scene = [{"key": f"w{index}", **widget} for index, widget in enumerate(widgets)]
        await self.page.evaluate("scene => page.show(scene)", scene)
        await expect(self.page.locator("pre")).to_have_count(len(scene))

    async def read(self, key: str = "w0") -> Any:
        return json.loads(await self.page.locator(f"#{key}").inner_text())

    async def until(self, condition: str, key: str = "w0") -> Any:
        """Wait until the JavaScript ``condition`` holds for a widget's output (``it``); returns the output."""
        ready = f"key => {{ const it = JSON.parse(document.getElementById(key).textContent); return {condition} }}"
        try:
            await self.page.wait_for_function(ready, arg=key, timeout=PATIENCE * 1000)
        except Exception as error:
            raise AssertionError(f"{key} says {await self.read(key)}, and not that {condition}") from error
        return await self.read(key)

    async def run(self, script: str, argument: Any = None) -> Any:
        return await self.page.evaluate(script, argument)
