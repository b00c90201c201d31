"""A running demo, a browser, and windows that must not log errors."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from tests.browser.demo import PATIENCE, Demo, Window, running
from tests.browser.examples import PHONE, Visitor
from tools import machine

OpenWindow = Callable[..., Awaitable[Window]]
Visit = Callable[..., Awaitable[Visitor]]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def demo(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Demo]:
    """`collab demo`, open to everybody; it must also stop cleanly."""
    async with running(tmp_path_factory.mktemp("demo")) as demo:
        yield demo


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    """A headless Chromium."""
    expect.set_options(timeout=PATIENCE * 1000)
    executable, environment = machine.browser()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=executable, env={**environment}, args=list(machine.BROWSER_FLAGS)
        )
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def window(browser: Browser, demo: Demo, request: pytest.FixtureRequest) -> AsyncIterator[OpenWindow]:
    """Opens windows, each as if on its own machine; at the end none may have logged an error."""
    opened: list[Window] = []
    of_this_test = re.sub(r"\W+", "-", request.node.name).strip("-")[-60:]

    async def open_window(name: str, document: str = of_this_test) -> Window:
        context = await browser.new_context()
        opened.append(await Window.open(context, demo.url, document, name))
        return opened[-1]

    yield open_window
    for window in opened:
        await window.page.context.close()
    assert [complaint for window in opened for complaint in window.complaints] == []


@pytest_asyncio.fixture(loop_scope="module")
async def visit(browser: Browser, demo: Demo) -> AsyncIterator[Visit]:
    """Opens examples, each as if on its own machine; at the end no page may have logged a warning."""
    opened: list[Visitor] = []

    async def visit_example(example: str, name: str, *, at: str = "", phone: bool = False) -> Visitor:
        context = await browser.new_context(**(PHONE if phone else {}))
        visitor = await Visitor.open(context, f"{demo.url}examples/{example}/", at, name)
        opened.append(visitor)
        return visitor

    yield visit_example
    for visitor in opened:
        await visitor.page.context.close()
    assert [complaint for visitor in opened for complaint in visitor.complaints] == []
