"""Reading entities, with the caller's rights. Reads see the record: what is committed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

import msgspec

from collab.access.identity import Identity
from collab.access.rules import Access
from collab.dates import canonical
from collab.errors import EntityDeleted, InvalidName, InvalidRequest, NotFound, PermissionDenied
from collab.event import EntityEvent, FieldConflict
from collab.names import RoomKey, is_part
from collab.query.aggregate import Aggregation, group_row
from collab.query.cursor import page_after
from collab.query.include import MAX_INCLUDING_ROWS, Include, RelationQuery
from collab.query.match import conjoin
from collab.query.parse import parse_query
from collab.query.parse_aggregation import parse_aggregation
from collab.query.parse_include import parse_including
from collab.query.query import Condition, Query
from collab.records.documents import Documents
from collab.records.entity_view import EntityView, data_before
from collab.records.including import Visible, read_included, relation_queries, with_keys
from collab.records.schema import Schemas
from collab.rooms.authorization import Authorization
from collab.storage.base import EntityRow, EntityStorage
from collab.turns import TurnOwner, Turns
from collab.wire.realtime.encoding import Format
from collab.wire.realtime.messages import Aggregate, Count, FindById, FindMany, History
from collab.wire.realtime.values import Found, FoundMany, Groups, select

MAX_ROWS = 10_000
_SEARCHED = 100  # newest events in which to look for the write that a conflict met


class Caller(NamedTuple):
    """Who makes a request. ``writer`` is the session: for conflicts, a user's other sessions count as other writers.

    ``address`` is the network address of a caller without a verified user.
    """

    identity: Identity
    writer: str
    address: str | None = None

    @property
    def owner(self) -> TurnOwner:
        """Queue in which this caller waits: that of its verified user, else that of its address."""
        return TurnOwner(self.identity.project, self.identity.counted_as(self.address))


class Reads:
    """Reads from all collections of all projects. Every method raises :class:`collab.errors.CollabError`.

    ``turns`` are those of the storage's queries; projects and callers take turns.
    """

    def __init__(
        self, storage: EntityStorage, turns: Turns, rights: Authorization, schemas: Schemas, documents: Documents
    ) -> None:
        self._turns = turns
        self._storage = storage
        self._rights = rights
        self._schemas = schemas
        self._documents = documents

    async def find_by_id(self, caller: Caller, message: FindById, form: Format | None = None) -> Found:
        """Get one entity, now or as of a version or time. With ``form`` its content is already encoded.

        Raises :class:`NotFound`, :class:`EntityDeleted`.
        """
        key = self._key(caller, message.collection, message.entity)
        content, version, at = message.content, message.version, message.at
        row = await self._storage.entity(key)
        access = await self._rights.require(caller.identity, key, Access.READ, row.data if row is not None else None)
        if row is None:
            raise NotFound(f"there is no {key.name}")
        permissions = _permissions(access) if message.include_permissions else None
        if version is None and at is None:
            if row.deleted:
                raise EntityDeleted(f"{key.name} was deleted")
            roots = await self._documents.content(caller.owner, key, None, form) if content else None
            newer = await self._storage.entity(key) if content else row
            if newer is not None and newer.version != row.version:  # the content may be newer than the row, too
                await self._rights.require(caller.identity, key, Access.READ, newer.data)
            return Found(data=row.data, version=row.version, content=roots, permissions=permissions)
        if version is not None and at is not None:
            raise InvalidRequest("version or at, not both")
        async with self._turns.turn(caller.owner):
            seq, then = await self._storage.seq_at(key, version=version, at=None if at is None else _moment(at))
        await self._rights.require(caller.identity, key, Access.READ, then.event.data)
        roots = await self._documents.content(caller.owner, key, seq, form) if content else None
        event = then.event
        return Found(
            data=event.data,
            version=event.version,
            deleted=event.type == "deleted",
            content=roots,
            permissions=permissions,
        )

    async def find_many(self, caller: Caller, message: FindMany) -> FoundMany:
        """Get the rows that this caller may see, at most 10,000. ``fields``: only these members, and ``id``.

        What the query includes is read after its rows.
        """
        asked, includes = parse_including(message.query)
        wanted = await self._narrowed(caller, message.collection, asked)
        if includes:
            wanted = replace(wanted, limit=min(wanted.limit or MAX_INCLUDING_ROWS, MAX_INCLUDING_ROWS))
        relations = await self.relations(message.collection, includes, partial(self.visible, caller))
        async with self._turns.turn(caller.owner):
            found = await self._storage.find(caller.identity.project, message.collection, wanted)
        rows, permissions = found.rows, None
        if message.include_permissions:
            permissions = [await self._permissions_of(caller, row) for row in rows]
        full = wanted.limit is not None and len(rows) == wanted.limit and rows
        included = await read_included(self._storage, self._turns, caller.owner, relations, [row.data for row in rows])
        fields = with_keys(message.fields, relations)
        return FoundMany(
            rows=[select(row.data, fields) for row in rows],
            versions=[row.version for row in rows],
            next=page_after(rows[-1].data, wanted.order_by) if full else None,
            permissions=permissions,
            included=included,
        )

    async def relations(
        self, collection: str, includes: Iterable[Include], visible: Visible
    ) -> tuple[RelationQuery, ...]:
        """Return what to read for each relation of an ``include``. Raises :class:`InvalidRequest`."""
        return await relation_queries(self._schemas, collection, includes, visible)

    async def count(self, caller: Caller, message: Count) -> int:
        """Count the rows that this caller may see, ignoring ``limit``."""
        wanted = await self.query(caller, message.collection, message.query)
        async with self._turns.turn(caller.owner):
            return await self._storage.count(caller.identity.project, message.collection, wanted)

    async def aggregate(self, caller: Caller, message: Aggregate) -> Groups:
        """Add up the rows that this caller may see, by group. Raises :class:`InvalidRequest` for too many groups."""
        wanted = await self.aggregation(caller, message.collection, message.query)
        async with self._turns.turn(caller.owner):
            found = await self._storage.aggregate(caller.identity.project, message.collection, wanted)
        return Groups(groups=[group_row(wanted, group) for group in found.groups])

    async def aggregation(self, caller: Caller, collection: str, raw: Mapping[str, Any]) -> Aggregation:
        """Parse an aggregate and add the row filter of the caller's rights. Raises :class:`InvalidRequest`."""
        _check_collection(collection)
        wanted = self._schemas.search(collection, parse_aggregation(raw))
        return replace(wanted, where=conjoin(wanted.where, await self.visible(caller, collection)))

    async def query(self, caller: Caller, collection: str, raw: Mapping[str, Any]) -> Query:
        """Parse a query and add the row filter of the caller's rights. Raises :class:`InvalidRequest`."""
        return await self._narrowed(caller, collection, parse_query(raw))

    async def _narrowed(self, caller: Caller, collection: str, query: Query) -> Query:
        _check_collection(collection)
        visible = await self.visible(caller, collection)
        limit = MAX_ROWS if query.limit is None else min(query.limit, MAX_ROWS)
        return replace(self._schemas.search(collection, query), where=conjoin(query.where, visible), limit=limit)

    async def history(self, caller: Caller, message: History) -> list[EntityEvent]:
        """Get events of an entity, newest first, as a subscriber with these rights would have received them."""
        key = self._key(caller, message.collection, message.entity)
        row = await self._storage.entity(key)
        await self._rights.require(caller.identity, key, Access.READ, row.data if row is not None else None)
        async with self._turns.turn(caller.owner):
            versions = await self._storage.history(key, before=message.before, limit=min(max(message.limit, 1), 1000))
        view = EntityView(await self.visible(caller, message.collection))
        return [seen for version in versions if (seen := view.see(version.event)) is not None]

    # rights

    async def visible(self, caller: Caller, collection: str) -> Condition:
        """Return which rows of a collection this caller may see. Raises :class:`PermissionDenied` if none, ever."""
        _check_collection(collection)
        self._schemas.check_collection(collection)
        condition = await self._rights.visible(caller.identity, collection)
        if condition is None:
            raise PermissionDenied(f"this identity may not list {collection}")
        return condition

    async def access(self, caller: Caller, collection: str, entity: str) -> Access:
        """Return this caller's rights on one entity as it is now."""
        key = self._key(caller, collection, entity)
        row = await self._storage.entity(key)
        return await self._rights.access(caller.identity, key, row.data if row is not None else None)

    async def document_access(self, caller: Caller, key: RoomKey) -> Access:
        """Return this caller's rights on a document as a whole, as an editor."""
        self._key(caller, key.collection, key.id)
        row = await self._storage.entity(key)
        return await self._rights.document_access(caller.identity, key, row.data if row is not None else None)

    async def _admit(self, caller: Caller, key: RoomKey, wanted: Access) -> None:
        """Check rights against the committed entity, before the room is opened."""
        row = await self._storage.entity(key) if self._rights.depends_on_row(caller.identity) else None
        await self._rights.require(caller.identity, key, wanted, row.data if row is not None else None)

    async def _as_seen(
        self, identity: Identity, key: RoomKey, conflicts: Sequence[FieldConflict], version: int
    ) -> tuple[FieldConflict, ...]:
        """Remove from the conflicts of version ``version`` what this identity may not see.

        ``theirs`` is in the row that they have written. ``base`` and the author are removed unless this identity could
        have seen them at the time.
        """
        if not conflicts or not self._rights.depends_on_row(identity):
            return tuple(conflicts)
        past = [one.event for one in await self._storage.history(key, before=version, limit=_SEARCHED)]
        told = []
        for conflict in conflicts:
            met = next((event for event in past if conflict.field in event.changes), None)
            if met is None or await self._rights.access(identity, key, data_before(met)) < Access.READ:
                conflict = msgspec.structs.replace(conflict, base=None)
            if met is not None and await self._rights.access(identity, key, met.data) < Access.READ:
                conflict = msgspec.structs.replace(conflict, user_id=None, at=None)
            told.append(conflict)
        return tuple(told)

    async def _permissions_of(self, caller: Caller, row: EntityRow) -> dict[str, bool]:
        return _permissions(await self._rights.access(caller.identity, row.key, row.data))

    def _key(self, caller: Caller, collection: str, entity: str) -> RoomKey:
        _check_collection(collection)
        self._schemas.check_collection(collection)
        if not is_part(entity):
            raise InvalidName("an id must be 1-128 characters of [A-Za-z0-9_.:-]")
        return RoomKey(caller.identity.project, collection, entity)


def _check_collection(collection: str) -> None:
    if not is_part(collection):
        raise InvalidName("a collection must be 1-128 characters of [A-Za-z0-9_.:-]")


def _permissions(access: Access) -> dict[str, bool]:
    return {"read": access >= Access.READ, "write": access >= Access.WRITE}


def _moment(text: str) -> float:
    """Seconds since the epoch; the end of the given millisecond, because many clients know no smaller unit."""
    known = canonical(text)
    if known is None:
        raise InvalidRequest("at must be an RFC 3339 date-time")
    if len(text.partition(".")[2].rstrip("Zz").partition("+")[0].partition("-")[0]) <= 3:
        known = f"{known[:-4]}999Z"
    return datetime.fromisoformat(known).timestamp()
