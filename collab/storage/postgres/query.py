"""Queries in PostgreSQL: what :mod:`collab.query.match` says of rows in memory, as SQL over the table ``entities``.

Each member becomes three expressions, which are never NULL: its *kind*, its *number* (0 if it is none) and its *text*
(empty if it is none, compared by code point). Their order is the order of values. One index on (kind, number, beginning
of the text) of one or more members serves equality, ``in``, ranges and order; only the beginning, because rows of an
index must be short.

Members are reached by name, which never reaches into arrays. Values are parameters; names are literals, so that the
planner recognises the expressions of an index.
"""

# ruff: noqa: S608  -- values are parameters; names of members and collections go through _literal()

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import asyncpg

from collab.errors import InvalidRequest
from collab.query.include import KeysQuery
from collab.query.match import (
    COMPOSITE,
    FALSE,
    ID,
    NULL,
    NUMBER,
    TEXT,
    TRUE,
    as_written,
    behind,
    equalities,
    form,
    kind_of,
    whole,
)
from collab.query.query import And, Compare, Condition, IndexPaths, Not, Or, Order, Path, Query, Scalar, SortKey
from collab.storage.base import EntityRow
from collab.storage.postgres.entities import COLUMNS, entity_row
from collab.storage.postgres.search import check_indexed, found_sql
from collab.storage.postgres.values import plain
from collab.storage.rules import deciding_orders, indexes_to_build

_OPERATORS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
_INDEXED = 100  # characters of a string: five members with four bytes in each fit into a row of an index (2.7 KB)


async def find_rows(connection: asyncpg.Connection, project: str, collection: str, query: Query) -> list[EntityRow]:
    """The entities that a query selects, in its order, without deleted ones."""
    if query.search is not None:
        await check_indexed(connection, collection, query.search.paths)
    sql, values = find_statement(project, collection, query)
    return [entity_row(row) for row in await connection.fetch(sql, *values)]


def find_statement(project: str, collection: str, query: Query) -> tuple[str, list[Any]]:
    """The statement of :func:`find_rows`, and the values of its parameters."""
    values = Values()
    where = selection(project, collection, query, values)
    order = [part for one in deciding_orders(query.order_by) for part in _order_of(one)]
    sql = f"SELECT {COLUMNS} FROM collab.entities WHERE {where} ORDER BY {', '.join(order)}"
    if query.limit is not None:
        sql += f" LIMIT {values.add(query.limit, 'bigint')}"
    if query.offset:
        sql += f" OFFSET {values.add(query.offset, 'bigint')}"
    return sql, values.given


async def find_each(
    connection: asyncpg.Connection, project: str, collection: str, asked: KeysQuery
) -> dict[str, list[EntityRow]]:
    """:func:`find_rows` for each key. One statement, which searches an index for each of them."""
    sql, values = each_statement(project, collection, asked)
    found: dict[str, list[EntityRow]] = {key: [] for key in asked.keys}
    for number, *row in await connection.fetch(sql, *values):
        found[asked.keys[number - 1]].append(entity_row(row))
    return found


def each_statement(project: str, collection: str, asked: KeysQuery) -> tuple[str, list[Any]]:
    """The statement of :func:`find_each`, and the values of its parameters."""
    member, keys, query, most = asked
    values = Values()
    wanted = values.add(list(keys) if (member,) == ID else [plain(form(key)) for key in keys], "text[]")
    where = f"{_equal_to_key((member,))} AND {selection(project, collection, query, values)}"
    order = ", ".join(part for one in deciding_orders(query.order_by) for part in _order_of(one))
    rows = f"SELECT {COLUMNS} FROM collab.entities WHERE {where} ORDER BY {order}"
    rows += f" LIMIT {values.add(query.limit, 'bigint')}"
    sql = f"SELECT wanted.number, found.* FROM unnest({wanted}) WITH ORDINALITY AS wanted (key, number)"
    # rows come in the order of their key, each in that of the query: a join keeps what its inner side yields
    return f"{sql} CROSS JOIN LATERAL ({rows}) AS found LIMIT {values.add(most, 'bigint')}", values.given


