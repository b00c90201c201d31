"""Which rooms are open: opens them once, records for them, rebuilds and evicts them.

The waiting side of the live plane. Everything a room decides is in :mod:`collab.rooms.room`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from hashlib import blake2b
from itertools import islice
from secrets import token_hex
from time import monotonic, time
from typing import Any

import anyio
import pycrdt

from collab.entities.bridge import Bridge
from collab.entities.entity import Intent, Op
from collab.entities.recorder import Recorder
from collab.errors import CollabError, EntityDeleted, InternalError, InvalidName, Restarting, Unavailable
from collab.metrics import Metrics
from collab.names import RoomKey
from collab.rooms.blackbox import BlackBox
from collab.rooms.compaction import LogSize, should_compact
from collab.rooms.hooks import Changed, Hooks
from collab.rooms.memory import Leftovers, give_memory_back
from collab.rooms.pacing import SendCost
from collab.rooms.quarantine import ENDED_A_WORKER, Quarantine
from collab.rooms.ring import RoomOptions
from collab.rooms.room import Room
from collab.sandbox import Sandbox, SandboxError
from collab.storage.base import Append, EntityRow, Record, SetAside, Snapshot, Storage
from collab.wire.fields import Write
from collab.wire.update import Gap, Gate, Malformed

log = logging.getLogger(__name__)

_FLUSH_SECONDS = 4.0
_LAST_WORK_SECONDS = 0.5  # what must be set aside or told; a compaction is given up, its log is whole
_IDLE_ROOMS = 1000  # more are let go of before their time


class Registry:
    """All open rooms of one process."""

    def __init__(
        self,
        storage: Storage,
        recorder: Recorder,
        sandbox: Sandbox,
        hooks: Hooks,
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
        lives_inside: Callable[[str], bool] = lambda collection: False,
    ) -> None:
        self.rooms: dict[RoomKey, Room] = {}
        self.send_cost = SendCost()
        self._storage = storage
        self._recorder = recorder
        self._sandbox = sandbox
        self._hooks = hooks
        self._options = options
        self._metrics = metrics
        self._blackbox = blackbox
        self._pending_limit = pending_bytes
        self._idle_seconds = idle_seconds
        self._closed = closed
        self._mapped = mapped
        self._content_changed = content_changed
        self._cuts_covered = cuts_covered  # a row that a snapshot takes the place of is gone, so not before its event
        self._lives_inside = lives_inside
        self._boot = token_hex(8)
        self._opening: dict[RoomKey, asyncio.Task[Room]] = {}
        self._idle_since: dict[RoomKey, float] = {}  # of rooms that may be idle, the longest first
        self._compacting: set[RoomKey] = set()
        self._changed: dict[RoomKey, tuple[int, set[str | None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._telling: set[RoomKey] = set()
        self._tells = type(hooks).changed is not Hooks.changed
        self._leftovers = Leftovers()
        self._draining = False

    # opening

    @asynccontextmanager
    async def hold(self, key: RoomKey, *, even_deleted: bool = False) -> AsyncIterator[Room]:
        """An open room that is not evicted inside the block. Raises as :meth:`open`."""
        room = await self.open(key, even_deleted=even_deleted)
        room.holds += 1
        try:
            yield room
        finally:
            self.release(room)

    def release(self, room: Room) -> None:
        """Undo one rise of ``holds``, whether the room was rebuilt since or not."""
        while room.successor is not None:
            room = room.successor
        room.holds -= 1
        self.released(room)

    async def open(self, key: RoomKey, *, even_deleted: bool = False) -> Room:
        """The room of ``key``. However many ask, it is loaded once.

        Raises :class:`CollabError`, among them :class:`EntityDeleted`. Join it, or raise its ``holds``, before the
        next ``await``: an idle room may be evicted.
        """
        while (room := self.rooms.get(key)) is None or room.broken:  # it may be let go of before we are back
            if self._draining:
                raise Restarting("the server is shutting down")
            task = self._opening.get(key)
            if task is None:
                task = self._opening[key] = asyncio.create_task(self._open(key))
                task.add_done_callback(lambda _: self._opening.pop(key, None))
            await asyncio.shield(task)
        if room.deleted and not even_deleted:
            raise EntityDeleted("it was deleted")
        return room

    async def _open(self, key: RoomKey) -> Room:
        if self._lives_inside(key.collection):
            raise InvalidName(f"entities of {key.collection} live inside other documents and have none of their own")
        if self._closed(key):
            raise Unavailable("this document ended the server repeatedly and is closed for a while")
        try:
            record = await self._storage.load(key)
            if record is None or (record.lineage is None and record.entity is None):
                record = await self._seed(key, record)
            mapped = self._mapped(key.collection)
            children = [
                row
                for collection in set(mapped.values())
                for row in await self._storage.children(key.project, collection, f"{key.id}:")
            ]
            room = self._build(key, record, mapped, children)
        except CollabError:
            raise
        except Exception as error:
            log.exception("could not load %s", key)
            raise InternalError("the document could not be loaded") from error
        self._metrics.loads += 1
        self.rooms[key] = room
        self._idle_since[key] = monotonic()
        self._let_go_of_some()
        return room

    async def _seed(self, key: RoomKey, record: Record | None) -> Record | None:
        seed = await self._hooks.load(key)
        if seed is None:
            return record
        Gate().check(seed)
        if await self._storage.create(Append(key, seed, None, time())):
            log.info("seeded %s", key)
        return await self._storage.load(key)

    def _build(
        self, key: RoomKey, record: Record | None, mapped: Mapping[str, str], children: Sequence[EntityRow]
    ) -> Room:
        doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=self._client_id(key))
        gate = Gate(mapped.keys())
        seq = 0
        aside: Sequence[SetAside] = ()
        if record is not None:
            aside = record.set_aside
            if record.snapshot is not None:
                gate = _gate_of(record.snapshot, mapped.keys())
                seq = record.snapshot.seq
                self._load(doc, key, record.snapshot.update, seq)
            for row in record.rows:
                try:
                    checked = gate.check(row.update)
                except (Malformed, Gap) as error:
                    # what a row set aside has left without its ground; live replicas will bring it again
                    self._set_aside(SetAside(key, row.seq, row.update, f"does not apply: {error}", time()))
                    continue
                self._load(doc, key, row.update, row.seq)
                gate.commit(checked)
                seq = row.seq
        quarantine = Quarantine(entry.update for entry in aside if entry.reason.startswith(ENDED_A_WORKER))
        room = Room(
            key,
            doc,
            gate,
            self,
            options=self._options,
            metrics=self._metrics,
            blackbox=self._blackbox,
            send_cost=self.send_cost,
            bridge=Bridge(key, record.entity if record is not None else None, children, mapped, seq),
            lineage=record.lineage if record is not None else None,
            quarantine=quarantine.holds if quarantine else None,
        )
        if record is not None:
            room.seq = seq
            room.log = size_of(record)
        return room

    def _load(self, doc: pycrdt.Doc[Any], key: RoomKey, update: bytes, seq: int) -> None:
        seconds = 5.0 * (1 + len(update) / (4 * 1024 * 1024))
        self._blackbox.begin(key, update, seconds, seq)
        try:
            doc.apply_update(update)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # yrs panics arrive as PanicException, which is no Exception
            self._set_aside(SetAside(key, seq, update, f"{ENDED_A_WORKER}: {error!r}", time()))
            raise Unavailable("the document could not be loaded; retry") from error
        finally:
            self._blackbox.end()

    # what rooms ask of the waiting side

    def admit(self, size: int) -> None:
        """Raise :class:`Unavailable` if the log is too far behind to take ``size`` bytes more."""
        if self._recorder.pending_bytes + size > self._pending_limit:
            raise Unavailable("storage is too far behind; nothing was lost, retry")

    def _client_id(self, key: RoomKey) -> int:
        """The Yjs client id of edits from Python.

        The same whenever a document is opened by this process, so that it does not gather a client for each time; and
        never that of another process, which may have relayed what it did not commit.
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
        """Append to the log of a room; after the commit tell the room, and call ``done``."""
        at = time()
        ops = room.bridge.ops(writes, user_id, at, room.read_field, content=content, intent=intent)
        self._recorder.append(
            Append(room.key, update, user_id, at), partial(self._committed, room, user_id, done, content), ops
        )

    def note(self, room: Room, op: Op) -> None:
        """Record what happens to an entity without an edit of its document. Raises :class:`Unavailable`."""
        if room.broken or self.rooms.get(room.key) is not room:
            raise Unavailable("the document is being rebuilt")
        room.uncommitted += 1
        self._recorder.append(None, partial(self._committed, room, op.user_id, None, False), [op])

    def _committed(
        self, room: Room, user_id: str | None, done: Callable[[], None] | None, content: bool, seq: int | None
    ) -> None:
        room.committed(seq)
        if done is not None:
            done()
        if seq is None:
            return
        if content:
            self._content_changed(room.key)
        if self._tells:
            self._note_change(room.key, seq, user_id)
        if should_compact(room.log) and room.key not in self._compacting:
            self.spawn(self.compact(room.key))

    def wake_at(self, room: Room, delay: float) -> None:
        """Wake a room in ``delay`` seconds."""
        asyncio.get_running_loop().call_later(delay, lambda: room.wake(monotonic()))

    def broken(self, room: Room, update: bytes, error: BaseException) -> None:
        """Quarantine ``update`` and put a room rebuilt from the log in the place of this one."""
        log.error("%s could not take an update in: %r", room.key, error)
        self._metrics.error("DOCUMENT_REBUILT")
        self.spawn(self._rebuild(room, SetAside(room.key, None, update, f"{ENDED_A_WORKER}: {error!r}", time())))

    async def _rebuild(self, room: Room, culprit: SetAside) -> None:
        self._boot = token_hex(8)
        await self._storage.set_aside(culprit)
        await self._recorder.flush()
        try:
            successor = await self.open(room.key, even_deleted=True)
        except CollabError as error:
            for session in list(room.sessions):
                session.close(error)
            return
        successor.succeed(room, monotonic())

    # after a commit

    def _note_change(self, key: RoomKey, seq: int, user_id: str | None) -> None:
        pending = self._changed.get(key)
        if pending is None:
            self._changed[key] = (seq, {user_id})
            if key not in self._telling:
                self._telling.add(key)
                self.spawn(self._tell(key))
        else:
            pending[1].add(user_id)
            self._changed[key] = (seq, pending[1])

    async def _tell(self, key: RoomKey) -> None:
        try:
            while (pending := self._changed.pop(key, None)) is not None:
                try:
                    await self._hooks.changed(Changed(key, pending[0], frozenset(pending[1])))
                except Exception:
                    log.exception("the changed hook failed for %s", key)
        finally:
            self._telling.discard(key)

    async def compact(self, key: RoomKey) -> None:
        """Put a verified snapshot in the place of a document's log. A failure leaves the log as it was."""
        if key in self._compacting:
            return
        self._compacting.add(key)
        try:
            record = await self._storage.load(key)
            if record is None or not record.rows:
                return
            before, index = None, None
            if record.snapshot is not None:
                before, index = record.snapshot.update, record.snapshot.index
            room = self.rooms.get(key)
            last = room.bridge.covered if self._cuts_covered and room is not None else record.rows[-1].seq
            kept = [row for row in record.rows if row.seq <= last]
            if not kept:
                return
            rows = [row.update for row in kept]
            seconds = 10.0 + sum(map(len, rows)) / (256 * 1024)
            mapped = self._mapped(key.collection).keys()
            compacted = await self._sandbox.compact(before, rows, seconds, index, mapped)
            seq = kept[-1].seq
            await self._storage.replace_snapshot(key, Snapshot(seq, compacted.update, compacted.index))
            self._metrics.compactions += 1
            room = self.rooms.get(key)
            if room is not None:
                room.log.snapshot_bytes = len(compacted.update)
                room.log.rows -= len(rows)
                room.log.bytes -= sum(map(len, rows))
        except (SandboxError, CollabError) as error:
            log.error("could not compact %s: %s", key, error)
            self._metrics.error("COMPACTION_FAILED")
        finally:
            self._compacting.discard(key)

    # leaving

    def released(self, room: Room) -> None:
        """A session or holder has left: the room's idle time may begin."""
        if not room.sessions and not room.holds:
            self._idle_since.pop(room.key, None)
            self._idle_since[room.key] = monotonic()

    def _let_go_of_some(self) -> None:
        """Applications write to many entities for a moment each: of these not all are kept for their idle time."""
        for key in list(islice(self._idle_since, max(0, len(self._idle_since) - _IDLE_ROOMS))):
            room = self.rooms.get(key)
            if room is None or room.sessions or room.holds:
                del self._idle_since[key]
            elif not room.uncommitted and not room.broken:
                self._evict(room)

    async def maintain(self) -> None:
        """Once a second: forget silent cursors, let go of idle rooms. Runs until cancelled."""
        while True:
            await asyncio.sleep(1.0)
            now = monotonic()
            for room in list(self.rooms.values()):
                room.expire(now)
                self._evict_if_idle(room, now)
            if self._leftovers.worth_it(len(self.rooms), now):
                began = monotonic()
                give_memory_back()
                self._leftovers.given_back(began, monotonic())

    def _evict_if_idle(self, room: Room, now: float) -> None:
        if room.sessions or room.holds or room.uncommitted or room.broken:
            return
        if self._idle_since.get(room.key, now) + self._idle_seconds > now:
            return
        self._evict(room)

    def _evict(self, room: Room) -> None:
        del self.rooms[room.key]
        self._idle_since.pop(room.key, None)
        self._metrics.evictions += 1
        self._leftovers.add()
        if should_compact(room.log, leaving=True):
            self.spawn(self.compact(room.key))

    async def drain(self) -> None:
        """Open nothing more, relay and commit everything, wait for what is under way."""
        self._draining = True
        for room in list(self.rooms.values()):
            room.relay_all(monotonic())
        with anyio.move_on_after(_FLUSH_SECONDS) as scope:
            await self._recorder.flush()
        if scope.cancelled_caught:
            log.error(
                "the storage did not take everything in %s s; what is left was never acknowledged", _FLUSH_SECONDS
            )
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=_LAST_WORK_SECONDS)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _set_aside(self, entry: SetAside) -> None:
        log.error("set aside row %s of %s: %s", entry.seq, entry.key, entry.reason)
        self.spawn(self._storage.set_aside(entry))

    def spawn(self, work: Coroutine[object, object, None]) -> None:
        """Run something in the background; a failure is logged."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background work failed", exc_info=error)


def _gate_of(snapshot: Snapshot, mapped: Collection[str]) -> Gate:
    """What the gate knows of a snapshot: from its index, or read anew if that was written by another version."""
    try:
        return Gate.from_index(snapshot.index, mapped)
    except ValueError:
        gate = Gate(mapped)
        gate.commit(gate.check(snapshot.update, limit=len(snapshot.update)))
        return gate


def size_of(record: Record) -> LogSize:
    """How much storage holds of a document."""
    return LogSize(
        len(record.snapshot.update) if record.snapshot is not None else 0,
        len(record.rows),
        sum(len(row.update) for row in record.rows),
    )
