"""The parent's side: serves callers in turn, kills children that take too long, starts new ones on demand."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec

from collab.access.price import charge, owed
from collab.errors import InternalError, InvalidRequest
from collab.sandbox.makeup import Makeup
from collab.sandbox.messages import (
    GREETING,
    HEAD_BYTES,
    PATIENCE,
    SPENT,
    Changes,
    ChangesOfMany,
    Compact,
    Compacted,
    ContentChanges,
    Edit,
    Failure,
    Inspect,
    Past,
    Read,
    ReadTexts,
    Reply,
    Request,
    Restore,
    Rewrite,
    Rich,
    Value,
    encode,
    replies,
)
from collab.turns import TurnOwner, Turns

log = logging.getLogger(__name__)

_CHILDREN = 3
_NICE = 10  # added to our own priority
_START_SECONDS = 60.0  # enough for very busy machines
_NEEDED = frozenset({"PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "LD_PRELOAD", "SYSTEMROOT"})
_NEEDED_PREFIXES = ("PYTHON", "LC_", "MALLOC_", "DYLD_")
_IMPORT_PATH = str(Path(__file__).parents[2])
_SENT_BY_OTHERS = frozenset({signal.SIGALRM, signal.SIGHUP, signal.SIGKILL, signal.SIGTERM})


class SandboxError(InternalError):
    """The document could not be read or compacted. It is unharmed."""


class SandboxUnanswered(SandboxError):
    """No child process answered: it was frozen or killed, or got too little time. This says nothing of the document."""

    code, close_code, http_status = "UNAVAILABLE", 4503, 503


class SandboxRefused(SandboxError):
    """The document cannot be read or compacted as it is, or not in its CPU time: retrying does not help."""

    close_code = 4422


class SandboxEnded(SandboxRefused):
    """The child process has crashed."""


class Sandbox:
    """Reads and compacts documents in child processes, which live only while there is work.

    ``idle_seconds``: how long a child waits for more work before it is ended. Work for waiting callers and background
    work have separate children, so that neither can block the other; of each kind there are at most three, which
    projects use in turn. CPU time for callers is charged to the meter of their task, the rest to ``charge_project``, in
    seconds.

    The ``seconds`` of a request are CPU time, so a busy machine or a pause of it does not use them up. A request that
    is not answered is made once more, of a new child. What fails then raises :class:`SandboxUnanswered`, a document
    that fails by itself :class:`SandboxRefused`; both are a :class:`SandboxError`.
    """

    def __init__(
        self,
        *,
        idle_seconds: float = 30.0,
        charge_project: Callable[[str, float], None] = lambda project, seconds: None,
    ) -> None:
        self._callers = _Pool(Turns(_CHILDREN, owed=owed), idle_seconds, lambda project, seconds: charge(seconds))
        most = 1_000_000  # one per document and kind of work
        turns = Turns(_CHILDREN, wait_seconds=None, per_caller=most, per_project=most)
        self._background = _Pool(turns, idle_seconds, charge_project)

    def turn(self, owner: TurnOwner) -> AbstractAsyncContextManager[Child]:
        """A child for a caller who waits. Load its input inside the block, so that waiting callers hold no data.

        Cancelling the caller kills its child. Raises :class:`collab.errors.RateLimitExceeded` if too many wait, and
        :class:`collab.errors.Unavailable` if the turn does not come in time.
        """
        return self._callers.turn(owner)

    def background(self, owner: TurnOwner) -> AbstractAsyncContextManager[Child]:
        """A child for work that nobody waits for; the caller in ``owner`` names the kind of work."""
        return self._background.turn(owner)

    async def close(self) -> None:
        await self._callers.close()
        await self._background.close()


class _Pool:
    """Children that are used in turn.

    An owner gets the child that served it last, if it is free, because that may still have the document cached;
    otherwise the most recently used child, so that no more live than needed.
    """

    def __init__(self, turns: Turns, idle_seconds: float, charge: Callable[[str, float], None]) -> None:
        self._turns = turns
        self._charge = charge
        self._children = [Child(idle_seconds) for _ in range(_CHILDREN)]
        self._free = list(self._children)
        self._served: dict[Child, TurnOwner] = {}  # the last owner of each

    @asynccontextmanager
    async def turn(self, owner: TurnOwner) -> AsyncIterator[Child]:
        async with self._turns.turn(owner):
            child = next((one for one in self._free if self._served.get(one) == owner), self._free[-1])
            self._free.remove(child)
            self._served[child] = owner
            spent = child.spent
            try:
                yield child
            finally:
                self._charge(owner.project, child.spent - spent)
                self._free.append(child)

    async def close(self) -> None:
        for child in self._children:
            await child.close()


class Child:
    """At most one process, with one request at a time. ``spent`` is its CPU time so far, in seconds."""

    def __init__(self, idle_seconds: float) -> None:
        self.spent = 0.0
        self._idle_seconds = idle_seconds
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._leaving: asyncio.Task[None] | None = None

    async def compact(
        self,
        snapshot: bytes | None,
        updates: Sequence[bytes],
        seconds: float,
        index: bytes | None = None,
        mapped: Collection[str] = (),
        *,
        keep_deleted: bool = False,
    ) -> Compacted:
        """Merge a snapshot (with its gate's ``index``, if known) and the log rows behind it into one update.

        The gate of the result knows the ``mapped`` roots. With ``keep_deleted`` it keeps deleted content. The child has
        loaded the result into a fresh document and got the same clocks and the same bytes. Raises :class:`SandboxError`
        if that fails or takes more CPU time than ``seconds``.
        """
        reply = await self._ask(Compact(snapshot, index, list(updates), sorted(mapped), seconds, keep_deleted))
        assert isinstance(reply, Compacted)
        return reply

    async def read(
        self, update: bytes, roots: Mapping[str, str], form: str, seconds: float, *, edit: bytes | None = None
    ) -> Any:
        """Read a document, given as one update, as plain values.

        ``roots`` are the kinds of its roots (``map``, ``array``, ``text``, ``xml``). With ``form`` ``"values"`` the
        answer is a dict of all roots; with ``"json"`` or ``"msgpack"`` the same as bytes, encoded by the child. With
        ``edit`` the values are those after the part of it that a room would apply. Raises :class:`SandboxError` if that
        fails or takes more CPU time than ``seconds``.
        """
        encoded = form if form in ("json", "msgpack") else None
        reply = await self._ask(Read(update, dict(roots), seconds, encoded, edit))
        assert isinstance(reply, Value)
        return reply.value

    async def changes(
        self,
        base: Sequence[bytes] | None,
        turns: Sequence[Sequence[bytes]],
        roots: Mapping[str, str],
        seconds: float,
        before: str = "",
        after: str = "",
        *,
        searched: bool = False,
    ) -> ContentChanges | None:
        """Compute what each turn, one or more updates, changed in the content of the document of ``base``.

        ``roots`` are the kinds of the roots to look at, as the gate knows them after the last turn. For each turn the
        answer maps each changed root to ``{"delta": [...]}`` (a text; lengths in UTF-16 code units), to ``{"paths":
        [{"path": [...], "delta": [...], "keys": {...}}, ...]}`` (all others, outermost first), or to ``{"truncated":
        True}`` if that would be too large. The document after the turns can be named ``after``: a call soon after with
        that name as ``before`` needs no ``base``, unless the child has forgotten the document: then the answer is
        ``None``. With ``searched``, the answer has the folded text of the roots after all turns, unless it cannot be
        read. Raises :class:`SandboxError` if it fails or takes more CPU time than ``seconds``.
        """
        known = None if base is None else list(base)
        turned = [list(turn) for turn in turns]
        reply = await self._ask(Changes(known, turned, dict(roots), seconds, before, after, searched))
        assert isinstance(reply, Value)
        return None if reply.value is None else ContentChanges(*reply.value)

    async def changes_of_many(
        self, documents: Sequence[Changes], seconds: float
    ) -> list[tuple[ContentChanges | None, float]]:
        """As :meth:`changes` without a base, for several documents: the changes and the CPU seconds of each.

        If those of one cannot be computed, it fails for all of them.
        """
        reply = await self._ask(ChangesOfMany(list(documents), seconds))
        assert isinstance(reply, Value)
        return [(None if told is None else ContentChanges(*told), spent) for told, spent in reply.value]

    async def texts(
        self, documents: Sequence[Sequence[bytes]], without: Collection[str], seconds: float
    ) -> list[str | None]:
        """Read what documents say, each given as updates, without some roots: folded texts (for search).

        ``None`` for a document that cannot be read. If one ends the child, it fails for all of them. Raises
        :class:`SandboxError` if that happens or it takes more CPU time than ``seconds``.
        """
        reply = await self._ask(ReadTexts([list(updates) for updates in documents], list(without), seconds))
        assert isinstance(reply, Value)
        texts: list[str | None] = reply.value
        return texts

    async def read_past(
        self, updates: Sequence[bytes], without: Collection[str], seconds: float, form: str | None = None
    ) -> Any:
        """Read the document of ``updates`` as plain values without some roots: a dict, or bytes in a ``form``.

        Raises :class:`SandboxError` if that fails or takes more CPU time than ``seconds``.
        """
        reply = await self._ask(Past(list(updates), list(without), seconds, form))
        assert isinstance(reply, Value)
        return reply.value

    async def restore(
        self, now: bytes, updates: Sequence[bytes], without: Collection[str], seconds: float
    ) -> bytes | None:
        """An update that makes the document ``now`` like the one of ``updates``, except for some roots.

        ``None`` if it already is. Raises :class:`SandboxError` if that fails or takes more CPU time than ``seconds``.
        """
        reply = await self._ask(Restore(now, list(updates), list(without), seconds))
        assert isinstance(reply, Edit)
        return reply.update

    async def inspect(
        self, snapshot: bytes | None, rows: Sequence[tuple[bytes, str | None, float]], seconds: float
    ) -> Makeup:
        """Count what the document of a snapshot and the log rows behind it is made of.

        Raises :class:`SandboxError` if that fails or takes more CPU time than ``seconds``.
        """
        reply = await self._ask(Inspect(snapshot, list(rows), seconds))
        assert isinstance(reply, Value)
        return msgspec.convert(reply.value, Makeup)

    async def read_rich(
        self, update: bytes, roots: Mapping[str, str], root: str | None, form: str, seconds: float
    ) -> str:
        """Read a root, by default the only one with text, as rich text.

        ``roots`` are the kinds of roots, as for :meth:`read`. ``form`` is ``text``, ``markdown``, ``html``, or
        ``prosemirror`` or ``delta`` (JSON). Raises :class:`collab.errors.InvalidRequest` if the root has no
        such form, and :class:`SandboxError` if reading fails or takes more CPU time than ``seconds``.
        """
        reply = await self._ask(Rich(update, dict(roots), root, form, seconds))
        assert isinstance(reply, Value)
        text: str = reply.value
        return text

    async def rewrite(
        self,
        update: bytes,
        roots: Mapping[str, str],
        root: str | None,
        form: str,
        content: str,
        schema: str | None,
        seconds: float,
    ) -> bytes | None:
        """An update after which a root says ``content``, given in a ``form``; ``None`` if it does already.

        ``schema`` says how an empty root holds rich text. Raises :class:`collab.errors.InvalidRequest` for content that
        is malformed or does not fit the document, and :class:`SandboxError` as above.
        """
        reply = await self._ask(Rewrite(update, dict(roots), root, form, content, schema, seconds))
        assert isinstance(reply, Edit)
        return reply.update

    async def prepare(self) -> None:
        """Start the process if there is none, so that the next request takes only as long as its document needs.

        Raises :class:`SandboxError` if no process can start.
        """
        async with self._turn:
            self._wake()
            if await self._living() is None:
                await self._start()
            self._rest()

    async def _ask(self, request: Request) -> Reply:
        async with self._turn:
            self._wake()
            reply = await self._exchange(request)
            if isinstance(reply, Failure) and reply.fatal:
                await self._end()
            else:
                self._rest()
        if isinstance(reply, Failure):
            if reply.invalid:
                raise InvalidRequest(reply.reason)
            raise SandboxRefused(f"the document was refused: {reply.reason}")
        return reply

    async def _exchange(self, request: Request) -> Reply:
        process = await self._living()
        try:
            return await self._talk(process or await self._start(), request)
        except SandboxUnanswered:
            pass  # perhaps it was frozen, alone or with the machine
        except SandboxEnded:
            if process is None:
                raise
            # perhaps it ended while idle, and not because of this document
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
        began = monotonic()
        patience = PATIENCE * request.seconds
        try:
            async with asyncio.timeout(patience):
                process.stdin.write(encode(request))
                await process.stdin.drain()
                (spent,) = SPENT.unpack(await process.stdout.readexactly(SPENT.size))
                size = int.from_bytes(await process.stdout.readexactly(HEAD_BYTES), "big")
                reply: Reply = replies.decode(await process.stdout.readexactly(size))
            self.spent += spent
            whole = True
            return reply
        except TimeoutError as error:
            raise SandboxUnanswered(f"no process has read the document within {patience:.1f} s") from error
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise _failure_of(await process.wait(), request.seconds) from error
        finally:
            if not whole:
                # an upper bound: it cannot report any more
                self.spent += min(monotonic() - began, request.seconds)
                await self._end()

    async def _start(self) -> asyncio.subprocess.Process:
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "collab.sandbox",
                str(os.getpid()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=_environment(os.environ),
            )
        except OSError as error:
            raise SandboxUnanswered(f"no process could be started: {error}") from error
        _yield_to_others(process.pid)
        # It sends a greeting after its imports, so that requests do not pay for these.
        self._process = process
        ready = False
        try:
            assert process.stdout is not None
            async with asyncio.timeout(_START_SECONDS):
                await process.stdout.readexactly(len(GREETING))
            ready = True
            return process
        except (TimeoutError, asyncio.IncompleteReadError) as error:
            raise SandboxUnanswered("a process did not start in time") from error
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
            process.kill()  # it has no state to save
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


def _yield_to_others(pid: int) -> None:
    """Lower the priority of a child: typing users and the database threads go first.

    From its start on, because its imports take as long as many requests.
    """
    with suppress(OSError):  # it has ended, or the system does not allow it
        os.setpriority(os.PRIO_PROCESS, pid, os.getpriority(os.PRIO_PROCESS, 0) + _NICE)


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    """The part of our environment that a child needs. It reads hostile bytes, so it gets no secrets."""
    kept = {name: value for name, value in ours.items() if name in _NEEDED or name.startswith(_NEEDED_PREFIXES)}
    path = os.pathsep.join(filter(None, (_IMPORT_PATH, ours.get("PYTHONPATH"))))
    return {**kept, "PYTHONPATH": path}


def _failure_of(status: int, seconds: float) -> SandboxError:
    """What it means that a child has ended with a status instead of an answer."""
    if status == -signal.SIGPROF:
        return SandboxRefused(f"the document takes more than {seconds:.1f} s of CPU time")
    if -status in _SENT_BY_OTHERS:
        return SandboxUnanswered(f"the process that was reading the document was ended: {_fate(status)}")
    return SandboxEnded(f"the document crashed its reader: {_fate(status)}")


def _fate(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"