def _equal_to_key(path: Path) -> str:
    """The member equals the key ``wanted.key``, a string."""
    if path == ID:
        return "id = wanted.key"
    same = f"{kind_sql(path)} = {TEXT} AND {number_sql(path)} = 0 AND {_beginning(path)} = "
    same += f'left(wanted.key, {_INDEXED}) COLLATE "C"'
    return f"{same} AND (length(wanted.key) < {_INDEXED} OR {text_sql(path)} = wanted.key)"


async def find_contents(
    connection: asyncpg.Connection, project: str, collection: str, ids: Sequence[str], paths: IndexPaths
) -> dict[str, tuple[EntityRow, str]]:
    """Those of these entities that exist, with what their documents say."""
    await check_indexed(connection, collection, paths)
    contents = "(SELECT t.contents FROM collab.search_texts AS t WHERE t.eid = entities.eid)"
    rows = await connection.fetch(
        f"SELECT coalesce({contents}, ''), {COLUMNS} FROM collab.entities WHERE project = $1 AND collection = $2"
        " AND id = ANY ($3) AND NOT deleted",
        project,
        collection,
        list(ids),
    )
    return {row.key.id: (row, text) for text, *columns in rows for row in [entity_row(columns)]}


async def count_rows(connection: asyncpg.Connection, project: str, collection: str, query: Query) -> int:
    """The number of rows that :func:`find_rows` would return without ``limit`` and ``offset``."""
    if query.search is not None:
        await check_indexed(connection, collection, query.search.paths)
    sql, values = count_statement(project, collection, query)
    return int(await connection.fetchval(sql, *values))


def count_statement(project: str, collection: str, query: Query) -> tuple[str, list[Any]]:
    """The statement of :func:`count_rows`, and the values of its parameters."""
    values = Values()
    where = selection(project, collection, query, values)
    return f"SELECT count(*) FROM collab.entities WHERE {where}", values.given


async def create_indexes(connection: asyncpg.Connection, collection: str, indexes: Sequence[IndexPaths]) -> None:
    """Have exactly these indexes of a collection; writes go on meanwhile. Those that are there already stay.

    ``connection`` must be in no transaction. Raises :class:`InvalidRequest` for a name that no index can hold, the same
    ones as in SQLite. ``id`` is indexed anyway.
    """
    prefix = f"query_{_digest(collection)}_"
    wanted: dict[str, str] = {}
    measured: dict[str, str] = {}
    for paths in indexes_to_build(collection, indexes):
        members = [", ".join(f"({part})" for part in _indexed_parts(path)) for path in paths]
        on = f"ON collab.entities (project, {', '.join(members)}, id)"
        on += f" WHERE collection = {_literal(collection)} AND NOT deleted"
        wanted[prefix + _digest(on)] = on
        measured |= {prefix + _digest(member): member for member in members}
    indexed = await _replace_indexes(connection, prefix, wanted)
    if await _replace_statistics(connection, prefix, measured) or indexed:
        await connection.execute("ANALYZE collab.entities")


async def _replace_indexes(connection: asyncpg.Connection, prefix: str, wanted: dict[str, str]) -> bool:
    """Have exactly these indexes whose names begin with ``prefix``. Returns whether one is new."""
    found = await connection.fetch(
        "SELECT c.relname, i.indisvalid FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid"
        " WHERE i.indrelid = 'collab.entities'::regclass AND starts_with(c.relname, $1)",
        prefix,
    )
    known = {name for name, valid in found if valid}
    # an interrupted CREATE INDEX leaves an invalid index
    for name in {name for name, _ in found} - (known & wanted.keys()):
        await connection.execute(f"DROP INDEX CONCURRENTLY IF EXISTS collab.{name}")
    for name in wanted.keys() - known:
        await connection.execute(f"CREATE INDEX CONCURRENTLY {name} {wanted[name]}")
    return bool(wanted.keys() - known)


