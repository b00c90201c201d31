"""Full-text search in PostgreSQL: the folded texts of rows, and a GIN index of their words.

The index only says which rows have the words: whether a row is found, ``strpos`` decides on its folded text, as
:mod:`collab.query.search` does in memory. Words are folded before they get here; the database has no dictionary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import asyncpg

from collab.names import RoomKey
from collab.query.query import IndexPaths, Search
from collab.query.search import finds_contents, folded_text
from collab.storage.base import Fact, Unread
from collab.storage.codec import from_json
from collab.storage.postgres.values import plain, plain_or_none
from collab.storage.search import (
    WordAsked,
    check_form,
    contents_after,
    paths_in,
    scope_of,
    texts_after,
    words_asked,
)

_SLICE_ROWS: Final = 500
_SLICE_BYTES: Final = 1024 * 1024


class IndexedRows(NamedTuple):
    """The parameters of ``index_some_3`` behind the third (without the last one), and how many rows are ``taken``."""

    reached: int | None
    eids: list[int]
    versions: list[int]
    scopes: list[str]
    fields: list[str]
    taken: int


async def read_forms(connection: asyncpg.Connection) -> dict[str, str]:
    """What is searched, by collection."""
    rows = await connection.fetch("SELECT collection, form FROM collab.search_collections")
    return dict(rows)


def text_values(facts: Sequence[Fact], forms: Mapping[str, str]) -> tuple[Any, ...]:
    """What ``commit_2`` takes behind the parameters of ``commit_1``."""
    collections = sorted({fact.entity.key.collection for fact in facts})
    texts = texts_after(facts, forms)
    return (
        collections,
        [forms.get(name, "") for name in collections],
        [fact.entity.key.project for fact, _ in texts],
        [fact.entity.key.collection for fact, _ in texts],
        [fact.entity.key.id for fact, _ in texts],
        [fact.entity.version for fact, _ in texts],
        [scope_of(*fact.entity.key[:2]) for fact, _ in texts],
        [plain(text) for _, text in texts],
    )


def contents_values(facts: Sequence[Fact], forms: Mapping[str, str]) -> tuple[Any, ...] | None:
    """What ``commit_3`` takes behind the parameters of ``commit_2``; ``None`` if nothing is searched of it."""
    contents = contents_after(facts, forms)
    if not contents:
        return None
    return (
        [key.project for key in contents],
        [key.collection for key in contents],
        [key.id for key in contents],
        [scope_of(*key[:2]) for key in contents],
        [plain_or_none(new.text) for new in contents.values()],
    )


async def list_unread(connection: asyncpg.Connection, limit: int) -> list[Unread]:
    """Entities whose contents are still to be read."""
    rows = await connection.fetch(
        "SELECT e.project, e.collection, e.id, e.content_seq FROM collab.search_unread AS u"
        " JOIN collab.entities AS e ON e.eid = u.eid ORDER BY u.number LIMIT $1",
        limit,
    )
    return [Unread(RoomKey(*key), seq) for *key, seq in rows]


async def is_reading(connection: asyncpg.Connection) -> bool:
    """Whether a search in some collection waits for its documents."""
    return bool(await connection.fetchval("SELECT EXISTS (SELECT 1 FROM collab.search_collections WHERE reading)"))


async def list_left(connection: asyncpg.Connection, collection: str) -> list[int]:
    """The rows that are still to be indexed, in order."""
    rows = await connection.fetch(
        "SELECT e.eid FROM collab.search_collections AS s JOIN collab.entities AS e ON e.collection = s.collection"
        " WHERE s.collection = $1 AND e.eid > s.reached ORDER BY e.eid",
        collection,
    )
    return [eid for (eid,) in rows]


async def read_some(connection: asyncpg.Connection, left: Sequence[int], form: str) -> IndexedRows:
    """The texts of the first of these rows."""
    count = size = 0
    some = list(left[:_SLICE_ROWS])
    found = IndexedRows(None, [], [], [], [], 0)
    rows = await connection.fetch(
        "SELECT u.eid, e.version, e.project, e.collection, e.data, coalesce(octet_length(e.data), 0)"
        " FROM unnest($1::bigint[]) AS u(eid) LEFT JOIN collab.entities AS e ON e.eid = u.eid ORDER BY u.eid",
        some,
    )
    for eid, version, project, collection, data, weight in rows:
        if size > _SLICE_BYTES:
            break
        count += 1
        size += weight
        if version is None:  # it was erased
            continue
        found.eids.append(eid)
        found.versions.append(version)
        found.scopes.append(scope_of(project, collection))
        found.fields.append(folded_text(from_json(data), paths_in(form)))
    reached = some[count - 1] if count < len(left) else None
    return found._replace(reached=reached, taken=count)


async def check_indexed(connection: asyncpg.Connection, collection: str, paths: IndexPaths) -> None:
    """Raise :class:`collab.errors.Unavailable` unless all rows are found by these members."""
    known = await connection.fetchrow(
        "SELECT form, reached, reading FROM collab.search_collections WHERE collection = $1", collection
    )
    if known is None:
        check_form(collection, paths, None, done=False)
    else:
        check_form(collection, paths, known[0], done=known[1] is None, reading=known[2])


async def index_anew(connection: asyncpg.Connection, collection: str) -> None:
    """Have a collection indexed again when it is declared next: its rows were written in another way."""
    await connection.execute("DELETE FROM collab.search_collections WHERE collection = $1", collection)


def found_sql(project: str, collection: str, search: Search, values: Any, *, is_few: bool = False) -> list[str]:
    """Conditions on ``entities`` for the rows that are found. ``values`` takes their parameters.

    ``is_few``: other conditions name a few rows, whose texts are looked at instead of the index.
    """
    scope = scope_of(project, collection)
    found: list[str] = []
    wanted, without = search.words
    columns = ("fields", "contents") if finds_contents(search.paths) else ("fields",)

    def occurs(part: str) -> str:
        place = values.text(part)
        return f"({' OR '.join(f'strpos(t.{column}, {place}) > 0' for column in columns)})"

    def add(negation: str, match: str, test: str) -> None:
        texts = "FROM collab.search_texts AS t WHERE"
        if is_few:
            found.append(f"{negation}EXISTS (SELECT 1 {texts} t.eid = entities.eid AND ({test}))")
        else:
            words = f"{values.add(match, 'text')}::tsquery"
            found.append(f"eid {negation}IN (SELECT t.eid {texts} t.words @@ {words} AND ({test}))")

    if wanted:
        add("", " & ".join(_matching(scope, part) for part in wanted), " AND ".join(map(occurs, wanted)))
    if without:
        add("NOT ", " | ".join(f"({_matching(scope, part)})" for part in without), " OR ".join(map(occurs, without)))
    return found


def _matching(scope: str, part: str) -> str:
    return " & ".join(map(_quoted, words_asked(scope, part)))


def _quoted(asked: WordAsked) -> str:
    return f"'{asked.word}'{':*' if asked.begins else ''}"
