"""Hosts of JavaScript: Node, or a page in a browser. Both run snippets and call back into the test."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from playwright.async_api import Browser, Page

from tests.e2e.pages import listen
from tools import machine

Control = Callable[[str, list[Any]], Awaitable[Any]]

_PATIENCE = 60.0  # timeout of a snippet in seconds; its conditions have their own timeouts
_LINE_LIMIT = 16 * 1024 * 1024


class HostError(AssertionError):
    """An error reported by JavaScript."""


class Host(Protocol):
    """Runs ``js/tests/specification/runner.ts``."""

    async def run(self, heading: str, number: int) -> None:
        """Run the snippets of a section up to this one, and check their effects. Raises :class:`HostError`."""

    async def close(self) -> None:
        """End it. Raises :class:`AssertionError` if it logged errors."""


class NodeHost:
    """A process of Node that runs a built module."""

    def __init__(self, process: asyncio.subprocess.Process, control: Control) -> None:
        self._process = process
        self._control = control
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._questions: set[asyncio.Task[None]] = set()
        self._reader = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, module: Path, page: str, server: str, control: Control) -> NodeHost:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            machine.node(), module, page, server, stdin=pipe, stdout=pipe, limit=_LINE_LIMIT
        )
        return cls(process, control)

    async def run(self, heading: str, number: int) -> None:
        await self._ask(command="run", heading=heading, number=number)

    async def close(self) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._ask(command="end")
                assert self._process.stdin is not None
                self._process.stdin.close()
                assert await self._process.wait() == 0
        finally:
            if self._process.returncode is None:
                self._process.kill()
                await self._process.wait()
            await self._reader

    async def _ask(self, **line: Any) -> Any:
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._say({"id": number, **line})
        async with asyncio.timeout(_PATIENCE):
            return await future

    def _say(self, line: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line).encode() + b"\n")

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for text in self._process.stdout:
            line = json.loads(text)
            if "ask" in line:
                question = asyncio.create_task(self._answer(line))
                self._questions.add(question)
                question.add_done_callback(self._questions.discard)
                continue
            future = self._waiting.pop(line["id"])
            if future.done():
                continue
            if "error" in line:
                future.set_exception(HostError(line["error"]))
            else:
                future.set_result(line["result"])
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(HostError("the Node process has ended"))

    async def _answer(self, line: dict[str, Any]) -> None:
        try:
            answer = {"result": await self._control(line["command"], line["parameters"])}
        except Exception as error:
            answer = {"error": repr(error)}
        self._say({"id": line["ask"], **answer})


class BrowserHost:
    """A page that exposes the runner as ``page``."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._complaints = listen(page, "browser")

    @classmethod
    async def start(cls, browser: Browser, page: str, server: str, control: Control) -> BrowserHost:
        context = await browser.new_context()
        tab = await context.new_page()
        host = cls(tab)
        await tab.expose_function("control", control)
        await tab.goto(f"{page}/page.html?server={server}")
        await tab.wait_for_function("window.page !== undefined")
        return host

    async def run(self, heading: str, number: int) -> None:
        await self._ask("([heading, number]) => page.run(heading, number)", [heading, number])

    async def close(self) -> None:
        await self._ask("() => page.end()")
        await self._page.context.close()
        assert self._complaints == []

    async def _ask(self, script: str, argument: Any = None) -> Any:
        # pass the error itself: the browser's own report lacks its cause
        told = "error => ({ error: `${error.stack}\\n${error.cause ?? ''}` })"
        guarded = f"argument => ({script})(argument).then(result => ({{ result }}), {told})"
        async with asyncio.timeout(_PATIENCE):
            answer = await self._page.evaluate(guarded, argument)
        if "error" in answer:
            raise HostError(answer["error"])
        return answer.get("result")
