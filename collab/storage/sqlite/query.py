"""Queries in SQLite: the semantics of :mod:`collab.query.match` as SQL over the table ``entities``.

Each member becomes two expressions, its *key* and its *rank*, which are never NULL. Keys sort as SQLite sorts them:
null, missing, false and true are ``-Infinity`` (and the rank distinguishes them), then come numbers, then strings by
code point, then arrays and objects, which are all the empty blob. So one index on (key, rank) of one or more members
serves equality, ``in``, ranges and order. SQLite's specifics are in :class:`_Member` and :func:`_bound`; the rest would
suit other databases.

JSON texts come from msgspec, which escapes only quotation marks, backslashes and control characters in names.
"""

# ruff: noqa: S608  -- values are parameters; names of members and collections go through literal()

from __future__ import annotations

import sqlite3
from collections.abc import Sequence, Set
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

from collab.errors import InvalidRequest
from collab.query.include import KeysQuery
from collab.query.match import FALSE, ID, NULL, NUMBER, TEXT, TRUE, as_written, equalities, form, kind_of
from collab.query.query import And, Compare, Condition, IndexPaths, Not, Or, Order, Path, Query, Scalar, SortKey
from collab.storage.base import EntityRow
from collab.storage.codec import to_json
from collab.storage.rules import deciding_orders, indexes_to_build, is_simple
from collab.storage.sqlite.entities import COLUMNS, entity_row
from collab.storage.sqlite.search import check_indexed, found_sql

_LOW = "-9e999"  # below all JSON numbers
_KEYS = "coalesce(keys, data)"
_OPERATORS = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
_PREFIX = "query_"
_LISTED = 50


def find_rows(connection: sqlite3.Connection, project: str, collection: str, query: Query) -> list[EntityRow]:
    """The entities that a query selects, in its order, without deleted ones."""
    if query.search is not None:
        check_indexed(connection, collection, query.search.paths)
    where = selection(project, collection, query)
    order = [
        f"{part}{' DESC' if one.descending else ''}"
        for one in deciding_orders(query.order_by)
        for part in _parts_of(one.path)
    ]
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM entities WHERE {where.sql} ORDER BY {', '.join(order)} LIMIT ? OFFSET ?",
        (*where.values, -1 if query.limit is None else query.limit, query.offset),
    )
    return [entity_row(*row) for row in rows]


def find_each(
    connection: sqlite3.Connection, project: str, collection: str, asked: KeysQuery
) -> dict[str, list[EntityRow]]:
    """:func:`find_rows` for each key. One search of an index costs less than another statement that finds them all."""
    found: dict[str, list[EntityRow]] = {}
    most = asked.most
    for key in asked.keys:
        found[key] = find_rows(connection, project, collection, asked.of(key))[:most]
        most -= len(found[key])
    return found


def find_contents(
    connection: sqlite3.Connection, project: str, collection: str, ids: Sequence[str], paths: IndexPaths
) -> dict[str, tuple[EntityRow, str]]:
    """Those of these entities that exist, with what their documents say."""
    check_indexed(connection, collection, paths)
    contents = "(SELECT t.contents FROM search_texts AS t WHERE t.eid = entities.eid)"
    rows = connection.execute(
        f"SELECT coalesce({contents}, ''), {COLUMNS} FROM entities WHERE project = ? AND collection = ?"
        " AND id IN (SELECT value FROM json_each(?)) AND deleted = 0",
        (project, collection, to_json(list(ids))),
    )
    return {row.key.id: (row, text) for text, *columns in rows for row in [entity_row(*columns)]}


def count_rows(connection: sqlite3.Connection, project: str, collection: str, query: Query) -> int:
    """The number of rows that :func:`find_rows` would return without ``limit`` and ``offset``."""
    if query.search is not None:
        check_indexed(connection, collection, query.search.paths)
    where = selection(project, collection, query)
    sql = f"SELECT count(*) FROM entities WHERE {where.sql}"
    return int(connection.execute(sql, where.values).fetchone()[0])


