"""Changes of content become events a little later than they are committed, from the log, in another process.

Fields are the record: their events are committed with the log rows that changed them. Text and trees are the
editors': what somebody did to them is worked out from the log once a second, by the sandbox, and committed as one
event an author. A row that was committed and not worked out before the server ended is so after its next start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from time import monotonic, time

from collab.entities.content import turns
from collab.entities.entity import Op
from collab.errors import CollabError, Unavailable
from collab.names import RoomKey
from collab.rooms.registry import Registry
from collab.rooms.room import Room
from collab.sandbox import Sandbox, SandboxError
from collab.storage.base import Storage

log = logging.getLogger(__name__)

_SHARE = 10  # a document is left alone for at least so many times what its last changes cost
_AT_ONCE = 2
_UNCOVERED = 100


class ContentEvents:
    """Works for all documents of one server. :meth:`run` must be running; ``interval`` in seconds, 0 for never."""

    def __init__(self, storage: Storage, sandbox: Sandbox, *, interval: float) -> None:
        self._storage = storage
        self._sandbox = sandbox
        self._interval = interval
        self._registry: Registry | None = None
        self._due: dict[RoomKey, float] = {}
        self._busy: set[RoomKey] = set()
        self._rest: dict[RoomKey, float] = {}  # until when a document is left alone
        self._wake = asyncio.Event()

    def changed(self, key: RoomKey) -> None:
        """A document has a committed row that changes content."""
        if self._interval and key not in self._due:
            now = monotonic()
            self._due[key] = max(now + self._interval, self._rest.pop(key, 0.0))
            self._wake.set()

    async def run(self, registry: Registry) -> None:
        """Work until cancelled; first on what was left when the server ended."""
        if not self._interval:
            return
        self._registry = registry
        gate = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._catch_up())
            while True:
                now = monotonic()
                for key in [key for key, due in self._due.items() if due <= now and key not in self._busy]:
                    del self._due[key]
                    self._busy.add(key)
                    tasks.create_task(self._work(key, gate))
                waiting = [due for key, due in self._due.items() if key not in self._busy]
                self._wake.clear()
                try:
                    await asyncio.wait_for(
                        self._wake.wait(), max(0.001, min(waiting) - now) if waiting else self._interval * 60
                    )
                except TimeoutError:
                    continue

    async def _catch_up(self) -> None:
        """What was left when the server ended, a few documents at a time."""
        done: set[RoomKey] = set()
        while True:
            left = [key for key in await self._storage.uncovered(len(done) + _UNCOVERED) if key not in done]
            if not left:
                return
            for key in left:
                done.add(key)
                try:
                    await self.flush(key)
                except (SandboxError, CollabError) as error:
                    log.error("what was changed in %s could not be worked out: %s", key, error)

    async def _work(self, key: RoomKey, gate: asyncio.Semaphore) -> None:
        try:
            async with gate:
                await self._sandbox.prepare_changes()  # a child that starts is not what this document costs
                started = monotonic()
                await self.flush(key)
                now = monotonic()
                self._rest[key] = now + _SHARE * (now - started)
                if len(self._rest) > 10_000:
                    self._rest.clear()
        except (SandboxError, CollabError) as error:
            log.error("what was changed in %s could not be worked out: %s", key, error)
            self._rest[key] = monotonic() + 60.0
        finally:
            self._busy.discard(key)
            self._wake.set()

    async def flush(self, key: RoomKey) -> None:
        """Make events of all committed changes of one document's content that are none yet.

        Raises :class:`SandboxError` and :class:`CollabError`; they are tried again with the next change then.
        """
        assert self._registry is not None
        async with self._registry.hold(key, even_deleted=True) as room:
            bridge = room.bridge
            rows = await self._storage.log_after(key, bridge.covered)
            if not rows:
                if bridge.seq > bridge.covered and not room.uncommitted:
                    await self._cover(room, bridge.seq)  # of before there were events
                return
            seq = rows[0].seq - 1
            base: Sequence[bytes] = await self._storage.document_at(key, seq) if seq else ()
            grouped = turns(rows)
            size = sum(map(len, base)) + sum(len(row.update) for row in rows)
            changes = await self._sandbox.changes(
                base, [turn.updates for turn in grouped], room.content_roots(), 10.0 + size / (256 * 1024)
            )
            if room.broken or self._registry.rooms.get(key) is not room:
                raise Unavailable("the document is being rebuilt")
            last = max((n for n, change in enumerate(changes) if change), default=-1)
            for n, (turn, change) in enumerate(zip(grouped, changes, strict=True)):
                if change:
                    covered = rows[-1].seq if n == last else turn.seq
                    self._registry.note(
                        room, Op("content", bridge.main, turn.user_id, turn.at, change, covered=covered)
                    )
            if last < 0:
                await self._cover(room, rows[-1].seq)
            bridge.covered = max(bridge.covered, rows[-1].seq)

    async def _cover(self, room: Room, seq: int) -> None:
        """Nothing up to ``seq`` needs an event of its own."""
        assert self._registry is not None
        main = room.bridge.main
        if not main.version:
            self._registry.note(room, Op("write", main, None, time(), covered=seq))
        else:
            await self._storage.cover(room.key, seq)
        room.bridge.covered = max(room.bridge.covered, seq)