async def _replace_statistics(connection: asyncpg.Connection, prefix: str, measured: dict[str, str]) -> bool:
    """Have PostgreSQL measure which values are common in these members. Returns whether one is new.

    It measures the expressions of an index too, but plans without these measurements if the index is partial: it would
    expect one row, whatever a query asks for.
    """
    found = await connection.fetch(
        "SELECT stxname FROM pg_statistic_ext"
        " WHERE stxrelid = 'collab.entities'::regclass AND starts_with(stxname, $1)",
        prefix,
    )
    known = {name for (name,) in found}
    for name in known - measured.keys():
        await connection.execute(f"DROP STATISTICS IF EXISTS collab.{name}")
    for name in measured.keys() - known:
        await connection.execute(
            f"CREATE STATISTICS collab.{name} (mcv) ON collection, {measured[name]} FROM collab.entities"
        )
    return bool(measured.keys() - known)


class Values:
    """Collects parameters in the order of their use."""

    def __init__(self) -> None:
        self.given: list[Any] = []

    def add(self, value: Any, kind: str) -> str:
        """A parameter of an SQL type."""
        self.given.append(value)
        return f"${len(self.given)}::{kind}"

    def text(self, value: str) -> str:
        """A string."""
        return self.add(plain(value), "text")

    def number(self, value: int | float) -> str:
        """A number, passed as a decimal."""
        return f"{self.add(repr(whole(value)), 'text')}::numeric"


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def _literal(text: str) -> str:
    if "\0" in text:
        raise InvalidRequest("a name cannot hold U+0000")
    if "\\" in text:
        return " E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"
    return "'" + text.replace("'", "''") + "'"


# the expressions of a member


def _member(path: Path, source: str = "keys") -> str:
    return source + "".join(f"->{_literal(name)}" for name in path)


def kind_sql(path: Path) -> str:
    """The kind of a member other than ``id``, as in :mod:`collab.query.match`."""
    json = _member(path)
    return (
        f"CASE jsonb_typeof({json}) WHEN 'string' THEN {TEXT} WHEN 'number' THEN {NUMBER}"
        f" WHEN 'array' THEN {COMPOSITE} WHEN 'object' THEN {COMPOSITE}"
        f" WHEN 'boolean' THEN CASE WHEN ({json})::boolean THEN {TRUE} ELSE {FALSE} END ELSE {NULL} END"
    )


def number_sql(path: Path) -> str:
    """A member's number, 0 if it is none."""
    json = _member(path)
    return f"CASE WHEN jsonb_typeof({json}) = 'number' THEN ({json})::numeric ELSE 0 END"


def text_sql(path: Path, source: str = "keys") -> str:
    """A member's string, empty if it is none."""
    json = _member(path, source)
    return f"CASE WHEN jsonb_typeof({json}) = 'string' THEN {json} #>> '{{}}' ELSE '' END COLLATE \"C\""


def _beginning(path: Path) -> str:
    return f'left({text_sql(path)}, {_INDEXED}) COLLATE "C"'


def _indexed_parts(path: Path) -> list[str]:
    """The columns of an index that are for one member."""
    return ["id"] if path == ID else [kind_sql(path), number_sql(path), _beginning(path)]


def _order_of(one: Order) -> list[str]:
    parts = _indexed_parts(one.path) if one.path == ID else [*_indexed_parts(one.path), text_sql(one.path)]
    return [f"{part} DESC" for part in parts] if one.descending else parts


# conditions