def create_indexes(connection: sqlite3.Connection, collection: str, indexes: Sequence[IndexPaths]) -> None:
    """Have exactly these indexes of a collection. Those that are there already stay.

    Raises :class:`InvalidRequest` for a name that no index can hold (with a quotation mark, a backslash or a control
    character). ``id`` is always indexed.
    """
    wanted: dict[str, tuple[str, IndexPaths]] = {}
    for paths in indexes_to_build(collection, indexes):
        keys = ", ".join(part for path in paths for part in _parts_of(path))
        on = f"ON entities (project, {keys}, id) WHERE collection = {literal(collection)} AND deleted = 0"
        wanted[f"{_PREFIX}{sha256(on.encode()).hexdigest()[:16]}:{collection}"] = on, paths
    known = _index_names(connection, collection)
    for name in known - wanted.keys():
        connection.execute(f'DROP INDEX "{name}"')
    for name in wanted.keys() - known:
        on, paths = wanted[name]
        connection.execute(f'CREATE INDEX "{name}" {on}')
        _tell_planner(connection, name, len(paths))
    if wanted.keys() - known:
        connection.execute("ANALYZE sqlite_master")  # load the statistics


def _index_names(connection: sqlite3.Connection, collection: str) -> set[str]:
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'entities'")
    return {name for (name,) in names if name.startswith(_PREFIX) and name.partition(":")[2] == collection}


