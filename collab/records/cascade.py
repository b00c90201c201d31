"""Entities that live inside a document are deleted and restored with it.

The document keeps their data, so all of it can be restored. Large numbers are processed in batches, and other requests
are served in between. Inner entities never exist permanently without their document: a deletion begins with the
document, a restoration ends with it, and :meth:`Cascade.sweep` deletes later what a crash left behind.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from time import monotonic, time
from typing import Any, TypeAlias, TypeVar

from collab.access.identity import Identity
from collab.access.rules import Access
from collab.entities.bridge import read_keys
from collab.entities.entity import EntityOp, EntityState, Intent, WriteOutcome
from collab.errors import CollabError, Elsewhere, PermissionDenied, Unavailable
from collab.names import RoomKey
from collab.records.schema import Schemas
from collab.rooms.authorization import Authorization
from collab.rooms.commitment import all_committed, committed
from collab.rooms.handle import Locks
from collab.rooms.live.room import Room
from collab.rooms.registry import Registry
from collab.storage.base import EntityStorage

log = logging.getLogger(__name__)

_AT_ONCE = 200
_ATTEMPTS = 10
_SWEPT = 1000

T = TypeVar("T")
ChildPlace: TypeAlias = tuple[str, str]
"""Location of an entity in a document: the root, and its key there."""


class Cascade:
    """Deletes and restores documents with their inner entities. ``flush`` returns when everything is committed."""

    def __init__(
        self,
        storage: EntityStorage,
        registry: Registry,
        rights: Authorization,
        schemas: Schemas,
        flush: Callable[[], Awaitable[None]],
    ) -> None:
        self._flush = flush
        self._storage = storage
        self._registry = registry
        self._rights = rights
        self._schemas = schemas
        self._locks = Locks()

    def turn(self, key: RoomKey) -> asyncio.Lock:
        """The lock for deletions and restorations of one document."""
        return self._locks.of(key)

    async def allow_delete(self, identity: Identity, room: Room) -> None:
        """Raise :class:`PermissionDenied` unless the caller may write everything that is deleted with the document.

        Delete before the next ``await``. Raises :class:`Unavailable` if the document changes too fast to check.
        """
        await self._allow(identity, room, lambda: ((child.key, child.current) for child in room.bridge.inside()))

    async def allow_restore(self, identity: Identity, room: Room) -> None:
        """As :meth:`allow_delete`, for everything that is restored with the document."""

        def rows() -> Iterator[tuple[RoomKey, dict[str, Any]]]:
            found = (room.bridge.row_inside(place, room.read_field) for place in _places(room))
            return (row for row in found if row is not None)

        await self._allow(identity, room, rows)

    async def allow_erase(self, identity: Identity, key: RoomKey) -> None:
        """Raise :class:`PermissionDenied` unless the caller may write everything that ever lived in the document."""
        for collection in set(self._schemas.mapped_in(key.collection).values()):
            prefix = f"{key.id}:"
            if self._rights.may_write_all(identity, collection, prefix):
                continue
            for child in await self._storage.children(key.project, collection, prefix):
                if await self._rights.access(identity, child.key, child.data) < Access.WRITE:
                    raise _holds_others(key, child.key)

    async def _allow(
        self, identity: Identity, room: Room, rows: Callable[[], Iterator[tuple[RoomKey, dict[str, Any]]]]
    ) -> None:
        inside = set(self._schemas.mapped_in(room.key.collection).values())
        if all(self._rights.may_write_all(identity, collection, f"{room.key.id}:") for collection in inside):
            return
        for _ in range(_ATTEMPTS):
            edition = room.bridge.edition
            for number, (key, row) in enumerate(rows(), 1):
                if await self._rights.access(identity, key, row) < Access.WRITE:
                    raise _holds_others(room.key, key)
                if not number % _AT_ONCE:
                    await asyncio.sleep(0)
                    if room.bridge.edition != edition:
                        break
            if room.bridge.edition == edition:
                return
        raise Unavailable(f"{room.key.name} changes too fast to check permissions; retry")

    async def delete(
        self, room: Room, user_id: str | None, intent: Intent, told: asyncio.Future[WriteOutcome]
    ) -> WriteOutcome:
        """Delete a document, then its inner entities. Returns the result of ``told`` once everything is committed."""
        first, *others = _portions(room.bridge.inside())
        self._note_deleted(room, first, user_id, EntityOp("delete", room.bridge.main, user_id, time(), intent=intent))
        room.delete()
        try:
            for children in others:
                await all_committed(self._flush)
                self._note_deleted(room, children, user_id)
            what = await committed(told)
            if others:
                await all_committed(self._flush)
            return what
        except BaseException:
            self._registry.spawn(self.finish(room.key))
            raise

    async def restore(
        self,
        room: Room,
        user_id: str | None,
        intent: Intent,
        told: asyncio.Future[WriteOutcome],
        update: bytes | None = None,
    ) -> WriteOutcome:
        """Restore the inner entities, then the document, with ``update``. Returns as :meth:`delete`."""
        *others, last = _portions(_places(room))
        try:
            for places in others:
                self._note_restored(room, places, user_id)
                await all_committed(self._flush)
            if update is None:
                restored = EntityOp("restore", room.bridge.main, user_id, time(), intent=intent)
                self._note_restored(room, last, user_id, restored)
            else:
                if last:
                    self._note_restored(room, last, user_id)
                self._edit_restored(room, user_id, intent, update)
        except BaseException:
            self._registry.spawn(self.finish(room.key))
            raise
        room.restore()
        return await committed(told)

    def _edit_restored(self, room: Room, user_id: str | None, intent: Intent, update: bytes) -> None:
        room.restore()
        try:
            room.edit(update, user_id, monotonic(), lambda: None, intent)
        except CollabError:
            room.delete()
            raise

    async def finish(self, key: RoomKey) -> None:
        """Delete what remains inside a deleted document."""
        try:
            async with self.turn(key), self._registry.hold(key, even_deleted=True) as room:
                if room.deleted:
                    await self._empty(room, self._flush)  # nobody waits: however long it takes
        except Elsewhere:
            pass  # it is open on another node: later
        except CollabError as error:
            log.error("could not delete the inner entities of %s yet: %s", key, error)

    async def empty(self, room: Room) -> None:
        """As :meth:`finish`, while the caller holds the lock. Raises :class:`Unavailable`."""
        await self._empty(room, partial(all_committed, self._flush))

    async def _empty(self, room: Room, flush: Callable[[], Awaitable[None]]) -> None:
        inside = room.bridge.inside()
        for start in range(0, len(inside), _AT_ONCE):
            self._note_deleted(room, inside[start : start + _AT_ONCE], None)
            await flush()

    async def sweep(self) -> None:
        """Finish deletions that a crash interrupted."""
        for collection in list(self._schemas):
            declared = self._schemas.get(collection)
            if declared is not None and declared.mapped is not None:
                for key in await self._storage.half_deleted(declared.mapped.collection, collection, _SWEPT):
                    await self.finish(key)

    def _note_deleted(
        self, room: Room, children: Sequence[EntityState], user_id: str | None, *document: EntityOp
    ) -> None:
        at = time()
        self._registry.note(room, *document, *(EntityOp("delete", child, user_id, at) for child in children))
        room.bridge.left(children)

    def _note_restored(
        self, room: Room, places: Sequence[ChildPlace], user_id: str | None, *document: EntityOp
    ) -> None:
        ops = room.bridge.restore_inside(places, user_id, time(), room.read_field)
        try:
            self._registry.note(room, *ops, *document)
        except CollabError:
            room.bridge.left([op.entity for op in ops])
            raise


def _holds_others(document: RoomKey, key: RoomKey) -> PermissionDenied:
    # not which one: the caller may not be allowed to know that it exists
    return PermissionDenied(f"{document.name} holds {key.collection} that this identity may not write")


def _portions(items: Sequence[T]) -> list[Sequence[T]]:
    """Split into batches; no items are one empty batch."""
    return [items[start : start + _AT_ONCE] for start in range(0, max(len(items), 1), _AT_ONCE)]


def _places(room: Room) -> list[ChildPlace]:
    """Locations of all entities in the document."""
    return [(root, name) for root in room.bridge.mapped for name in read_keys(room.doc, root)]
