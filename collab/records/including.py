"""The relations that a query includes, with the rights of its caller."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from collab.errors import InvalidRequest, PermissionDenied
from collab.query.include import (
    DEFAULT_RELATED,
    MAX_WITH_RELATED,
    Include,
    KeysQuery,
    RelationQuery,
)
from collab.query.match import conjoin
from collab.query.query import NOTHING, Condition
from collab.records.schema import Schemas
from collab.storage.base import EntityStorage, FoundEach
from collab.turns import TurnOwner, Turns
from collab.wire.realtime.values import Included, select

Visible = Callable[[str], Awaitable[Condition]]
"""The row filter of a caller in a collection. Raises :class:`PermissionDenied` if it may see none."""


async def relation_queries(
    schemas: Schemas, collection: str, includes: Iterable[Include], visible: Visible
) -> tuple[RelationQuery, ...]:
    """Return what to read for each relation. Rows that the caller may not see are not related, in whatever collection.

    Raises :class:`InvalidRequest` for an unknown relation, and for an order or limit of a relation to one.
    """
    return tuple([await _relation_query(schemas, collection, include, visible) for include in includes])


async def _relation_query(schemas: Schemas, collection: str, include: Include, visible: Visible) -> RelationQuery:
    relation, asked = schemas.relation(collection, include.relation), include.query
    one = relation.one is not None
    if one and (asked.order_by or asked.limit is not None):
        raise InvalidRequest(f"include.{include.relation}: there is at most one: it has no orderBy and no limit")
    schemas.check_collection(relation.collection)
    try:
        seen = await visible(relation.collection)
    except PermissionDenied:
        seen = NOTHING
    return RelationQuery(
        include.relation,
        relation.collection,
        by=relation.by if one else "id",
        member="id" if one else relation.by,
        one=one,
        query=replace(asked, where=conjoin(asked.where, seen), limit=1 if one else asked.limit or DEFAULT_RELATED),
        fields=include.fields,
    )


def with_keys(fields: Sequence[str] | None, relations: Iterable[RelationQuery]) -> tuple[str, ...] | None:
    """Return the fields of a query's rows that a caller gets: those that it asks for, and the keys of relations."""
    return None if fields is None else tuple(dict.fromkeys((*fields, *(relation.by for relation in relations))))


async def read_included(
    storage: EntityStorage,
    turns: Turns,
    owner: TurnOwner,
    relations: Iterable[RelationQuery],
    rows: Sequence[Mapping[str, Any]],
) -> dict[str, Included] | None:
    """Read what is related to rows. Returns ``None`` if there are no relations.

    Raises :class:`InvalidRequest` for too many rows.
    """
    included: dict[str, Included] = {}
    left = MAX_WITH_RELATED - len(rows)
    for relation in relations:
        keys = list(dict.fromkeys(key for row in rows if (key := relation.key_of(row)) is not None))
        found = FoundEach({}, 0)
        if keys:
            async with turns.turn(owner):
                asked = KeysQuery(relation.member, keys, relation.query, left + 1)
                found = await storage.find_each(owner.project, relation.collection, asked)
        left -= len(found)
        if left < 0:
            raise InvalidRequest(too_many())
        related = {key: each for key, each in found.rows.items() if each}
        included[relation.name] = included_by(
            relation,
            {key: [select(row.data, relation.fields) for row in each] for key, each in related.items()},
            {key: [row.version for row in each] for key, each in related.items()},
        )
    return included or None


def included_by(
    relation: RelationQuery, rows: dict[str, list[dict[str, Any]]], versions: dict[str, list[int]]
) -> Included:
    """Return related rows, by their key, as a caller gets them."""
    return Included(
        collection=relation.collection,
        by=relation.by,
        member=relation.member,
        one=relation.one,
        rows=rows,
        versions=versions,
    )


def too_many() -> str:
    """The message for an answer of too many rows."""
    return f"more than {MAX_WITH_RELATED:,} rows with the included ones: give the query or the relations a limit"
