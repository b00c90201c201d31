"""A running demo, a browser, and windows that must not complain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser, async_playwright, expect

import dev
from tests.browser.demo import PATIENCE, Demo, Window

OpenWindow = Callable[..., Awaitable[Window]]


@pytest.fixture
async def demo(tmp_path: Path) -> AsyncIterator[Demo]:
    """`collab demo`, open to everybody; it must also stop in good order."""
    running = Demo(tmp_path / "data")
    await running.start()
    yield running
    assert await running.stop() == 0


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """A headless Chromium."""
    expect.set_options(timeout=PATIENCE * 1000)
    executable, environment = dev.browser()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=executable, env={**environment}, args=list(dev.BROWSER_FLAGS)
        )
        yield browser
        await browser.close()


@pytest.fixture
async def window(browser: Browser, demo: Demo) -> AsyncIterator[OpenWindow]:
    """Opens windows, each as if on a machine of its own; afterwards none may have met an error."""
    opened: list[Window] = []

    async def open_window(name: str, document: str = "notes", url: str | None = None) -> Window:
        context = await browser.new_context()
        opened.append(await Window.open(context, url or demo.url, document, name))
        return opened[-1]

    yield open_window
    assert [complaint for window in opened for complaint in window.complaints] == []