def selection(project: str, collection: str, query: Query, values: Values) -> str:
    """The condition of a query's rows, whatever its limit."""
    parts = [f"project = {values.text(project)}", f"collection = {_literal(collection)}", "NOT deleted"]
    if query.search is not None:
        parts += found_sql(project, collection, query.search, values, is_few=ID in equalities(query.where))
    if query.after is not None:
        parts += _behind(query.after, query.order_by, values)
    return " AND ".join((*parts, _condition(query.where, values)))


def _behind(after: tuple[str, Sequence[SortKey]], order_by: Sequence[Order], values: Values) -> list[str]:
    """Conditions for the rows after a position in an order; an index is searched for the first one.

    Rows are compared as a whole as far as that is their order: up to a member in the other direction, or a long text.
    ``IS TRUE`` hides the rest from the planner, which would search an index for each part of an ``OR``, and sort. From
    the first column alone, which is equal in most rows, it estimates that ``>`` selects none of them, and ``>=`` all.
    """
    name, places = after
    last = Order(ID)
    falling = bool(order_by) and order_by[0].descending
    beyond = "<" if falling else ">"
    members: list[str] = []
    ends: list[str] = []
    for order, place in (*zip(order_by, places, strict=True), (last, name)):
        if order.descending != falling or (order.path == ID and not isinstance(place, str)):
            break
        members += _indexed_parts(order.path)
        ends += _ends(order.path, place, values)
        if order.path == ID:
            break
        if isinstance(place, str) and len(place) >= _INDEXED:
            break
    row, end = f"({', '.join(members)})", f"({', '.join(ends)})"
    first = [f"{row} {beyond}= {end}"] if members else []
    if order is last:
        return [*first, f"({row} = {end} AND id <= {values.text(name)}) IS NOT TRUE"]
    return [*first, f"({_condition(behind(after, order_by), values)}) IS TRUE"]


def _ends(path: Path, place: SortKey, values: Values) -> list[str]:
    """Values to compare :func:`_indexed_parts` with."""
    text = values.text(place if path == ID else place[:_INDEXED]) if isinstance(place, str) else "''"
    if path == ID:
        return [text]
    number = values.number(place) if isinstance(place, int | float) and not isinstance(place, bool) else "0"
    return [str(kind_of(place)), number, text]


def _condition(condition: Condition, values: Values) -> str:
    match condition:
        case And(parts):
            return _joined([_condition(part, values) for part in parts], "AND", "true")
        case Or(parts):
            return _joined([_condition(part, values) for part in parts], "OR", "false")
        case Not(part):
            return f"({_condition(part, values)}) IS NOT TRUE"
        case Compare(path, operator, value):
            if isinstance(value, tuple):
                return _one_of(path, value, values)
            match operator:
                case "eq":
                    return _equal(path, value, values)
                case "contains" | "startsWith" | "endsWith":
                    return _text_test(path, operator, value, values)
                case _:
                    assert isinstance(value, int | float | str)
                    return _range(path, operator, value, values)


def _joined(parts: Sequence[str], word: str, none: str) -> str:
    return f"({f' {word} '.join(parts)})" if parts else none


def _equal(path: Path, value: SortKey, values: Values) -> str:
    kind = kind_of(value)
    if path == ID:
        return f"id = {values.text(value)}" if isinstance(value, str) and "\0" not in value else "false"
    if isinstance(value, str):
        begins = f"{kind_sql(path)} = {TEXT} AND {number_sql(path)} = 0 AND {_beginning(path)} = "
        begins += values.text(value[:_INDEXED])
        return f"({begins} AND {text_sql(path)} = {values.text(value)})" if len(value) >= _INDEXED else f"({begins})"
    # what follows from the kind is said too: the next member of an index is sorted only below equal numbers and texts
    number = values.number(value) if kind == NUMBER and isinstance(value, int | float) else "0"
    return f"({kind_sql(path)} = {kind} AND {number_sql(path)} = {number} AND {_beginning(path)} = '')"


