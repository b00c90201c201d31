"""Gathers the changes that all rooms accepted into commits, in order: log rows and the events for them.

The live plane appends without waiting; changes that arrive during a commit go into the next. Nothing is dropped: while
storage fails, the recorder keeps its changes and retries, and when it is full it accepts no more. The feed gets the
events after their commit, in the order of the commits.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from secrets import token_hex
from time import perf_counter
from typing import NamedTuple, TypeAlias

from collab.entities.entity import Answer, EntityOp, derive
from collab.entities.event_traces import CommitTrace, EventTraces, TracedChange
from collab.entities.feed import Feed
from collab.entities.stamps import Stamps
from collab.errors import CollabError, Unavailable
from collab.names import DEFAULT_PROJECT
from collab.storage.base import Append, CommitId, Fact, IdempotencyKey, Storage
from collab.storage.nodes import Fenced
from collab.tracing import Trace

log = logging.getLogger(__name__)

_OVERHEAD = 400  # bytes that a pending entry takes beyond its update
_ROWS = 1000  # per commit: more would block the event loop with acknowledgements for too long
_BYTES = 1024 * 1024
_SHORTEST = 0.005
_LONGEST = 0.050
_SHARE = 0.04
_SHARE_AWAITED = 0.5
_RETRY_FIRST = 0.05
_RETRY_LONGEST = 2.0


class _Waiting(NamedTuple):
    """An accepted change: a log row, or a change without one, and its effect on entities.

    ``size`` is that of its update in bytes; ``awaited``: an application waits for it. ``joined``: the next one belongs
    to the same commit. ``trace`` is the span that made it, if one is recorded.
    """

    append: Append | None
    ops: Sequence[EntityOp]
    done: Callable[[int | None], None]
    size: int
    awaited: bool
    joined: bool
    trace: Trace | None


_Name: TypeAlias = tuple[str, str, str]


def _name(project: str, request: IdempotencyKey) -> _Name:
    return project, request.caller, request.name


def pause_after(seconds: float, *, awaited: bool = False) -> float:
    """Seconds to gather after a commit that took ``seconds``; ``awaited``: an application waits for its answer.

    A commit costs nearly the same for one row as for twenty, so under load there are fewer and larger ones: committing
    takes a small share of the time, and a change waits at most a twentieth of a second. Typing users wait for no
    commit. An application that writes one thing after the other does, so for awaited writes the share is a half; and a
    single writer never waits, because there would be nothing to gather.
    """
    if awaited:
        return min(seconds / _SHARE_AWAITED - seconds, _LONGEST)
    return min(max(seconds / _SHARE, _SHORTEST), _LONGEST)


class Recorder:
    """The only writer of the log. Belongs to one event loop; :meth:`run` must be running.

    ``max_pending_bytes`` limits the pending changes. ``observe(rows, seconds)`` is called for each commit,
    ``feed`` gets its events. ``stop_seconds`` is how long a cancelled :meth:`run` tries to commit the rest; a storage
    that does not answer for ``stall_seconds`` counts as failing. ``traces`` learns of changes, commits and events,
    ``wrote`` of the project of each write of an application.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        max_pending_bytes: int,
        observe: Callable[[int, float], None] | None = None,
        feed: Feed | None = None,
        stop_seconds: float = 3.0,
        stall_seconds: float = 5.0,
        traces: EventTraces | None = None,
        wrote: Callable[[str], object] = lambda project: None,
    ) -> None:
        self.healthy = True  # whether the storage answered last time, and in time
        self.fenced: Fenced | None = None  # this process may write no more, and will never again
        self.pending_bytes = 0  # accepted and not committed, including overhead
        self._storage = storage
        self._max_pending_bytes = max_pending_bytes
        self._observe = observe
        self._feed = feed if feed is not None else Feed()
        self._stop_seconds = stop_seconds
        self._stall_seconds = stall_seconds
        self._traces = traces
        self._wrote = wrote
        self._writer = token_hex(8)
        self._commits = 0
        self._stamps = Stamps()
        self._waiting: deque[_Waiting] = deque()
        self._appended = 0
        self._committed = 0
        self._flushes: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._wake = asyncio.Event()
        self._named: set[_Name] = set()  # the named writes that are not committed
        self._awaited = 0  # how many pending changes an application waits for
        self._writers = 0  # how many of them the last commit had
        self._alarm: asyncio.TimerHandle | None = None
        self._quiet_until = 0.0
        self._quiet_until_awaited = 0.0
        self._stop_at: float | None = None

    def append(self, entry: Append | None, done: Callable[[int | None], None], ops: Sequence[EntityOp] = ()) -> None:
        """Accept a log row, or a change without one, and its effect on entities.

        ``done(seq)`` is called once it is committed, in the order of the calls. Never waits. Raises
        :class:`Unavailable` if too much is pending; then nothing was accepted.
        """
        size = len(entry.update) if entry is not None else 0
        self._admit(size)
        self._add(entry, done, ops, size)

    def append_together(
        self, changes: Sequence[tuple[Append | None, Callable[[int | None], None], Sequence[EntityOp]]]
    ) -> None:
        """As :meth:`append`, for changes that are all in one commit."""
        self._admit(sum(len(entry.update) for entry, _, _ in changes if entry is not None))
        for number, (entry, done, ops) in enumerate(changes, 1):
            size = len(entry.update) if entry is not None else 0
            self._add(entry, done, ops, size, joined=number < len(changes))

    def _admit(self, size: int) -> None:
        if self.fenced is not None:
            raise Unavailable("another server has taken over; nothing was lost, retry")
        if self.pending_bytes + size > self._max_pending_bytes:
            raise Unavailable("storage is too far behind; nothing was lost, retry")

    def _add(
        self,
        entry: Append | None,
        done: Callable[[int | None], None],
        ops: Sequence[EntityOp],
        size: int,
        *,
        joined: bool = False,
    ) -> None:
        awaited = False
        for op in ops:
            if op.intent is not None:
                awaited = True
                self._wrote(op.entity.key.project)
                if op.intent.request is not None:
                    self._named.add(_name(op.entity.key.project, op.intent.request))
        self.pending_bytes += size + _OVERHEAD
        trace = self._traces.here() if self._traces is not None else None
        self._waiting.append(_Waiting(entry, ops, done, size, awaited, joined, trace))
        self._appended += 1
        self._awaited += awaited
        if not self._wake.is_set() and (self._alarm is None or self._awaited == 1):
            self._arm()

    def holds(self, project: str, request: IdempotencyKey) -> bool:
        """Whether a write with this name was accepted and is not committed yet."""
        return _name(project, request) in self._named

    async def flush(self) -> None:
        """Return once everything appended so far is committed, however long storage takes.

        Raises :class:`collab.storage.nodes.Fenced` if that will never be.
        """
        if self._committed == self._appended:
            return
        if self.fenced is not None:
            raise self.fenced
        committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flushes.append((self._appended, committed))
        self._wake.set()
        await committed

    async def resume(self) -> None:
        """Continue after the newest event's time, so that times stay unique. Call this before :meth:`run`."""
        self._stamps.resume(await self._storage.newest_at())

    async def run(self) -> None:
        """Commit until cancelled, then commit the pending rest."""
        self._stop_at = None
        work = asyncio.create_task(self._work())
        watch = asyncio.create_task(self._watch())
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            self._stop_at = asyncio.get_running_loop().time() + self._stop_seconds
            self._wake.set()
            await asyncio.wait((work,), timeout=self._stop_seconds)
            if not work.cancel():
                work.result()
            else:
                self._give_up()
            raise
        finally:
            watch.cancel()
            await asyncio.wait((work, watch))

    async def _watch(self) -> None:
        """While nothing is to be committed, see whether the storage answers."""
        while True:
            await asyncio.sleep(self._stall_seconds if self.healthy else self._stall_seconds / 5)
            if self._waiting:
                continue
            try:
                async with asyncio.timeout(self._stall_seconds):
                    await self._storage.span(DEFAULT_PROJECT)
            except TimeoutError:
                self._stalled()
            except Exception as error:
                self._failed(error)
            else:
                if not self._waiting:
                    self._answered()

    def _arm(self) -> None:
        """Wake up when the next commit is due."""
        self._disarm()
        loop = asyncio.get_running_loop()
        due = self._quiet_until_awaited if self._awaited else self._quiet_until
        if due <= loop.time():
            self._wake.set()
        else:
            self._alarm = loop.call_at(due, self._wake.set)

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            # everything pending now; and while somebody waits for a flush, also what arrives meanwhile
            while self._waiting:
                started = loop.time()
                if not await self._commit_some():
                    return
                ended = loop.time()
                self._quiet_until = ended + pause_after(ended - started)
                alone = self._writers <= 1 and not self._awaited
                self._quiet_until_awaited = ended + (0.0 if alone else pause_after(ended - started, awaited=True))
                if self._stop_at is None and not self._flushes and len(self._waiting) < _ROWS:
                    break
            if self._stop_at is not None:
                return
            self._wake.clear()
            self._disarm()
            if self._waiting:
                self._arm()

    async def _commit_some(self) -> bool:
        """Commit the oldest pending changes; retry until it succeeds, or until time runs out."""
        batch: list[_Waiting] = []
        size = 0
        for waiting in self._waiting:
            batch.append(waiting)
            size += waiting.size
            if not waiting.joined and (len(batch) >= _ROWS or size >= _BYTES):
                break
        rows = [waiting.append for waiting in batch if waiting.append is not None]
        self._writers = sum(waiting.awaited for waiting in batch)
        facts, answers = self._derive(batch)
        delay = _RETRY_FIRST
        trace = self._begun(batch)
        self._commits += 1
        commit_id = CommitId(self._writer, self._commits)  # a commit whose answer was lost is not made twice
        while True:
            started = perf_counter()
            alarm = asyncio.get_running_loop().call_later(self._stall_seconds, self._stalled)
            try:
                committed = await self._storage.commit(rows, facts, commit_id=commit_id)
                break
            except Exception as error:
                if facts and isinstance(error, ValueError):
                    # Cannot happen; but if it did, retrying would keep everybody's edits out of the log for ever.
                    log.critical("dropped events that contradict the record: %s", error)
                    facts = []
                    continue
                self._failed(error)
                if isinstance(error, Fenced):
                    self.end(error)
                    return False
            finally:
                alarm.cancel()
            if self._stop_at is not None and asyncio.get_running_loop().time() + delay > self._stop_at:
                self._give_up()
                return False
            await asyncio.sleep(delay)
            delay = min(2 * delay, _RETRY_LONGEST)
        if self._observe is not None:
            self._observe(len(rows), perf_counter() - started)
        self._answered()
        if self._traces is not None and trace is not None:
            self._traces.committed(trace, facts, committed.positions)
        try:
            self._feed.commit(facts, committed.positions, answers)
        except Exception:
            log.exception("the events of a commit could not be delivered")
        self._settle(batch, committed.seqs)
        return True

    def _begun(self, batch: Sequence[_Waiting]) -> CommitTrace | None:
        if self._traces is None:
            return None
        return self._traces.begin([TracedChange(waiting.trace, waiting.ops) for waiting in batch])

    def _forget_names(self, ops: Sequence[EntityOp]) -> None:
        for op in ops:
            if op.intent is not None and op.intent.request is not None:
                self._named.discard(_name(op.entity.key.project, op.intent.request))

    def _derive(self, batch: Sequence[_Waiting]) -> tuple[list[Fact], list[Answer]]:
        ops: list[tuple[int, Sequence[EntityOp]]] = []
        row = -1
        for waiting in batch:
            if waiting.append is not None:
                row += 1
            if waiting.ops:
                ops.append((row if waiting.append is not None else -1, waiting.ops))
        return derive(ops, self._stamps) if ops else ([], [])

    def _failed(self, error: Exception) -> None:
        if isinstance(error, CollabError):
            if self.healthy:
                log.error("storage is away, %d updates are pending: %s", len(self._waiting), error)
        else:
            log.error("storage failed unexpectedly, %d updates are pending", len(self._waiting), exc_info=error)
        self.healthy = False

    def _stalled(self) -> None:
        if self.healthy:
            log.error("storage does not answer, %d updates are pending", len(self._waiting))
        self.healthy = False

    def _answered(self) -> None:
        if not self.healthy:
            log.warning("storage answers again")
        self.healthy = True

    def end(self, error: Fenced) -> None:
        """Accept nothing more. Whoever takes over asks the clients for what was not committed, nor acknowledged."""
        if self.fenced is not None:
            return
        self.fenced = error
        self._give_up()
        for _, committed in self._flushes:
            if not committed.done():
                committed.set_exception(error)
        self._flushes.clear()

    def _give_up(self) -> None:
        log.critical("%d updates will not be committed by this process", len(self._waiting))

    def _settle(self, batch: Sequence[_Waiting], seqs: Sequence[int]) -> None:
        numbers = iter(seqs)
        for waiting in batch:
            self._waiting.popleft()
            self.pending_bytes -= waiting.size + _OVERHEAD
            if waiting.awaited:
                self._awaited -= 1
                self._forget_names(waiting.ops)
            try:
                waiting.done(next(numbers) if waiting.append is not None else None)
            except Exception:
                log.exception("a callback after a commit failed")
        self._committed += len(batch)
        while self._flushes and self._flushes[0][0] <= self._committed:
            _, committed = self._flushes.popleft()
            if not committed.done():
                committed.set_result(None)
