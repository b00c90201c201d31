"""The parent's side: asks child processes, ends them when they take too long, starts others when asked again."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from collab.errors import InternalError, InvalidRequest
from collab.sandbox.messages import (
    GREETING,
    HEAD_BYTES,
    Changes,
    Compact,
    Compacted,
    Edit,
    Failure,
    Past,
    Read,
    Reply,
    Request,
    Restore,
    Value,
    encode,
    replies,
)

log = logging.getLogger(__name__)

_START_SECONDS = 60.0  # a bound for machines that are very busy
_IMPORT_PATH = str(Path(__file__).parents[2])


class SandboxError(InternalError):
    """The document could not be read or compacted. It is unharmed."""


class SandboxEnded(SandboxError):
    """The child process is no more."""


class Sandbox:
    """Reads and compacts documents elsewhere. A child process of each kind, only while there is work.

    ``idle_seconds``: how long a child waits for more before it is let go.
    """

    def __init__(self, *, idle_seconds: float = 30.0) -> None:
        # a read that hangs must not hold up what nobody waits for, nor that the readers
        self._compactor = _Child(idle_seconds)
        self._reader = _Child(idle_seconds)
        self._historian = _Child(idle_seconds)

    async def compact(
        self,
        snapshot: bytes | None,
        updates: Sequence[bytes],
        seconds: float,
        index: bytes | None = None,
        mapped: Collection[str] = (),
    ) -> Compacted:
        """Merge a snapshot (with its gate's ``index``, if known) and the log rows behind it into one update.

        The gate of the result knows the roots that are ``mapped``.
        The result was loaded into a fresh document there, and gave the same clocks and the same bytes. Raises
        :class:`SandboxError` if that fails or takes longer than ``seconds``.
        """
        reply = await self._compactor.ask(Compact(snapshot, index, list(updates), sorted(mapped), seconds))
        assert isinstance(reply, Compacted)
        return reply

    async def read(self, update: bytes, roots: Mapping[str, str], form: str, root: str | None, seconds: float) -> Any:
        """Show a document, given as one update, as plain values.

        ``roots`` are the kinds of its roots (``map``, ``array``, ``text``, ``xml``). With ``form`` ``"json"``
        the answer is a dict of all roots, or of ``root`` alone if it is named; with ``"text"`` it is ``root`` as
        a string, empty if there is no such root. Raises :class:`SandboxError` if that fails or takes longer than
        ``seconds``, and :class:`collab.errors.InvalidRequest` for the text of a map or array.
        """
        if form == "text":
            if root is None or root not in roots:
                return ""
            if roots[root] not in {"text", "xml"}:
                raise InvalidRequest(f"{root} is a {roots[root]} and has no text")
        elif root is not None:
            roots, root = {name: kind for name, kind in roots.items() if name == root}, None
        reply = await self._reader.ask(Read(update, dict(roots), root, seconds))
        assert isinstance(reply, Value)
        return reply.value

    async def prepare_changes(self) -> None:
        """Have a child process for :meth:`changes`, which then takes as long as its documents need.

        Raises :class:`SandboxError` if there can be none.
        """
        await self._historian.prepare()

    async def changes(
        self, base: Sequence[bytes], turns: Sequence[Sequence[bytes]], roots: Mapping[str, str], seconds: float
    ) -> list[dict[str, dict[str, Any]]]:
        """Tell what each turn, one or more updates, did to the content of the document that ``base`` makes.

        ``roots`` are the kinds of the roots to look at, as the gate knows them after the last turn. For each turn the
        answer maps each changed root to ``{"delta": [...]}`` (a text; lengths in units of UTF-16), to ``{"paths":
        [{"path": [...], "delta": [...], "keys": {...}}, ...]}`` (all else, outermost first), or to ``{"truncated":
        True}`` if that would be too large. Raises :class:`SandboxError` if it fails or takes longer than ``seconds``.
        """
        reply = await self._historian.ask(Changes(list(base), [list(turn) for turn in turns], dict(roots), seconds))
        assert isinstance(reply, Value)
        told: list[dict[str, dict[str, Any]]] = reply.value
        return told

    async def read_past(self, updates: Sequence[bytes], without: Collection[str], seconds: float) -> dict[str, Any]:
        """Show the document that ``updates`` make as plain values, without some roots.

        Raises :class:`SandboxError` if that fails or takes longer than ``seconds``.
        """
        reply = await self._historian.ask(Past(list(updates), list(without), seconds))
        assert isinstance(reply, Value)
        value: dict[str, Any] = reply.value
        return value

    async def restore(
        self, now: bytes, updates: Sequence[bytes], without: Collection[str], seconds: float
    ) -> bytes | None:
        """An update that makes the document ``now`` like the one that ``updates`` make, but for some roots.

        ``None`` if it is so already. Raises :class:`SandboxError` if that fails or takes longer than ``seconds``.
        """
        reply = await self._historian.ask(Restore(now, list(updates), list(without), seconds))
        assert isinstance(reply, Edit)
        return reply.update

    async def close(self) -> None:
        """End the children."""
        await self._compactor.close()
        await self._reader.close()
        await self._historian.close()


class _Child:
    """One child process at most, one request at a time."""

    def __init__(self, idle_seconds: float) -> None:
        self._idle_seconds = idle_seconds
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._leaving: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        async with self._turn:
            self._wake()
            if await self._living() is None:
                await self._start()
            self._rest()

    async def ask(self, request: Request) -> Reply:
        async with self._turn:
            self._wake()
            reply = await self._exchange(request)
            if isinstance(reply, Failure) and reply.fatal:
                await self._end()
            else:
                self._rest()
        if isinstance(reply, Failure):
            raise SandboxError(f"the document was refused: {reply.reason}")
        return reply

    async def _exchange(self, request: Request) -> Reply:
        process = await self._living()
        if process is not None:
            try:
                return await self._talk(process, request)
            except SandboxEnded:
                pass  # maybe while it was idle, and not because of this document
        return await self._talk(await self._start(), request)

    async def _living(self) -> asyncio.subprocess.Process | None:
        process = self._process
        if process is None:
            return None
        assert process.stdin is not None
        if process.returncode is not None or process.stdin.is_closing():
            await self._end()
        return self._process

    async def _talk(self, process: asyncio.subprocess.Process, request: Request) -> Reply:
        assert process.stdin is not None
        assert process.stdout is not None
        whole = False
        try:
            async with asyncio.timeout(request.seconds):
                process.stdin.write(encode(request))
                await process.stdin.drain()
                size = int.from_bytes(await process.stdout.readexactly(HEAD_BYTES), "big")
                reply: Reply = replies.decode(await process.stdout.readexactly(size))
            whole = True
            return reply
        except TimeoutError as error:
            raise SandboxError(f"the document was not done with after {request.seconds:.1f} s") from error
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise SandboxEnded(f"the document ended its reader: {_fate(await process.wait())}") from error
        finally:
            if not whole:
                await self._end()

    async def _start(self) -> asyncio.subprocess.Process:
        path = os.pathsep.join(filter(None, (_IMPORT_PATH, os.environ.get("PYTHONPATH"))))
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "collab.sandbox",
                str(os.getpid()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": path},
            )
        except OSError as error:
            raise SandboxError(f"no process for it: {error}") from error
        # It greets when it has read its program: that is no time which a request takes.
        self._process = process
        ready = False
        try:
            assert process.stdout is not None
            async with asyncio.timeout(_START_SECONDS):
                await process.stdout.readexactly(len(GREETING))
            ready = True
            return process
        except (TimeoutError, asyncio.IncompleteReadError) as error:
            raise SandboxError("a process for it did not start") from error
        finally:
            if not ready:
                await self._end()

    def _wake(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _rest(self) -> None:
        self._idle = asyncio.get_running_loop().call_later(self._idle_seconds, self._retire)

    def _retire(self) -> None:
        self._idle = None
        self._leaving = asyncio.ensure_future(self.close())

    async def close(self) -> None:
        async with self._turn:
            self._wake()
            await self._end()

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.kill()  # it holds nothing that has to be put away
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


def _fate(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
