"""Operations on entities: for sessions, for HTTP and for Python, with the rights of whoever asks.

Reads are of the record (:mod:`collab.realtime.reads`). Writes go through the room of the document, like those of an
editor, and return once they are committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from secrets import token_urlsafe
from time import monotonic, time
from typing import Any, Literal

import msgspec

from collab.access.identity import Access
from collab.entities.entity import ABSENT, Entity, Intent, Op, Told
from collab.errors import (
    Conflict,
    EntityDeleted,
    InvalidName,
    InvalidRequest,
    NotFound,
)
from collab.names import RoomKey
from collab.realtime.documents import Documents
from collab.realtime.fields import check_fields, check_size
from collab.realtime.places import Place, Places
from collab.realtime.reads import Caller, Reads
from collab.realtime.schema import Schemas
from collab.rooms.hooks import Hooks
from collab.rooms.registry import Registry
from collab.rooms.room import Room
from collab.storage.base import Storage, Version
from collab.wire.plain import same
from collab.wire.realtime import Written

MAX_REQUEST = 64


class Collections(Reads):
    """All collections of all projects, to be read and written."""

    def __init__(
        self,
        storage: Storage,
        registry: Registry,
        hooks: Hooks,
        schemas: Schemas,
        places: Places,
        documents: Documents,
        *,
        max_entity_bytes: int = 1024 * 1024,
        flush: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(storage, hooks, schemas, documents)
        self._registry = registry
        self._places = places
        self._max_entity_bytes = max_entity_bytes
        self._flush = flush
        self._requests: dict[tuple[str, str], asyncio.Future[Written]] = {}

    async def create(
        self,
        caller: Caller,
        collection: str,
        data: Mapping[str, Any],
        *,
        entity: str | None = None,
        request: str | None = None,
    ) -> Written:
        """Bring an entity into being, named by ``entity``, else by ``data["id"]``, else by the server."""
        named = data.get("id") if entity is None else entity
        if named is not None and not isinstance(named, str):
            raise InvalidName("an id is a text")
        key = self._key(caller, collection, named if named is not None else token_urlsafe(12).replace("-", "_"))
        fields = check_fields(data, now={"id": key.id})
        return await self._once(caller, request, key, lambda: self._create(caller, key, fields, request))

    async def _create(self, caller: Caller, key: RoomKey, fields: dict[str, Any], request: str | None) -> Written:
        after = {"id": key.id, **fields}
        await self._authorize(caller, key, Access.WRITE, after)
        self._check(key, fields)
        place = self._places.of(key)
        async with self._registry.hold(place.room) as room:
            if place.exists(room):
                raise Conflict(f"{key.name} exists already")
            return await self._write(room, place, caller, fields, (), request=request)

    async def update(
        self,
        caller: Caller,
        collection: str,
        entity: str,
        changes: Mapping[str, Any],
        *,
        unset: Collection[str] = (),
        version: int | None = None,
        on_conflict: Literal["merge", "reject"] = "merge",
        request: str | None = None,
    ) -> Written:
        """Set and remove fields. See :class:`collab.wire.realtime.Update` for ``version`` and ``on_conflict``.

        Raises :class:`Conflict` only if that was asked for, with the latest data in its details.
        """
        key = self._key(caller, collection, entity)
        if on_conflict == "reject" and version is None:
            raise InvalidRequest("onConflict: reject needs the version that was seen last")
        return await self._once(
            caller, request, key, lambda: self._update(caller, key, changes, unset, version, on_conflict, request)
        )

    async def _update(
        self,
        caller: Caller,
        key: RoomKey,
        changes: Mapping[str, Any],
        unset: Collection[str],
        version: int | None,
        on_conflict: str,
        request: str | None,
    ) -> Written:
        await self._admit(caller, key, Access.WRITE)
        place = self._places.of(key)
        async with self._registry.hold(place.room) as room:
            place.check_exists(room)
            target = place.entity(room)
            fields = check_fields(changes, unset, now=target.data)
            await self._authorize(caller, key, Access.WRITE, {**target.data, **target.now})
            after = _after(target, fields, unset)
            await self._authorize(caller, key, Access.WRITE, {**target.data, **after, "id": key.id})
            if version is not None and on_conflict == "reject":
                wanted = {**changes, **dict.fromkeys(unset)}
                await self._compare(room, target, caller, wanted, version)
            # others may have written while this waited; from here to the write nobody does
            place.check_exists(room)
            self._check(key, _after(target, fields, unset))
            return await self._write(room, place, caller, fields, unset, version=version, request=request)

    async def _compare(
        self, room: Room, target: Entity, caller: Caller, wanted: Mapping[str, Any], version: int
    ) -> None:
        """Compare-and-set: refuse unless nobody else has written these fields since ``version``."""
        while room.uncommitted:
            await self._flush()
        user_id = caller.identity.user_id
        newer = target.written_since(version, sorted(wanted), caller.writer, user_id)
        if newer:
            raise Conflict(
                f"{', '.join(newer)}: written by somebody else since version {version}",
                data=target.data,
                version=target.version,
                conflicts=[
                    msgspec.to_builtins(target.conflict(name, wanted[name], won=False, version=version))
                    for name in newer
                ],
            )

    async def delete(self, caller: Caller, collection: str, entity: str, *, request: str | None = None) -> Written:
        """Delete an entity. Whoever edits its document is sent away; its history is kept."""
        key = self._key(caller, collection, entity)
        return await self._once(caller, request, key, lambda: self._delete(caller, key, request))

    async def _delete(self, caller: Caller, key: RoomKey, request: str | None) -> Written:
        await self._admit(caller, key, Access.WRITE)
        place = self._places.of(key)
        async with self._registry.hold(place.room, even_deleted=True) as room:
            place.check_exists(room)
            target = place.entity(room)
            await self._authorize(caller, key, Access.WRITE, target.data)
            place.check_exists(room)  # others may have deleted it while this waited
            if room.deleted:
                raise EntityDeleted(f"{key.name} is deleted already")
            if place.child is not None:
                return await self._commit(room, caller, place.deleting(room), request=request)
            room.delete()
            return await self._note(room, "delete", target, caller, request)

    async def restore(
        self,
        caller: Caller,
        collection: str,
        entity: str,
        *,
        version: int | None = None,
        request: str | None = None,
    ) -> Written:
        """Bring a deleted entity back; with ``version``, make fields and content what they were then, as a new edit."""
        key = self._key(caller, collection, entity)
        return await self._once(caller, request, key, lambda: self._restore(caller, key, version, request))

    async def _restore(self, caller: Caller, key: RoomKey, version: int | None, request: str | None) -> Written:
        await self._admit(caller, key, Access.WRITE)
        place = self._places.of(key)
        then: Version | None = None
        seq = 0
        if version is not None:
            seq, then = await self._storage.seq_at(key, version=version)
        async with self._registry.hold(place.room, even_deleted=True) as room:
            target = place.entity(room)
            if not target.version and not place.exists(room):
                raise NotFound(f"there is no {key.name}")
            await self._authorize(caller, key, Access.WRITE, target.data)
            written: Written | None = None
            if place.child is None and room.deleted:
                room.restore()
                written = await self._note(room, "restore", target, caller, request)
                request = None
            elif then is None and place.exists(room):
                raise InvalidRequest(f"{key.name} is not deleted")
            old = then.event.data if then is not None else target.data
            fields = {name: value for name, value in old.items() if name not in {"id", "createdAt", "updatedAt"}}
            if place.child is not None and not place.exists(room):
                return await self._write(room, place, caller, fields, (), request=request)
            changed = {name: value for name, value in fields.items() if not same(target.now.get(name, ABSENT), value)}
            unset = [name for name in target.now if name not in fields]
            if then is not None:
                self._check(key, fields)
                if place.child is None:
                    content = await self._documents.restoring(key, seq)
                    if content is not None:
                        written = await self._commit(room, caller, content)
            if changed or unset or written is None:
                written = await self._write(room, place, caller, changed, unset, request=request)
            return written

    async def _write(
        self,
        room: Room,
        place: Place,
        caller: Caller,
        fields: Mapping[str, Any],
        unset: Collection[str],
        *,
        version: int | None = None,
        request: str | None = None,
    ) -> Written:
        target = place.entity(room)
        exists = place.exists(room)
        gone = [name for name in unset if name in target.now]
        if not fields and not gone:
            if exists:
                return Written(data=target.data, version=target.version)
            if place.child is None:
                return await self._note(room, "write", target, caller, request)
        return await self._commit(room, caller, place.writing(room, fields, gone), version=version, request=request)

    async def _commit(
        self, room: Room, caller: Caller, update: bytes, *, version: int | None = None, request: str | None = None
    ) -> Written:
        """Have the room take in an update; returns once it is committed."""
        told, intent = _intent(caller, version, request)
        room.edit(update, caller.identity.user_id, monotonic(), _ignore, intent)
        return _written(await told)

    async def _note(
        self,
        room: Room,
        kind: Literal["write", "delete", "restore"],
        target: Entity,
        caller: Caller,
        request: str | None,
    ) -> Written:
        told, intent = _intent(caller, None, request)
        self._registry.note(room, Op(kind, target, caller.identity.user_id, time(), intent=intent))
        return _written(await told)

    async def _once(
        self, caller: Caller, request: str | None, key: RoomKey, write: Callable[[], Awaitable[Written]]
    ) -> Written:
        """Do a named write once, however often it is asked for."""
        if request is None:
            return await write()
        if not 0 < len(request) <= MAX_REQUEST or not request.isascii():
            raise InvalidRequest(f"a request's name is an ASCII text of 1 to {MAX_REQUEST} characters")
        name = (key.project, request)
        waiting = self._requests.get(name)
        if waiting is not None:
            return await asyncio.shield(waiting)
        done: asyncio.Future[Written] = asyncio.get_running_loop().create_future()
        done.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._requests[name] = done
        try:
            known = await self._storage.request(*name)
            if known is None:
                written = await write()
            else:
                if (known[0].collection, caller.identity.project) != (key.collection, key.project):
                    raise InvalidRequest("a request of this name wrote something else")
                row = await self._storage.entity(known[0])
                if row is None:
                    raise NotFound(f"there is no {key.name}")
                await self._authorize(caller, known[0], Access.READ, row.data)
                written = Written(data=row.data, version=row.version)
            done.set_result(written)
            return written
        except BaseException as error:
            done.set_exception(error if isinstance(error, Exception) else InvalidRequest("given up"))
            raise
        finally:
            del self._requests[name]

    def _check(self, key: RoomKey, fields: Mapping[str, Any]) -> None:
        check_size(fields, len(msgspec.json.encode(fields)), self._max_entity_bytes)
        self._schemas.validate(key.collection, fields)


def _after(target: Entity, fields: Mapping[str, Any], unset: Collection[str]) -> dict[str, Any]:
    return {name: value for name, value in {**target.now, **fields}.items() if name not in unset}


def _intent(caller: Caller, version: int | None, request: str | None) -> tuple[asyncio.Future[Told], Intent]:
    told: asyncio.Future[Told] = asyncio.get_running_loop().create_future()

    def tell(what: Told) -> None:
        if not told.done():
            told.set_result(what)

    return told, Intent(caller.writer, tell, version, request)


def _written(told: Told) -> Written:
    return Written(data=told.data, version=told.version, conflicts=told.conflicts)


def _ignore() -> None:
    """What is waited for is the event."""
