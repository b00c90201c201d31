"""The demo as users run it: `collab demo` in its own processes, and browser windows on its page."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import psutil
from playwright.async_api import BrowserContext, ConsoleMessage, Locator, Page, expect

EDITORS = ("codemirror", "tiptap", "quill", "prosemirror")
PATIENCE = 40.0  # timeout for conditions, in seconds
STARTING = 90.0  # timeout for starting processes: on a busy machine imports take most of it

# Messages of a browser, and of our client without listeners, about connections that fail while the server or
# the network is away on purpose.
_UNREACHABLE = re.compile(
    r"WebSocket connection to .* failed|Lumenize: (CONNECTION_LOST|UNAVAILABLE): "
    r"|net::ERR_(INTERNET_DISCONNECTED|CONNECTION_REFUSED)"
)

# The editor's own text, without labels of remote carets and without placeholders.
_TEXT = """
(editor) => {
  const copy = editor.cloneNode(true)
  const others = '.caret, .cm-ySelectionCaret, .ql-cursors, .ql-ui, .cm-placeholder'
  copy.querySelectorAll(others).forEach((element) => element.remove())
  return copy.textContent.replace(/[\\u2060\\ufeff\\u200b]/g, '')
}
"""


class Demo:
    """`collab demo` on one port and one data folder; it can be stopped in any way and started again.

    With ``pages`` it is `collab serve` with the static files of that folder.
    """

    def __init__(self, data: Path, settings: Mapping[str, str] | None = None, pages: Path | None = None) -> None:
        self.data = data
        self.pages = pages
        self.port = 0
        self.process: asyncio.subprocess.Process | None = None
        ours = {name: value for name, value in os.environ.items() if not name.startswith("COLLAB_")}
        self.environment = {**ours, **(settings or {})}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def start(self) -> None:
        what = ["demo"] if self.pages is None else ["serve", "--pages", str(self.pages)]
        command = ("-m", "collab", *what, "--port", str(self.port), "--data", str(self.data))
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdout=asyncio.subprocess.PIPE, env=self.environment
        )
        assert self.process.stdout is not None
        async with asyncio.timeout(STARTING):
            while line := await self.process.stdout.readline():
                if said := re.search(rb"http://127\.0\.0\.1:(\d+)", line):
                    self.port = int(said[1])
                    return
        raise AssertionError("the demo ended before it served")

    async def stop(self) -> int:
        """Stop it as systemd or Ctrl-C would; returns the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return await self._ended(self.process)

    async def kill_everything(self) -> None:
        """Kill the supervisor and its descendants with SIGKILL."""
        assert self.process is not None
        supervisor = psutil.Process(self.process.pid)
        for process in [supervisor, *supervisor.children(recursive=True)]:
            process.kill()
        await self._ended(self.process)

    async def kill_worker(self) -> None:
        """Kill the worker with SIGKILL; the supervisor continues."""
        assert self.process is not None
        for child in psutil.Process(self.process.pid).children():
            if "collab.server.process.worker" in child.cmdline():
                child.kill()
                return
        raise AssertionError("the supervisor has no worker")

    @staticmethod
    async def _ended(process: asyncio.subprocess.Process) -> int:
        async with asyncio.timeout(PATIENCE):
            await process.communicate()  # read all output, so that the pipe is closed
            return await process.wait()


@asynccontextmanager
async def running(
    data: Path, settings: Mapping[str, str] | None = None, pages: Path | None = None
) -> AsyncIterator[Demo]:
    """A running demo that must stop cleanly."""
    demo = Demo(data, settings, pages)
    await demo.start()
    try:
        yield demo
    finally:
        status = await demo.stop()
    assert status == 0


class Window:
    """One person's window on the page."""

    COMPLAINTS = frozenset({"error"})

    def __init__(self, page: Page, name: str) -> None:
        self.page = page
        self.name = name
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(f"{name}: {error}"))
        page.on("console", self._hear)

    @classmethod
    async def open(cls, context: BrowserContext, url: str, document: str, name: str) -> Self:
        """Open a document as `name`, and wait until it is loaded."""
        window = cls(await context.new_page(), name)
        # Only if there is none: a reload keeps the name that the user chose.
        await window.page.add_init_script(
            f"sessionStorage.getItem('collab.name') ?? sessionStorage.setItem('collab.name', {name!r})"
        )
        await window.page.goto(f"{url}#{document}")
        return window

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in self.COMPLAINTS and not _UNREACHABLE.search(message.text):
            self.complaints.append(f"{self.name}: {message.text}")

    def area(self, editor: str) -> Locator:
        return self.page.locator(f"#editor-{editor} [contenteditable]").first

    async def show(self, editor: str) -> None:
        await self.page.click(f"#tab-{editor}")
        await expect(self.area(editor)).to_be_visible()

    async def type(self, editor: str, text: str, *, at: str = "Control+End") -> None:
        """Move to a position in the text and type."""
        await self.area(editor).focus()
        await self.page.keyboard.press(at)
        await self.page.keyboard.type(text)

    async def text(self, editor: str) -> str:
        return str(await self.area(editor).evaluate(_TEXT))

    async def sees(self, editor: str, text: str) -> None:
        """Wait until the editor's text equals ``text``."""
        seen = ""
        try:
            async with asyncio.timeout(PATIENCE):
                while (seen := await self.text(editor)) != text:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{self.name} sees {seen!r} in {editor} instead of {text!r}") from None

    def caret_of(self, editor: str, name: str) -> Locator:
        labels = ".caret-label, .cm-ySelectionInfo, .ql-cursor-flag"
        return self.page.locator(f"#editor-{editor}").locator(labels).filter(has_text=name)

    def avatars(self) -> Locator:
        return self.page.locator("#avatars .avatar")

    async def is_told(self, status: str | re.Pattern[str]) -> None:
        """Wait until the page shows this save state."""
        await expect(self.page.locator("#status")).to_have_text(status)
