"""Initial content of documents: from the application's ``load`` hook, unless the application creates the entity."""

from __future__ import annotations

import asyncio
import logging
from time import time

from collab.gate.gate import Gate
from collab.hooks import Hooks
from collab.names import RoomKey
from collab.rooms.live.room import Room
from collab.storage.base import Append, DocumentStorage, Record

log = logging.getLogger(__name__)


class Seeding:
    """Remembers which rooms are open without a seed, because their holder may write into them or leave."""

    def __init__(self, hooks: Hooks, storage: DocumentStorage) -> None:
        self._hooks = hooks
        self._storage = storage
        self._seeds = type(hooks).load is not Hooks.load
        self._unseeded: dict[RoomKey, asyncio.Event] = {}

    async def load(self, key: RoomKey, *, seeds: bool) -> Record | None:
        """Load a document's record. An unknown document is seeded first, or remembered as unseeded."""
        record = await self._storage.load(key)
        if not self._seeds or (record is not None and (record.lineage is not None or record.entity is not None)):
            return record
        if not seeds:
            self._unseeded.setdefault(key, asyncio.Event())
            return record
        seed = await self._hooks.load(key)
        if seed is None:
            return record
        seed = Gate().check_all(seed).update
        if await self._storage.create(Append(key, seed, None, time())):
            log.info("seeded %s", key)
        return await self._storage.load(key)

    def undecided(self, key: RoomKey) -> asyncio.Event | None:
        """An event that is set once the seeding of an open room is decided; ``None`` if it already is."""
        return self._unseeded.get(key)

    def decide(self, key: RoomKey, room: Room | None) -> bool:
        """A holder that wanted no seed has left ``room``. Returns whether to close it, so that it reopens with one."""
        undecided = self._unseeded.get(key)
        pristine = room is not None and not room.bridge.exists and not room.gate.state and not room.commits.pending
        if undecided is None or (pristine and room is not None and room.holds):
            return False
        del self._unseeded[key]
        undecided.set()
        return pristine
