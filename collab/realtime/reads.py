"""Reading entities, with the rights of whoever asks. Reads are of the record: what is committed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from collab.access.identity import Access, Identity
from collab.dates import canonical
from collab.errors import EntityDeleted, InvalidName, InvalidRequest, NotFound, PermissionDenied
from collab.event import EntityEvent
from collab.names import RoomKey, is_part
from collab.query.cursor import page_after
from collab.query.match import compile_where, conjoin
from collab.query.parse import parse_query
from collab.query.query import Condition, Query
from collab.realtime.documents import Documents
from collab.realtime.schema import Schemas
from collab.rooms.hooks import Hooks
from collab.storage.base import EntityRow, Storage
from collab.wire.realtime import Found, FoundMany

MAX_ROWS = 10_000


class Caller(NamedTuple):
    """Who asks. ``writer`` is the session's name: a user's own other sessions are others where writes conflict."""

    identity: Identity
    writer: str


class Reads:
    """What may be read of all collections of all projects. Every method raises :class:`collab.errors.CollabError`."""

    def __init__(self, storage: Storage, hooks: Hooks, schemas: Schemas, documents: Documents) -> None:
        self._storage = storage
        self._hooks = hooks
        self._schemas = schemas
        self._documents = documents

    async def find_by_id(
        self,
        caller: Caller,
        collection: str,
        entity: str,
        *,
        content: bool = False,
        version: int | None = None,
        at: str | None = None,
        include_permissions: bool = False,
    ) -> Found:
        """One entity, now or as of a version or moment. Raises :class:`NotFound`, :class:`EntityDeleted`."""
        key = self._key(caller, collection, entity)
        row = await self._storage.entity(key)
        access = await self._authorize(caller, key, Access.READ, row.data if row is not None else None)
        if row is None:
            raise NotFound(f"there is no {key.name}")
        permissions = _permissions(access) if include_permissions else None
        if version is None and at is None:
            if row.deleted:
                raise EntityDeleted(f"{key.name} was deleted")
            roots = await self._documents.content(key, None) if content else None
            return Found(data=row.data, version=row.version, content=roots, permissions=permissions)
        if version is not None and at is not None:
            raise InvalidRequest("version or at, not both")
        seq, then = await self._storage.seq_at(key, version=version, at=None if at is None else _moment(at))
        await self._authorize(caller, key, Access.READ, then.event.data)
        roots = await self._documents.content(key, seq) if content else None
        event = then.event
        return Found(
            data=event.data,
            version=event.version,
            deleted=event.type == "deleted",
            content=roots,
            permissions=permissions,
        )

    async def find_many(
        self,
        caller: Caller,
        collection: str,
        query: Mapping[str, Any],
        *,
        fields: Sequence[str] | None = None,
        include_permissions: bool = False,
    ) -> FoundMany:
        """The rows of a query that this caller may see, at most 10,000. ``fields``: only these members, and ``id``."""
        wanted = await self.query(caller, collection, query)
        found = await self._storage.find(caller.identity.project, collection, wanted)
        rows = found.rows
        full = wanted.limit is not None and len(rows) == wanted.limit and rows
        return FoundMany(
            rows=[select(row.data, fields) for row in rows],
            versions=[row.version for row in rows],
            next=page_after(rows[-1].data, wanted.order_by) if full else None,
            permissions=[await self._permissions_of(caller, row) for row in rows] if include_permissions else None,
        )

    async def count(self, caller: Caller, collection: str, query: Mapping[str, Any]) -> int:
        """How many rows of a query this caller may see, whatever its ``limit``."""
        wanted = await self.query(caller, collection, query)
        return await self._storage.count(caller.identity.project, collection, wanted)

    async def query(self, caller: Caller, collection: str, raw: Mapping[str, Any]) -> Query:
        """A query as this caller may ask it: with the row filter of its rights. Raises :class:`InvalidRequest`."""
        _check_collection(collection)
        query = parse_query(raw)
        where = conjoin(query.where, await self.visible(caller, collection))
        limit = MAX_ROWS if query.limit is None else min(query.limit, MAX_ROWS)
        return Query(where, query.order_by, limit, query.offset, query.after)

    async def history(
        self, caller: Caller, collection: str, entity: str, *, limit: int = 50, before: int | None = None
    ) -> list[EntityEvent]:
        """Events of an entity, the newest first."""
        key = self._key(caller, collection, entity)
        row = await self._storage.entity(key)
        await self._authorize(caller, key, Access.READ, row.data if row is not None else None)
        versions = await self._storage.history(key, before=before, limit=min(max(limit, 1), 1000))
        where = compile_where(await self.visible(caller, collection))
        return [version.event for version in versions if where(version.event.data)]

    # rights

    async def visible(self, caller: Caller, collection: str) -> Condition:
        """Which rows of a collection this caller may see. Raises :class:`PermissionDenied` if none ever."""
        _check_collection(collection)
        self._schemas.check_collection(collection)
        condition = await self._hooks.visible(caller.identity, collection)
        if condition is None:
            raise PermissionDenied(f"this identity may not list {collection}")
        return condition

    async def access(self, caller: Caller, collection: str, entity: str) -> Access:
        """What this caller may do with one entity as it is now."""
        key = self._key(caller, collection, entity)
        row = await self._storage.entity(key)
        return await self._hooks.authorize_row(caller.identity, key, row.data if row is not None else None)

    async def _admit(self, caller: Caller, key: RoomKey, wanted: Access) -> None:
        """Before a room is opened for somebody: may they do this, with the entity as it is in the record?"""
        if await self._hooks.authorize_row(caller.identity, key, None) < wanted:
            row = await self._storage.entity(key)
            await self._authorize(caller, key, wanted, row.data if row is not None else None)

    async def _authorize(self, caller: Caller, key: RoomKey, wanted: Access, data: Mapping[str, Any] | None) -> Access:
        access = await self._hooks.authorize_row(caller.identity, key, data)
        if access < Access.READ:
            raise PermissionDenied(f"this identity may not see {key.name}")
        if access < wanted:
            raise PermissionDenied(f"this identity may not write {key.name}")
        return access

    async def _permissions_of(self, caller: Caller, row: EntityRow) -> dict[str, bool]:
        return _permissions(await self._hooks.authorize_row(caller.identity, row.key, row.data))

    def _key(self, caller: Caller, collection: str, entity: str) -> RoomKey:
        _check_collection(collection)
        self._schemas.check_collection(collection)
        if not is_part(entity):
            raise InvalidName("an id has 1-128 characters of [A-Za-z0-9_.:-]")
        return RoomKey(caller.identity.project, collection, entity)


def select(data: dict[str, Any], fields: Sequence[str] | None) -> dict[str, Any]:
    """Only these members of an entity's data, and its ``id``."""
    if fields is None:
        return data
    return {"id": data["id"], **{name: data[name] for name in fields if name in data}}


def _check_collection(collection: str) -> None:
    if not is_part(collection):
        raise InvalidName("a collection has 1-128 characters of [A-Za-z0-9_.:-]")


def _permissions(access: Access) -> dict[str, bool]:
    return {"read": access >= Access.READ, "write": access >= Access.WRITE}


def _moment(text: str) -> float:
    known = canonical(text)
    if known is None:
        raise InvalidRequest("at is an RFC 3339 point in time")
    return datetime.fromisoformat(known).timestamp()
