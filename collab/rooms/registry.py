"""The open rooms: opens each once, records for it, rebuilds and evicts it.

This is the async side of the live plane. All decisions of a room are in :mod:`collab.rooms.live.room`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from hashlib import blake2b
from itertools import islice
from secrets import token_hex
from time import monotonic, time
from typing import Any

import anyio

from collab.entities.bridge import Bridge
from collab.entities.entity import EntityOp, Intent
from collab.entities.recorder import Recorder
from collab.errors import CollabError, EntityDeleted, InternalError, Restarting, Unavailable
from collab.gate.checked import Checked
from collab.gate.fields import Write
from collab.hooks import Hooks
from collab.metrics import Metrics
from collab.names import RoomKey
from collab.rooms.allocator import Leftovers
from collab.rooms.authorization import Authorization
from collab.rooms.blackbox import BlackBox
from collab.rooms.changes_told import ChangesTold
from collab.rooms.commitment import all_committed
from collab.rooms.compactor import Compactor
from collab.rooms.creations import Creations
from collab.rooms.held import Held
from collab.rooms.large import take_apart
from collab.rooms.live.pacing import SendCost
from collab.rooms.live.quarantine import ENDED_A_WORKER, Quarantine
from collab.rooms.live.ring import RoomOptions
from collab.rooms.live.room import Room
from collab.rooms.live.session import Session
from collab.rooms.loading import Loader
from collab.rooms.ownership import Alone, Ownership
from collab.rooms.part import RoomPart, write_together
from collab.rooms.row_edits import RowEdits
from collab.rooms.seeding import Seeding
from collab.rooms.traced import TracedRoom
from collab.sandbox.client import Sandbox
from collab.storage.base import Append, EntityRow, IdempotencyKey, LogRow, Record, SetAside, Storage
from collab.storage.nodes import Fenced
from collab.tasks import BackgroundTasks
from collab.tracing import Tracer

log = logging.getLogger(__name__)

_FLUSH_SECONDS = 4.0
_LAST_WORK_SECONDS = 0.5  # to quarantine and notify; a compaction may be cancelled, its log stays whole
_IDLE_ROOMS = 1000  # above this number, rooms are evicted early


class Registry:
    """All open rooms of one process."""

    def __init__(
        self,
        storage: Storage,
        recorder: Recorder,
        sandbox: Sandbox,
        hooks: Hooks,
        rights: Authorization,
        *,
        options: RoomOptions,
        metrics: Metrics,
        blackbox: BlackBox,
        pending_bytes: int,
        idle_seconds: float = 30.0,
        closed: Callable[[RoomKey], bool] = lambda key: False,
        mapped: Callable[[str], Mapping[str, str]] = lambda collection: {},
        content_changed: Callable[[RoomKey], None] = lambda key: None,
        cuts_covered: bool = False,
        check_document: Callable[[RoomKey], None] = lambda key: None,
        ownership: Ownership | None = None,
        leftovers: Leftovers | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._ownership = ownership if ownership is not None else Alone()
        self._is_alone = ownership is None
        self._unneeded: set[RoomKey] = set()  # owned, and not open
        self.rooms: dict[RoomKey, Room] = {}
        self.send_cost = SendCost()
        self._new_room: Callable[..., Room] = Room if tracer is None else partial(TracedRoom, tracer)
        self._storage = storage
        self._recorder = recorder
        self._hooks = hooks
        self._seeding = Seeding(hooks, storage)
        self.edits = RowEdits(rights, sandbox, self.release, self.spawn)
        self._options = options
        self.refusals = metrics.refusals
        self._metrics = metrics
        self._blackbox = blackbox
        self._loader = Loader(options, blackbox, self._set_aside)
        self._pending_limit = pending_bytes
        self._idle_seconds = idle_seconds
        self._closed = closed
        self._mapped = mapped
        self._content_changed = content_changed
        self._check_document = check_document
        self._boot = token_hex(8)
        self._opening: dict[RoomKey, asyncio.Task[Any]] = {}
        self._idle_since: dict[RoomKey, float] = {}  # of rooms that may be idle, the oldest first
        self._told = ChangesTold(hooks, self.spawn)
        self._creations = Creations(
            storage,
            recorder,
            acquire=self._acquire,
            needs_room=self._needs_room,
            told=self._told.note,
            document_bytes=options.document_bytes,
            tracer=tracer,
        )
        self._tasks = BackgroundTasks(lambda error: log.error("background work failed", exc_info=error))
        self.compactor = Compactor(
            storage,
            sandbox,
            self.rooms,
            options=options,
            metrics=metrics,
            mapped=mapped,
            cuts_covered=cuts_covered,
            spawn=self.spawn,
        )
        self.leftovers = leftovers if leftovers is not None else Leftovers()
        self._draining = False

    # opening

    def hold(
        self, key: RoomKey, *, even_deleted: bool = False, seeds: bool = True
    ) -> AbstractAsyncContextManager[Room]:
        """An open room that is not evicted inside the block. Raises as :meth:`open`.

        Without ``seeds`` a document that was never written is not seeded: the caller creates its content.
        """
        leave = self.release if seeds else self._release_unseeded
        return Held(self.open(key, even_deleted=even_deleted, seeds=seeds), leave)

    def _release_unseeded(self, room: Room) -> None:
        """A holder that wanted no seed has left: close the room if it must reopen with one."""
        self.release(room)
        if self._seeding.decide(room.key, self.rooms.get(room.key)):
            self._evict(self.rooms[room.key])

    async def committed(self) -> None:
        """Return once everything recorded so far is committed.

        Raises :class:`Unavailable` if the storage accepts no writes.
        """
        await all_committed(self._recorder.flush)

    async def readable(self, room: Room) -> Room:
        """Return a held room, or the one that has replaced it, once it withholds nothing.

        Read its document before the next ``await``. Raises :class:`Unavailable` if the storage accepts no writes.
        """
        while room.joining.withheld:
            await all_committed(self._recorder.flush)
            room = room.latest
        return room

    def release(self, room: Room) -> None:
        """Undo one :meth:`Room.hold`, even if the room was rebuilt since."""
        room = room.latest
        room.let_go()
        self.released(room)

    async def open(self, key: RoomKey, *, even_deleted: bool = False, seeds: bool = True) -> Room:
        """The room of ``key``, loaded once for any number of concurrent callers.

        Raises :class:`CollabError`, including :class:`EntityDeleted`, and :class:`collab.errors.Elsewhere` if another
        node owns the room. Join it, or hold it, before the next ``await``: an idle room may be evicted.
        """
        while True:  # it may be evicted before we resume
            room = self.rooms.get(key)
            if room is not None and not room.broken:
                undecided = self._seeding.undecided(key) if seeds else None
                if undecided is not None:
                    await undecided.wait()
                    continue
                if not (room.deleted and room.joining.withheld and not even_deleted):
                    break
                await all_committed(self._recorder.flush)  # the deletion is part of a transaction
                continue
            if self._draining:
                raise Restarting("the server is shutting down")
            task = self._opening.get(key)
            if task is None:
                task = self._start(key, self._open(key, seeds=seeds) if room is None else self._rebuild(room, None))
            await asyncio.shield(task)
        if room.deleted and not even_deleted:
            raise EntityDeleted("the entity was deleted")
        return room

    def _start(self, key: RoomKey, work: Coroutine[object, object, Any]) -> asyncio.Task[Any]:
        task = self._opening[key] = asyncio.create_task(work)
        task.add_done_callback(partial(self._started, key))
        return task

    async def vacate(self, key: RoomKey, work: Callable[[], Coroutine[object, object, None]]) -> None:
        """Send everybody out of a room for good, and keep it closed until ``work`` is done.

        Raises :class:`collab.errors.Elsewhere` if another node owns the room.
        """
        if key not in self.rooms:
            await self._acquire(key)
        # last: from here to the work there is no await, in which another caller could open the room
        while (opening := self._opening.get(key)) is not None:
            await asyncio.wait((opening,))
        room = self.rooms.pop(key, None)
        if room is not None:
            self.leftovers.closed()
            room.delete()
            room.broken = True  # for callers that still hold it
        self._unneeded.add(key)
        await asyncio.shield(self._start(key, work()))

    async def _acquire(self, key: RoomKey) -> None:
        self._unneeded.discard(key)
        await self._ownership.acquire(key)
        self._unneeded.add(key)  # until it is open

    async def create(self, key: RoomKey, fields: Mapping[str, Any], user_id: str | None, intent: Intent) -> bool:
        """Create an entity without opening its room, if that is possible: see :meth:`Creations.make`."""
        self._check_document(key)
        return await self._creations.make(key, self._client_id(key), fields, user_id, intent)

    def owns(self, key: RoomKey) -> bool:
        """Whether no other process can write what belongs to a room: this one is alone, or has it open."""
        return self._is_alone or key in self.rooms

    def _needs_room(self, key: RoomKey) -> bool:
        return key in self.rooms or key in self._opening or self._draining or self._closed(key)

    def _started(self, key: RoomKey, task: asyncio.Task[Any]) -> None:
        if self._opening.get(key) is task:
            del self._opening[key]
        if not task.cancelled():
            task.exception()  # retrieved here; callers that wait get it, too

    async def _open(self, key: RoomKey, *, seeds: bool = True) -> Room:
        self._check_document(key)
        if self._closed(key):
            raise Unavailable("this document crashed the server repeatedly and is closed for a while")
        try:
            await self._acquire(key)
            await self._creations.settled(key)
            record = await self._seeding.load(key, seeds=seeds)
            mapped = self._mapped(key.collection)
            children = [
                row
                for collection in set(mapped.values())
                for row in await self._storage.children(key.project, collection, f"{key.id}:")
            ]
            room = await self._build(key, record, mapped, children)
        except CollabError:
            raise
        except Exception as error:
            log.exception("could not load %s", key)
            raise InternalError("the document could not be loaded") from error
        self._metrics.loads += 1
        if key not in self.rooms:
            self.leftovers.opened()
        self.rooms[key] = room
        self._unneeded.discard(key)
        self._idle_since[key] = monotonic()
        self._let_go_of_some()
        self.compactor.start_if_due(room)
        if room.bridge.seq > room.bridge.covered:
            self._content_changed(key)  # the last owner was lost before it had derived the events
        return room

    async def _build(
        self, key: RoomKey, record: Record | None, mapped: Mapping[str, str], children: Sequence[EntityRow]
    ) -> Room:
        loaded = await self._loader.load(key, record, mapped, self._client_id(key))
        aside = record.set_aside if record is not None else ()
        return self._new_room(
            key,
            loaded.doc,
            loaded.gate,
            self,
            options=self._options,
            metrics=self._metrics,
            blackbox=self._blackbox,
            send_cost=self.send_cost,
            bridge=Bridge(key, record.entity if record is not None else None, children, mapped, loaded.seq),
            seq=loaded.seq,
            log=loaded.size,
            lineage=record.lineage if record is not None else None,
            quarantine=_holding(aside),
        )

    # the room's Ring interface

    def admit(self, size: int, *, awaited: bool = False) -> None:
        """Raise :class:`Unavailable` if the log is too far behind for ``size`` bytes more, or for any awaited write."""
        if self._recorder.pending_bytes + size > self._pending_limit or (awaited and not self._recorder.healthy):
            raise Unavailable("storage is too far behind; nothing was lost, retry")

    def pending(self, project: str, request: IdempotencyKey) -> bool:
        """Whether a write with this name was accepted and is not committed yet."""
        return self._recorder.holds(project, request)

    def _client_id(self, key: RoomKey) -> int:
        """The Yjs client id of edits from Python.

        One process uses the same id whenever it opens a document, so that the document does not gather a client for
        each time. Another process uses another id, because this one may have relayed what it did not commit.
        """
        return int.from_bytes(blake2b(f"{self._boot}/{key}".encode(), digest_size=4).digest(), "big") or 1

    def record(
        self,
        room: Room,
        update: bytes,
        user_id: str | None,
        done: Callable[[], None] | None,
        writes: Sequence[Write],
        content: bool,
        intent: Intent | None,
    ) -> None:
        """Append to the log of a room; after the commit notify the room and call ``done``."""
        entry = Append(room.key, update, user_id, time())
        ops = room.bridge.ops(writes, user_id, entry.at, room.read_field, content=content, intent=intent)
        self._recorder.append(entry, partial(self._committed, room, entry, done, content), ops)

    def note(self, room: Room, *ops: EntityOp) -> None:
        """Record changes to entities without an edit of their document, all in one commit.

        Raises :class:`Unavailable`.
        """
        if room.broken or self.rooms.get(room.key) is not room:
            raise Unavailable("the document is being rebuilt")
        self._recorder.append(None, partial(self._noted, room), ops)
        room.commits.recorded()
        room.bridge.noted()

    def write_together(self, parts: Sequence[RoomPart], user_id: str | None) -> None:
        """Accept updates and notes of different rooms, all in one commit, or none of them.

        Nobody gets the updates before the commit. Raises :class:`CollabError`; then nothing has changed. Call it in
        the turn of the event loop in which the updates were checked.
        """
        for part in parts:
            if part.room.broken or self.rooms.get(part.room.key) is not part.room:
                raise Unavailable("the document is being rebuilt")
        self.admit(sum(len(part.checked.update) for part in parts if part.checked is not None), awaited=True)
        write_together(parts, user_id, self._recorder.append_together, self._committed)

    def _committed(
        self, room: Room, entry: Append, done: Callable[[], None] | None, content: bool, seq: int | None
    ) -> None:
        room.commits.committed(seq)
        if done is not None:
            try:
                done()
            except Exception:
                log.exception("a writer could not be notified of its commit")
        if seq is None:
            return
        if seq > room.bridge.covered:
            room.recent.add(LogRow(seq, entry.update, entry.user_id, entry.at))
        if content or seq > room.bridge.main.covered:  # no event that covers this row was committed with it
            self._content_changed(room.key)
        self._told.note(room.key, seq, entry.user_id)
        self.compactor.start_if_due(room)

    def _noted(self, room: Room, seq: int | None) -> None:
        room.commits.committed(seq)
        if room.commits.seq > room.bridge.main.covered:
            self._content_changed(room.key)

    def take_apart(self, room: Room, session: Session, update: bytes, *, live: bool, counted: bool) -> None:
        """Apply a large edit piece by piece, in the background."""
        self.spawn(
            take_apart(room, session, update, live=live, counted=counted, edits=self.edits, release=self.release)
        )

    def wake_at(self, room: Room, delay: float) -> None:
        asyncio.get_running_loop().call_later(delay, lambda: room.wake(monotonic()))

    def broken(self, room: Room, error: BaseException, culprit: bytes | None) -> None:
        """Replace a room by one rebuilt from the log, and quarantine ``culprit`` if there is one."""
        log.error("%s could not apply an update: %r", room.key, error, exc_info=error)
        self._metrics.error("DOCUMENT_REBUILT")
        aside = None
        if culprit is not None:
            aside = SetAside(room.key, None, culprit, f"{ENDED_A_WORKER}: {error!r}", time())
        self._start(room.key, self._rebuild(room, aside))

    async def _rebuild(self, room: Room, culprit: SetAside | None) -> Room:
        """Build the room that replaces a broken one. Raises as :meth:`open`; the next caller tries again."""
        self._boot = token_hex(8)
        try:
            if culprit is not None:
                await self._storage.set_aside(culprit)
            await self._recorder.flush()
            successor = await self._open(room.key)
        except Exception as error:
            log.error("%s could not be rebuilt yet: %s", room.key, error)
            reason = error if isinstance(error, CollabError) else InternalError("the document could not be rebuilt")
            for session in list(room.sessions):
                session.close(reason)
            raise reason from error
        successor.succeed(room, monotonic())
        return successor

    def refuse(self, key: RoomKey, aside: Iterable[SetAside]) -> None:
        """Refuse these quarantined edits in an open room, and no others."""
        room = self.rooms.get(key)
        if room is not None:
            room.quarantine = _holding(aside)

    # leaving

    def released(self, room: Room) -> None:
        """A session or holder has left: start the room's idle time if it was the last."""
        if not room.sessions and not room.holds:
            self._idle_since.pop(room.key, None)
            self._idle_since[room.key] = monotonic()

    def _let_go_of_some(self) -> None:
        """Applications write to many entities for a moment each, so not all of these stay open for their idle time."""
        for key in list(islice(self._idle_since, max(0, len(self._idle_since) - _IDLE_ROOMS))):
            room = self.rooms.get(key)
            if room is None or room.sessions or room.holds:
                del self._idle_since[key]
            elif not room.commits.pending and key not in self._opening:
                self._evict(room)

    async def maintain(self) -> None:
        """Once a second, expire silent cursors and evict idle rooms. Runs until cancelled."""
        while True:
            await asyncio.sleep(1.0)
            self._maintain(monotonic())

    def _maintain(self, now: float) -> None:
        # a function of its own, because the variable of a loop would keep the last room alive
        for room in list(self.rooms.values()):
            try:
                room.expire(now)
                self._evict_if_idle(room, now)
            except Exception:
                log.exception("maintenance of %s failed", room.key)
        self._give_rooms_back()
        if self.leftovers.worth_it(now):
            self.leftovers.give_back()

    def _give_rooms_back(self) -> None:
        """Let other nodes have the rooms that have closed, and to whose documents nothing is written any more."""
        gone = [key for key in self._unneeded if key not in self.rooms and not self._is_busy(key)]
        if gone:
            self._unneeded.difference_update(gone)
            self.spawn(self._ownership.give_back(gone))

    async def give_up(self, keys: Iterable[RoomKey]) -> list[RoomKey]:
        """Let other nodes have these rooms now. Returns those that somebody needs here."""
        wanted = list(keys)
        for key in wanted:
            room = self.rooms.get(key)
            if room is not None and not self._is_needed(room):
                self._evict(room)
        needed = [key for key in wanted if key in self.rooms or self._is_busy(key)]
        free = [key for key in wanted if key in self._unneeded and key not in needed]
        self._unneeded.difference_update(free)
        if free:
            await self._ownership.give_back(free)
        return needed

    def _is_busy(self, key: RoomKey) -> bool:
        """Whether something is written to a document whose room may not be open."""
        return key in self._opening or key in self._creations or self.compactor.is_busy(key)

    def _is_needed(self, room: Room) -> bool:
        return bool(room.sessions or room.holds or room.commits.pending or room.key in self._opening)

    def _evict_if_idle(self, room: Room, now: float) -> None:
        if self._is_needed(room):
            return
        if self._idle_since.get(room.key, now) + self._idle_seconds > now:
            return
        self._evict(room)

    def _evict(self, room: Room) -> None:
        del self.rooms[room.key]
        self._unneeded.add(room.key)
        self._idle_since.pop(room.key, None)
        self._metrics.evictions += 1
        self.leftovers.closed()
        self.compactor.start_if_due(room, leaving=True)

    async def drain(self) -> None:
        """Open no more rooms, relay and commit everything, and wait for running work."""
        self._draining = True
        for room in list(self.rooms.values()):
            room.relay_all(monotonic())
        with suppress(Fenced), anyio.move_on_after(_FLUSH_SECONDS) as scope:
            await self._recorder.flush()
        if scope.cancelled_caught:
            log.error("storage did not take all writes in %s s; the rest was never acknowledged", _FLUSH_SECONDS)
        if unfinished := [*self._tasks, *self._opening.values()]:
            await asyncio.wait(unfinished, timeout=_LAST_WORK_SECONDS)
        self._tasks.cancel()
        await self._tasks.wait()

    def _set_aside(self, entry: SetAside) -> None:
        log.error("quarantined row %s of %s: %s", entry.seq, entry.key, entry.reason)
        self.spawn(self._storage.set_aside(entry))

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Run a coroutine in the background; a failure is logged."""
        self._tasks.spawn(work)


def _holding(aside: Iterable[SetAside]) -> Callable[[Checked], bool] | None:
    """Whether an edit is one of those that ended a worker; ``None`` if there are none."""
    quarantine = Quarantine(entry.update for entry in aside if entry.reason.startswith(ENDED_A_WORKER))
    return quarantine.holds if quarantine else None