def _one_of(path: Path, listed: Sequence[Scalar], values: Values) -> str:
    """One parameter for all strings and one for all numbers, however many."""
    texts = [value for value in listed if isinstance(value, str)]
    if path == ID:
        return f"id = ANY ({values.add([text for text in texts if chr(0) not in text], 'text[]')})"
    parts = [_equal(path, text, values) for text in texts if len(text) >= _INDEXED]
    short = [plain(text) for text in texts if len(text) < _INDEXED]
    numbers = [value for value in listed if isinstance(value, int | float) and not isinstance(value, bool)]
    kinds = sorted({kind_of(value) for value in listed if kind_of(value) < NUMBER})
    if short:
        beginning = f"{_beginning(path)} = ANY ({values.add(short, 'text[]')})"
        parts.append(f"({kind_sql(path)} = {TEXT} AND {number_sql(path)} = 0 AND {beginning})")
    if numbers:
        decimals = values.add([repr(whole(number)) for number in numbers], "text[]")
        number = f"{number_sql(path)} = ANY ({decimals}::numeric[])"
        parts.append(f"({kind_sql(path)} = {NUMBER} AND {number} AND {_beginning(path)} = '')")
    if kinds:
        kind = f"{kind_sql(path)} IN ({', '.join(map(str, kinds))})"
        parts.append(f"({kind} AND {number_sql(path)} = 0 AND {_beginning(path)} = '')")
    return _joined(parts, "OR", "false")


def _range(path: Path, operator: str, value: int | float | str, values: Values) -> str:
    sign = _OPERATORS[operator]
    if path == ID:
        if not isinstance(value, str):
            return "false"
        begin, end, _ = value.partition("\0")
        # no id holds U+0000: those that come behind such a text are those behind its beginning
        sign = sign if not end else "<=" if operator in ("lt", "lte") else ">"
        return f"id {sign} {values.text(begin)}"
    if isinstance(value, str):
        within = f"{text_sql(path)} {sign} {values.text(value)}"
        wide = ">=" if operator in ("gt", "gte") else "<="
        begin = f"{_beginning(path)} {wide} {values.text(value[:_INDEXED])}"
        return f"({kind_sql(path)} = {TEXT} AND {number_sql(path)} = 0 AND {begin} AND {within})"
    return f"({kind_sql(path)} = {NUMBER} AND {number_sql(path)} {sign} {values.number(value)})"


def _text_test(path: Path, operator: str, value: Scalar, values: Values) -> str:
    kind, written = (str(TEXT), "id") if path == ID else (kind_sql(path), text_sql(path, "coalesce(texts, keys)"))
    cases = ""
    if isinstance(value, str):
        cases += f" WHEN {kind} = {TEXT} THEN {_within(written, operator, as_written(value), values)}"
    if operator == "contains" and path != ID:
        json = _member(path)
        held = _element(form(value), values)
        cases += (
            f" WHEN jsonb_typeof({json}) = 'array'"
            f" THEN EXISTS (SELECT 1 FROM jsonb_array_elements({json}) AS t(x) WHERE {held})"
        )
    return f"CASE{cases} ELSE false END" if cases else "false"


def _within(written: str, operator: str, part: str, values: Values) -> str:
    if not part:
        return "true"
    given = values.text(part)
    if operator == "startsWith":
        return f"starts_with({written}, {given})"
    return f"strpos({written}, {given}) > 0" if operator == "contains" else f"right({written}, {len(part)}) = {given}"


def _element(value: Scalar, values: Values) -> str:
    if isinstance(value, str):
        return f"CASE WHEN jsonb_typeof(x) = 'string' THEN x #>> '{{}}' = {values.text(value)} ELSE false END"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"CASE WHEN jsonb_typeof(x) = 'number' THEN x::numeric = {values.number(value)} ELSE false END"
    return f"x = '{ {None: 'null', False: 'false', True: 'true'}[value] }'::jsonb"