def _tell_planner(connection: sqlite3.Connection, name: str, members: int) -> None:
    """Set the selectivity of an index. By default SQLite assumes ten rows for two equal columns, and scans collections.

    Nothing is measured: there may be no rows yet, and plans should not depend on when an index was created. Each
    further member selects fewer rows, so that the index with most of a query's members is used.
    """
    rows = [str(max(2, 50 // 4**member)) for member in range(members) for _ in ("key", "rank")]
    stat = f"100000 50000 {' '.join(rows)} 1 noskipscan"
    connection.execute("ANALYZE sqlite_master")  # creates the table sqlite_stat1
    connection.execute(
        "DELETE FROM sqlite_stat1 WHERE tbl = 'entities' AND (idx = ? OR idx LIKE 'sqlite_autoindex%')", (name,)
    )
    connection.executemany(
        "INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('entities', ?, ?)",
        [(name, stat), ("sqlite_autoindex_entities_1", "1000000 500000 100000 1")],
    )


class _Sql(NamedTuple):
    """A piece of SQL and the values of its parameters. As a condition it may be NULL, which counts as false."""

    sql: str
    values: tuple[Any, ...] = ()


_TRUE, _FALSE = _Sql("1"), _Sql("0")


@dataclass(frozen=True, slots=True)
class _Member:
    """Expressions for the member at a path."""

    path: Path

    def type(self, source: str = _KEYS) -> str:
        """``'text'``, ``'true'``, …, or NULL if it is missing."""
        return self._read("type", "json_type", source)

    def value(self, source: str = _KEYS) -> str:
        """Its value, if that is a number or a string."""
        return self._read("value", "json_extract", source)

    def elements(self) -> str:
        """A table with the columns ``type`` and ``value`` for its elements, if it is an array."""
        tables, conditions, base, path = self._reach(_KEYS)
        if not tables:
            return f"json_each({base}, {path})"
        table = f"(SELECT {base} FROM {', '.join(tables)} WHERE {' AND '.join(conditions)})"
        return f"json_each({table}, {path})"

    def _read(self, column: str, function: str, source: str) -> str:
        tables, conditions, base, path = self._reach(source)
        if not tables:
            return f"{function}({base}, {path})"
        found = f"m{len(tables) - 1}.{column}" if path == "'$'" else f"{function}({base}, {path})"
        return f"(SELECT {found} FROM {', '.join(tables)} WHERE {' AND '.join(conditions)})"

    def _reach(self, source: str) -> tuple[list[str], list[str], str, str]:
        """A JSON expression and a path in it. Names that no path can express are joined as rows of tables."""
        tables: list[str] = []
        conditions: list[str] = []
        path = "$"
        for name in self.path:
            if is_simple(name):
                path += f'."{name}"'
                continue
            table = f"m{len(tables)}"
            tables.append(f"json_each({source}, {literal(path)}) AS {table}")
            conditions.append(f"{table}.key = {literal(name)}")
            # strings may look like JSON: only objects and arrays are read further
            source, path = f"CASE WHEN {table}.type IN ('object', 'array') THEN {table}.value END", "$"
        return tables, conditions, source, literal(path)

    def key(self, value: SortKey) -> str:
        """The expression to compare with ``value``."""
        if self.path == ID:
            return "id" if isinstance(value, str) else "+id"  # without "+" SQLite would convert a number to a string
        return (
            f"CASE coalesce({self.type()}, 'null')"
            f" WHEN 'null' THEN {_LOW} WHEN 'false' THEN {_LOW} WHEN 'true' THEN {_LOW}"
            f" WHEN 'array' THEN x'' WHEN 'object' THEN x'' ELSE {self.value()} END"
        )

    @property
    def rank(self) -> str:
        """Has a meaning only between equal keys."""
        if self.path == ID:
            return str(TEXT)
        kinds = f"WHEN 'null' THEN {NULL} WHEN 'false' THEN {FALSE} WHEN 'true' THEN {TRUE}"
        return f"CASE coalesce({self.type()}, 'null') {kinds} ELSE {NUMBER} END"

    def within_text(self, operator: str, text: str) -> _Sql:
        """Whether it is a string that contains (begins with, ends with) another. Comparing UTF-8 bytes is enough."""
        if self.path == ID:
            written = "id"
        else:
            # SQLite may truncate a string at U+0000; its key has all of it, and is not a timestamp
            keys, data = self.value(), self.value("data")
            written = f"CASE WHEN instr({keys}, char(1)) THEN {keys} ELSE {data} END"
        part = as_written(text).encode()
        if not part:
            return _TRUE
        written = f"CAST({written} AS BLOB)"
        if operator == "contains":
            return _Sql(f"instr({written}, ?) > 0", (part,))
        return _Sql(f"substr({written}, {f'1, {len(part)}' if operator == 'startsWith' else -len(part)}) = ?", (part,))


def literal(text: str) -> str:
    """A string in SQL. Raises :class:`InvalidRequest` for one with U+0000."""
    if "\0" in text:
        raise InvalidRequest("a name must not contain U+0000")
    return "'" + text.replace("'", "''") + "'"


def _bound(value: int | float | str) -> _Sql:
    """A value as a parameter. SQLite parses fractions from text, as it does in rows; otherwise it might round
    differently.
    """
    if isinstance(value, float):
        return _Sql("json_extract(?, '$')", (to_json(value),))
    return _Sql("?", (value,))


def _parts_of(path: Path) -> tuple[str, ...]:
    member = _Member(path)
    return ("id",) if path == ID else (member.key(""), member.rank)


def selection(project: str, collection: str, query: Query) -> _Sql:
    """The condition of a query's rows, whatever its limit."""
    # literals where an index must be recognised: parameters are unknown when SQLite plans
    is_few = ID in equalities(query.where)
    # with it, SQLite uses the index of words
    plus = "" if query.search is None or not query.search.words.wanted or is_few else "+"
    sql = f"{plus}project = ? AND {plus}collection = {literal(collection)} AND deleted = 0"
    known = _Sql(sql, (project,))
    parts = [known, _condition(query.where)]
    if query.search is not None:
        parts.extend(_Sql(*found) for found in found_sql(project, collection, query.search, is_few=is_few))
    if query.after is not None:
        parts.extend(_behind(query.after, query.order_by))
    return _joined(parts, "AND", _TRUE)


def _condition(condition: Condition, enclosed: Set[tuple[Path, int]] = frozenset()) -> _Sql:
    match condition:
        case And(parts):
            enclosed = _enclosed(parts)
            return _joined([_condition(part, enclosed) for part in parts], "AND", _TRUE)
        case Or(parts):
            return _joined([_condition(part) for part in parts], "OR", _FALSE)
        case Not(part):
            sql, values = _condition(part)
            return _Sql(f"({sql}) IS NOT TRUE", values)
        case Compare(path, operator, value):
            if isinstance(value, tuple):
                return _one_of(_Member(path), value)
            match operator:
                case "eq":
                    return _equal(_Member(path), value)
                case "contains" | "startsWith" | "endsWith":
                    return _text_test(_Member(path), operator, value)
                case _:
                    assert isinstance(value, int | float | str)
                    return _range(_Member(path), operator, value, enclosed=(path, kind_of(value)) in enclosed)


def _enclosed(parts: Sequence[Condition]) -> Set[tuple[Path, int]]:
    """Members with a lower and an upper limit of one kind, and that kind: no values of other kinds are in between."""
    limits = {
        (part.path, kind_of(part.value), part.operator in ("gt", "gte"))
        for part in parts
        if isinstance(part, Compare) and part.operator in _OPERATORS
    }
    return {(path, kind) for path, kind, lower in limits if lower and (path, kind, False) in limits}


def _joined(parts: Sequence[_Sql], word: str, none: _Sql) -> _Sql:
    """Join as a tree: SQLite limits the depth of expressions, and parses a list as deep as it is long."""
    if not parts:
        return none
    while len(parts) > 1:
        groups = [parts[start : start + _LISTED] for start in range(0, len(parts), _LISTED)]
        parts = [
            _Sql(f"({f' {word} '.join(part.sql for part in group)})", tuple(v for part in group for v in part.values))
            for group in groups
        ]
    return parts[0]


def _equal(member: _Member, value: SortKey) -> _Sql:
    kind, key = kind_of(value), member.key(value)
    if kind < NUMBER:
        return _Sql(f"({key} = {_LOW} AND {member.rank} = {kind})")
    sql, values = _key_of(value)
    # the rank follows from the key, but the next member of an index is sorted only below equal ranks
    rank = "" if member.path == ID else f" AND {member.rank} = {NUMBER}"
    return _Sql(f"({key} = {sql}{rank})", values)


def _one_of(member: _Member, values: Sequence[Scalar]) -> _Sql:
    others = [value for value in values if kind_of(value) >= NUMBER]
    kinds = sorted({kind_of(value) for value in values if kind_of(value) < NUMBER})
    if member.path == ID:
        others, kinds = [value for value in others if isinstance(value, str) and "\0" not in value], []
    if not others and not kinds:
        return _FALSE
    key, rank, ranks = member.key(""), member.rank, ", ".join(map(str, kinds))
    if not others:
        return _Sql(f"({key} = {_LOW} AND {rank} IN ({ranks}))")
    listed = "SELECT value FROM json_each(?)"  # one parameter, however many values
    if kinds:
        sql = f"({key} IN ({listed} UNION ALL SELECT {_LOW}) AND ({key} > {_LOW} OR {rank} IN ({ranks})))"
    else:
        sql = f"{key} IN ({listed})" if member.path == ID else f"({key} IN ({listed}) AND {rank} = {NUMBER})"
    return _Sql(sql, (to_json(others),))


def _range(member: _Member, operator: str, value: int | float | str, *, enclosed: bool) -> _Sql:
    sql, values = _bound(value)
    key = member.key(value)
    within = f"{key} {_OPERATORS[operator]} {sql}"
    if enclosed:  # a second limit on the same side might be the one that SQLite searches the index for
        return _Sql(within, values)
    if operator in ("gt", "gte"):
        end = "x''" if isinstance(value, str) else "''"
        return _Sql(f"({within} AND {key} < {end})", values)
    begin = ">= ''" if isinstance(value, str) else f"> {_LOW}"
    return _Sql(f"({within} AND {key} {begin})", values)


def _text_test(member: _Member, operator: str, value: Scalar) -> _Sql:
    type_, cases, values = member.type(), "", ()
    if member.path == ID:
        type_ = "'text'"
    if isinstance(value, str):
        within = member.within_text(operator, value)
        cases, values = f" WHEN 'text' THEN {within.sql}", within.values
    if operator == "contains":
        held = _element(form(value))
        cases += f" WHEN 'array' THEN EXISTS (SELECT 1 FROM {member.elements()} WHERE {held.sql})"
        values += held.values
    return _Sql(f"CASE {type_}{cases} ELSE 0 END", values)


def _element(value: Scalar) -> _Sql:
    kind = kind_of(value)
    if kind < NUMBER or value is None:
        return _Sql("type = '" + {NULL: "null", FALSE: "false", TRUE: "true"}[kind] + "'")
    sql, values = _bound(value)
    types = "type = 'text'" if kind == TEXT else "type IN ('integer', 'real')"
    return _Sql(f"{types} AND value = {sql}", values)


def _behind(after: tuple[str, Sequence[SortKey]], order_by: Sequence[Order]) -> list[_Sql]:
    """Conditions for the rows after a position in an order; the first may use an index."""
    name, places = after
    rest = _Sql("id > ?", (name,))
    for order, value in reversed(list(zip(order_by, places, strict=True))):
        beyond, same = _beyond(_Member(order.path), value, order.descending), _equal(_Member(order.path), value)
        rest = _joined([beyond, _joined([same, rest], "AND", _TRUE)], "OR", _FALSE)
    if not order_by:
        return [rest]
    sql, values = _key_of(places[0])
    bound = f"{_Member(order_by[0].path).key(places[0])} {'<=' if order_by[0].descending else '>='} {sql}"
    return [_Sql(bound, values), rest]


def _beyond(member: _Member, value: SortKey, descending: bool) -> _Sql:
    (sql, values), key, sign = _key_of(value), member.key(value), "<" if descending else ">"
    farther = _Sql(f"{key} {sign} {sql}", values)
    if kind_of(value) >= NUMBER:
        return farther
    return _joined([farther, _Sql(f"({key} = {_LOW} AND {member.rank} {sign} {kind_of(value)})")], "OR", _FALSE)


def _key_of(value: SortKey) -> _Sql:
    if value is None or isinstance(value, bool):
        return _Sql(_LOW)
    return _Sql("x''") if isinstance(value, tuple) else _bound(value)
