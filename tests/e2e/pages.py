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

import dev
from collab.realtime import session as sessions
from collab.realtime.subscriptions import Subscriptions

FOLDER = dev.ROOT / "js" / "tests"
PATIENCE = 15.0  # seconds until a condition that is waited for counts as missed
# What a browser writes about every connection that fails while the server or the network is away on purpose.
_UNREACHABLE = re.compile(r"WebSocket connection to .* failed|net::ERR_(CONNECTION_REFUSED|CONNECTION_RESET|EMPTY)")


def build(
    target: Path,
    root: Path | None = None,
    *,
    ssr: bool = False,
    development: bool = False,
    folder: Path = FOLDER,
    page: Path | None = None,
) -> Path:
    """Build the pages of ``root`` (by default those of the packages' own tests), or modules for Node.

    In ``development`` the frameworks complain on the console about what they otherwise put up with. ``folder`` holds
    the configuration of the build; ``page`` is the specification's page.
    """
    vite = FOLDER.parent / "node_modules" / "vite" / "bin" / "vite.js"
    mode = "development" if development else "production"
    options = ["--mode", mode, *(["--ssr"] if ssr else [])]
    command = [str(dev.node()), str(vite), "build", *options, "--outDir", str(target), "--emptyOutDir"]
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
    executable, environment = dev.browser()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=executable, env={**environment}, args=list(dev.BROWSER_FLAGS)
        )
        yield browser
        await browser.close()


class Counter:
    """Counts what is subscribed to on the server: ``len`` tells how many now, ``opened`` how many ever."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._all: weakref.WeakSet[Subscriptions] = weakref.WeakSet()
        self.opened = 0
        counter = self

        class Counted(Subscriptions):
            def __init__(self, limit: int) -> None:
                super().__init__(limit)
                counter._all.add(self)

            async def open(self, context: Any, wanted: Any) -> Any:
                counter.opened += len(wanted)
                return await super().open(context, wanted)

        patch.setattr(sessions, "Subscriptions", Counted)

    def __len__(self) -> int:
        return sum(len(each) for each in self._all)


def listen(page: Page, name: str) -> list[str]:
    """What goes wrong on a page from now on."""
    complaints: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not _UNREACHABLE.search(message.text):
            complaints.append(f"{name}: {message.text}")

    page.on("pageerror", lambda error: complaints.append(f"{name}: {error}"))
    page.on("console", hear)
    return complaints


class Scene:
    """One test page: what is shown is told by :meth:`show`, and read as JSON."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints = listen(page, page.url)

    async def open(self, url: str, *, connect: bool = True, rendered: str = "") -> None:
        """Open a page, that a server has ``rendered`` already or that is empty yet."""
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
        """Show these; each is named by its ``key``, by default its place."""
        scene = [{"key": f"w{index}", **widget} for index, widget in enumerate(widgets)]
        await self.page.evaluate("scene => page.show(scene)", scene)
        await expect(self.page.locator("pre")).to_have_count(len(scene))

    async def read(self, key: str = "w0") -> Any:
        return json.loads(await self.page.locator(f"#{key}").inner_text())

    async def until(self, condition: str, key: str = "w0") -> Any:
        """Wait until ``condition``, in JavaScript, holds for what a widget says (``it``); returns that."""
        ready = f"key => {{ const it = JSON.parse(document.getElementById(key).textContent); return {condition} }}"
        try:
            await self.page.wait_for_function(ready, arg=key, timeout=PATIENCE * 1000)
        except Exception as error:
            raise AssertionError(f"{key} says {await self.read(key)}, and not that {condition}") from error
        return await self.read(key)

    async def run(self, script: str, argument: Any = None) -> Any:
        return await self.page.evaluate(script, argument)
