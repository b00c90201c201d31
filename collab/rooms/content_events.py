"""Events for changes of content, computed from the log by another process shortly after the commit.

Fields belong to the record: their events are committed with the log rows that change them. Text and trees belong to the
editors: once a second the sandbox computes from the log what each author changed, and that is committed as one event
per author. Rows that were committed but not processed before the server ended are processed after its next start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from math import ceil
from secrets import token_hex
from time import monotonic, time
from types import MappingProxyType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, WeakSet

from collab.contents.events import TRUNCATED
from collab.entities.content_turns import turns
from collab.entities.entity import EntityOp
from collab.errors import CollabError, Elsewhere, Unavailable
from collab.names import RoomKey
from collab.query.query import Path
from collab.query.search import CONTENTS
from collab.rooms.live.room import Room
from collab.rooms.registry import Registry
from collab.sandbox.client import Child, Sandbox, SandboxError
from collab.sandbox.messages import Changes, ContentChanges
from collab.storage.base import DocumentStorage, LogRow, NewContents, StorageError
from collab.storage.jobs import AllJobs, JobHolder
from collab.turns import TurnOwner

log = logging.getLogger(__name__)

_SHARE = 10  # a document rests at least this many times as long as its last changes took to process
_UNCOVERED = 100
_ROWS = 4096  # processed at once
_BYTES = 4 * 1024 * 1024  # of these rows
_FEW_ROWS = 64  # if so few rows fail, they are not divided
_AT_ONCE = 64  # documents in one request, each with few rows
_SLOTS, _SLOT_SECONDS = 5, 0.2  # documents that are due within a fifth of the interval begin together
_LOOK_SECONDS = 30.0  # between two looks for what another process has left
_STORAGE_SECONDS = 2.0  # until a storage that failed is asked again, or a document that was being rebuilt
_REST_SECONDS = 60.0  # of a document that could not be read


class _Part(NamedTuple):
    """What is to be told of one document: the turns that its rows make, and the state that a child has cached."""

    room: Room
    rows: Sequence[LogRow]
    request: Changes


class ContentEvents:
    """Processes all documents of one server while :meth:`run` runs; ``interval`` in seconds, 0 for never.

    The rooms of this process are its own; for documents that nobody has open, ``jobs`` chooses one. In the collections
    of ``contents_paths``, what documents say is committed with the events, for search.
    """

    def __init__(
        self,
        storage: DocumentStorage,
        sandbox: Sandbox,
        *,
        interval: float,
        jobs: JobHolder | None = None,
        contents_paths: Mapping[str, Path] = MappingProxyType({}),
    ) -> None:
        self._jobs = jobs if jobs is not None else AllJobs()
        self._storage = storage
        self._sandbox = sandbox
        self._interval = interval
        self._contents_paths = contents_paths
        self._registry: Registry | None = None
        self._due: dict[RoomKey, bool] = {}  # whether its time has come, and something else must end first
        self._slots: dict[int, list[RoomKey]] = {}  # what becomes due at the end of a slot
        self._slot_seconds = min(interval / _SLOTS, _SLOT_SECONDS)
        self._busy: set[RoomKey] = set()
        self._rest: dict[RoomKey, float] = {}  # until when a document rests
        self._tasks: asyncio.TaskGroup | None = None
        self._away = False  # whether the storage failed last time
        self._names: WeakKeyDictionary[Room, tuple[int, str]] = WeakKeyDictionary()  # the sandbox's cached state of it
        self._read: WeakSet[Room] = WeakSet()  # since they were opened

    def changed(self, key: RoomKey) -> None:
        """A row that changes content was committed."""
        if self._interval and key not in self._due:
            self._wait(key, max(self._interval, self._rest.pop(key, 0.0) - monotonic()))

    def _wait(self, key: RoomKey, seconds: float) -> None:
        self._due[key] = False
        loop = asyncio.get_running_loop()
        slot = ceil((loop.time() + seconds) / self._slot_seconds)
        keys = self._slots.get(slot)
        if keys is None:
            keys = self._slots[slot] = []
            loop.call_at(slot * self._slot_seconds, self._end_slot, slot)
        keys.append(key)

    def _end_slot(self, slot: int) -> None:
        self._begin(self._slots.pop(slot))

    def _begin(self, keys: Sequence[RoomKey]) -> None:
        """Work on documents that are due."""
        ready: dict[str, list[RoomKey]] = {}
        for key in keys:
            if self._tasks is None or key in self._busy:
                self._due[key] = True
                continue
            del self._due[key]
            self._busy.add(key)
            ready.setdefault(key.project, []).append(key)
        for of_project in ready.values():
            for at in range(0, len(of_project), _AT_ONCE):
                assert self._tasks is not None
                self._tasks.create_task(self._work_together(of_project[at : at + _AT_ONCE]))

    async def run(self, registry: Registry) -> None:
        """Work until cancelled, beginning with rows from before the last restart."""
        if not self._interval:
            return
        self._registry = registry
        async with asyncio.TaskGroup() as self._tasks:
            try:
                self._begin([key for key, has_come in self._due.items() if has_come])
                await self._jobs.run("content events", self._catch_up)
                await asyncio.get_running_loop().create_future()  # until cancelled
            finally:
                self._tasks = None

    async def _catch_up(self) -> None:
        """Process rows that a process has left when it ended, and, if others share the work, what they leave later."""
        await self._process_left()
        while self._jobs.shared:
            await asyncio.sleep(_LOOK_SECONDS)
            await self._process_left()

    async def _process_left(self) -> None:
        """Process all documents with unprocessed rows, a few at a time."""
        done: set[RoomKey] = set()
        while True:
            try:
                left = [key for key in await self._storage.uncovered(len(done) + _UNCOVERED) if key not in done]
            except StorageError as error:
                self._failed(error)
                await asyncio.sleep(_STORAGE_SECONDS)
                continue
            if not left:
                return
            for key in left:
                done.add(key)
                if key not in self._busy and key not in self._due:
                    self._busy.add(key)
                    await self._work(key, ask=True)
                    self._rest.pop(key, None)

    async def _is_ours(self, key: RoomKey) -> bool:
        """Whether no other node has the document open."""
        assert self._registry is not None
        if self._jobs.shared:
            try:
                async with self._registry.hold(key, even_deleted=True):
                    pass
            except Elsewhere:
                return False
            except CollabError:
                pass  # the work meets the same error, and reports it
        return True

    def _failed(self, error: StorageError) -> None:
        if not self._away:
            log.error("content changes wait for the storage: %s", error)
        self._away = True

    async def _work(self, key: RoomKey, *, ask: bool = False) -> None:
        """Flush one document, and again later if that failed for the moment. With ``ask``, unless it is not ours."""
        try:
            if ask and not await self._is_ours(key):
                return
            cost = await self._flush(key)
            self._away = False
            self._let_rest(key, cost)
        except Elsewhere:
            pass  # its owner does this
        except StorageError as error:
            self._failed(error)
            self._try_again(key, _STORAGE_SECONDS)
        except CollabError as error:
            log.error("the content changes of %s could not be computed: %s", key, error)
            if error.retryable:
                self._try_again(key, _STORAGE_SECONDS)
            elif isinstance(error, SandboxError):
                self._try_again(key, _REST_SECONDS)
            else:
                self._rest[key] = monotonic() + _REST_SECONDS
        except Exception:  # one document must not end the work for all others
            log.exception("the content changes of %s could not be computed", key)
            self._rest[key] = monotonic() + _REST_SECONDS
        finally:
            self._ended(key)

    def _ended(self, key: RoomKey) -> None:
        self._busy.discard(key)
        if self._due.get(key):
            self._begin([key])

    def _let_rest(self, key: RoomKey, cost: float) -> None:
        self._rest[key] = monotonic() + _SHARE * cost
        if len(self._rest) > 10_000:
            self._rest.clear()

    def _try_again(self, key: RoomKey, seconds: float) -> None:
        """Do not wait for the next change: there may be none for long."""
        if key not in self._due:
            self._wait(key, seconds)

    async def _work_together(self, keys: Sequence[RoomKey]) -> None:
        """Flush documents of one project: in one request what a child has cached, and each of the others by itself."""
        assert self._registry is not None
        done: set[RoomKey] = set()
        try:
            if any(self._registry.rooms.get(key) in self._names for key in keys):
                await self._flush_cached(keys, done)
        except CollabError as error:
            log.debug("content changes of %d documents are computed one by one: %s", len(keys), error)
        except Exception:
            log.exception("content changes of several documents could not be computed together")
        for key in keys:
            if key in done:
                self._ended(key)
            elif self._tasks is not None:
                self._tasks.create_task(self._work(key))

    async def _flush_cached(self, keys: Sequence[RoomKey], done: set[RoomKey]) -> None:
        """Flush those documents that have few new rows and whose state a child has cached; add them to ``done``."""
        assert self._registry is not None
        async with self._sandbox.background(TurnOwner(keys[0].project, "content")) as child:
            with ExitStack() as held:
                parts = [part for key in keys if (part := self._part_of(key)) is not None]
                for part in parts:
                    part.room.hold()
                    held.callback(self._registry.release, part.room)
                if not parts:
                    return
                size = sum(len(row.update) for part in parts for row in part.rows)
                told = await child.changes_of_many([part.request for part in parts], _seconds(size))
                for part, (changes, seconds) in zip(parts, told, strict=True):
                    if changes is not None:
                        self._names[part.room] = part.rows[-1].seq, part.request.after
                        contents = self._new(part.room, changes.text) if any(changes.turns) else None
                        await self._note(part.room, part.rows, changes.turns, contents)
                        self._let_rest(part.room.key, seconds)
                        done.add(part.room.key)

    def _part_of(self, key: RoomKey) -> _Part | None:
        """The new rows of an open document with few of them, if its state before them is cached."""
        assert self._registry is not None
        room = self._registry.rooms.get(key)
        if room is None or room.broken or room not in self._names:
            return None
        known, before = self._names[room]
        if known != room.bridge.covered or not 0 < room.bridge.seq - known <= _FEW_ROWS:
            return None
        rows = room.recent.take_after(known)
        if rows is None:
            return None
        del self._names[room]
        updates = [list(turn.updates) for turn in turns(rows)]
        searched = key.collection in self._contents_paths
        return _Part(room, rows, Changes(None, updates, room.content_roots(), 0.0, before, token_hex(8), searched))

    async def _flush(self, key: RoomKey) -> float:
        """Create the missing events for all committed content changes of one document, piece by piece.

        A change that cannot be computed becomes ``{"truncated": True}``. Raises :class:`CollabError`.

        Returns the seconds of CPU for which the document is to rest. Not among them: waiting for a turn, for a child or
        for a storage that does not answer, which is no work; and the first changes after the document was opened, for
        which its whole content must be read, once.
        """
        assert self._registry is not None
        room = self._registry.rooms.get(key)
        if room is not None and not room.broken and room.commits.seq <= room.bridge.covered:
            async with self._registry.hold(key, even_deleted=True) as room:
                await self._cover_rest(room)
            return 0.0
        async with self._sandbox.background(TurnOwner(key.project, "content")) as child:
            await child.prepare()
            return await self._work_out(key, child)

    async def _work_out(self, key: RoomKey, child: Child) -> float:
        assert self._registry is not None
        cost = 0.0
        async with self._registry.hold(key, even_deleted=True) as room:
            bridge = room.bridge
            committed = room.commits.seq  # now: rows that come while we read are not read
            rows: Sequence[LogRow] | None = room.recent.take_after(bridge.covered)
            if rows is None:
                rows = await self._storage.log_after(key, bridge.covered)
            if not rows:
                if committed > bridge.covered:  # from before there were events, and cut: what it says is read anew
                    await self._cover(room, committed, self._new(room, None))
                await self._cover_rest(room)
                return cost
            size, gave_up = _ROWS, False
            were_cut = rows[0].seq > bridge.covered + 1
            while rows:
                piece = _first(rows, size)
                await child.prepare()  # if no child can start, the rows are not to blame
                spent = child.spent
                try:
                    changes, text = await self._told(room, piece, child)
                except SandboxError as error:
                    cost += child.spent - spent
                    if len(piece) > _FEW_ROWS:
                        size = max(_FEW_ROWS, len(piece) // 8)
                        continue
                    # Still record that something changed: no row may wait for ever, nor the log grow.
                    log.error("the content changes of %s rows of %s could not be computed: %s", len(piece), key, error)
                    piece = rows if gave_up else piece
                    gave_up = True
                    changes = [{root: dict(TRUNCATED) for root in room.content_roots()}] * len(turns(piece))
                    text, has_changed = None, False  # it is found by what it said before
                else:
                    has_changed = any(changes)
                    cost += child.spent - spent if room in self._read else 0.0
                    self._read.add(room)
                size = min(size * 8, _ROWS)
                contents = self._new(room, text) if has_changed or were_cut else None
                were_cut = False
                await self._note(room, piece, changes, contents)
                rows = rows[len(piece) :]
            return cost

    async def _told(self, room: Room, rows: Sequence[LogRow], child: Child) -> ContentChanges:
        """The changes of each turn in ``rows``."""
        seq = rows[0].seq - 1
        size = sum(len(row.update) for row in rows)
        updates = [turn.updates for turn in turns(rows)]
        roots, searched = room.content_roots(), room.key.collection in self._contents_paths
        known, before = self._names.pop(room, (0, ""))
        after = token_hex(8)
        changes = None
        if before and known == seq:  # reading the whole document would cost more than the changes
            changes = await child.changes(
                None, updates, roots, _seconds(size), before=before, after=after, searched=searched
            )
        if changes is None:
            base: Sequence[bytes] = await self._storage.document_at(room.key, seq) if seq else ()
            seconds = _seconds(size + sum(map(len, base)))
            changes = await child.changes(base, updates, roots, seconds, after=after, searched=searched)
            assert changes is not None
        self._names[room] = rows[-1].seq, after
        return changes

    def _new(self, room: Room, text: str | None) -> NewContents:
        return NewContents(text, self._contents_paths.get(room.key.collection, CONTENTS))

    async def _note(
        self,
        room: Room,
        rows: Sequence[LogRow],
        changes: Sequence[dict[str, dict[str, Any]]],
        contents: NewContents | None,
    ) -> None:
        """Record the changes of each turn in ``rows``, and what the document says after them."""
        assert self._registry is not None
        if room.broken or self._registry.rooms.get(room.key) is not room:
            raise Unavailable("the document is being rebuilt")
        bridge = room.bridge
        if room.deleted:  # a deleted entity has no events but its deletion
            changes = [{} for _ in changes]
        last = max((n for n, change in enumerate(changes) if change), default=-1)
        ops = [
            EntityOp(
                "content",
                bridge.main,
                turn.user_id,
                turn.at,
                change,
                covered=rows[-1].seq if n == last else turn.seq,
                contents=contents if n == last else None,
            )
            for n, (turn, change) in enumerate(zip(turns(rows), changes, strict=True))
            if change
        ]
        if ops:
            self._registry.note(room, *ops)  # all or none: what was recorded would be told again
        else:
            await self._cover(room, rows[-1].seq, contents)
        bridge.cover(rows[-1].seq)

    async def _cover_rest(self, room: Room) -> None:
        """Mark committed rows that change no content, if no event was committed with them that covers them."""
        assert self._registry is not None
        seq, main = min(room.commits.seq, room.bridge.covered), room.bridge.main
        if seq > main.covered and room.commits.pending:  # perhaps the event of some of these rows
            try:
                await self._registry.committed()
            except Unavailable:
                return  # the next commit of the document begins this again
        if seq > main.covered and not room.broken:
            await self._cover(room, seq)

    async def _cover(self, room: Room, seq: int, contents: NewContents | None = None) -> None:
        """Mark the rows up to ``seq`` as needing no event of their own, with what the document says if it changed."""
        assert self._registry is not None
        main = room.bridge.main
        if not main.version:
            self._registry.note(room, EntityOp("write", main, None, time(), covered=seq, contents=contents))
        else:
            main.covered = max(main.covered, seq)  # no event that is under way may set it back
            await self._storage.cover(room.key, seq, contents)
        room.bridge.cover(seq)


def _seconds(size: int) -> float:
    """How long a child may work on so many bytes."""
    return 10.0 + size / (256 * 1024)


def _first(rows: Sequence[LogRow], limit: int) -> Sequence[LogRow]:
    """The first rows, as many as are processed at once."""
    size = 0
    for number, row in enumerate(rows[:limit]):
        size += len(row.update)
        if size > _BYTES and number:
            return rows[:number]
    return rows[:limit]
