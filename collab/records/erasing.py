"""Permanent deletion of an entity, its document and their history. Nobody can restore them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from collab.errors import CollabError, Elsewhere, InvalidRequest, NotFound
from collab.names import RoomKey, may_hold_others
from collab.records.places import Places
from collab.records.schema import Schemas
from collab.rooms.commitment import all_committed
from collab.rooms.registry import Registry
from collab.storage.base import Storage

log = logging.getLogger(__name__)

_AT_ONCE = 100


class Erasing:
    """``flush`` returns when everything accepted is committed."""

    def __init__(
        self,
        storage: Storage,
        registry: Registry,
        schemas: Schemas,
        flush: Callable[[], Awaitable[None]],
    ) -> None:
        self._storage = storage
        self._registry = registry
        self._schemas = schemas
        self._flush = flush

    async def check(self, key: RoomKey) -> None:
        """Raise :class:`InvalidRequest` if it lives inside another document, :class:`NotFound` if it is unknown."""
        await erased_with(self._storage, self._schemas, key)

    async def erase(self, key: RoomKey) -> None:
        """Erase a deleted entity, with those that live inside its document. Raises as :meth:`check`."""
        await self.check(key)
        await self._registry.vacate(key, lambda: self._erase(key))

    async def _erase(self, key: RoomKey) -> None:
        await all_committed(self._flush)
        await self._storage.erase(await erased_with(self._storage, self._schemas, key))

    async def expire(self, before: float) -> None:
        """Erase what was deleted before a time. Entities inside a document are erased with it."""
        passed: set[RoomKey] = set()
        while True:
            expired = [key for key in await self._storage.expired(before, _AT_ONCE + len(passed)) if key not in passed]
            if not expired:
                return
            for key in expired:
                passed.add(key)
                try:
                    await self.erase(key)
                except (InvalidRequest, Elsewhere):  # inside another document; or open on another node: later
                    continue
                except CollabError as error:
                    log.error("%s could not be erased: %s", key, error)


async def erased_with(storage: Storage, schemas: Schemas, key: RoomKey) -> list[RoomKey]:
    """Return ``key`` and the entities inside its document.

    Raises :class:`InvalidRequest` if it lives inside another document itself, :class:`NotFound` if it is unknown.
    """
    place = Places(schemas).of(key)
    if place.child is not None:
        raise InvalidRequest(f"{key.name} lives inside {place.room.name}: erase that as a whole instead")
    if await storage.load(key) is None:
        raise NotFound(f"there is no {key.name}")
    holds = schemas.mapped_in(key.collection) if may_hold_others(key) else {}
    inside = [
        child.key
        for collection in set(holds.values())
        for child in await storage.children(key.project, collection, f"{key.id}:")
    ]
    return [key, *inside]
