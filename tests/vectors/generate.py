"""Golden vectors: cases on which the Python and the JavaScript side must agree.

``python -m tests.vectors.generate`` writes them from the Python code. The tests of both sides compare their code with
the files.
"""

from __future__ import annotations

import inspect
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from collab import errors
from collab.client.core.backoff import delay
from collab.client.core.options import WebSocketOptions
from collab.client.core.overlay import Lens, Op
from collab.errors import CollabError, InvalidRequest
from collab.query.match import select
from collab.query.parse import parse_query
from collab.query.steps import apply_steps
from collab.wire.realtime import encoding
from collab.wire.realtime import values as wire
from collab.wire.realtime.values import Step
from tests.vectors.messages import CLIENT, SERVER

FOLDER = Path(__file__).parent


def messages() -> Iterator[dict[str, Any]]:
    """Each message in both forms."""
    for side, group in (("client", CLIENT), ("server", SERVER)):
        for message in group:
            text, packed = encoding.encode(message, "json"), encoding.encode(message, "msgpack")
            assert isinstance(text, str)
            assert isinstance(packed, bytes)
            yield {"from": side, "json": text, "msgpack": packed.hex()}


STEPS: list[list[dict[str, Any]]] = [
    [],
    [{"op": "enter", "id": "d", "index": 0, "data": {"id": "d", "n": 4}, "version": 1}],
    [{"op": "enter", "id": "d", "index": 3, "data": {"id": "d"}, "version": 1}],
    [{"op": "leave", "id": "b"}],
    [{"op": "move", "id": "a", "index": 2}],
    [{"op": "move", "id": "c", "index": 0}],
    [{"op": "change", "id": "b", "set": {"n": 20, "x": None}, "unset": ["t"], "version": 9}],
    [{"op": "change", "id": "b", "version": 9}],
    [
        {"op": "leave", "id": "a"},
        {"op": "change", "id": "c", "set": {"n": 0}, "version": 2},
        {"op": "move", "id": "c", "index": 0},
        {"op": "enter", "id": "e", "index": 1, "data": {"id": "e", "n": 5}, "version": 1},
    ],
    [{"op": "leave", "id": "a"}, {"op": "enter", "id": "a", "index": 2, "data": {"id": "a"}, "version": 3}],
    # steps that do not belong to these rows
    [{"op": "enter", "id": "a", "index": 0, "data": {"id": "a"}, "version": 1}],
    [{"op": "enter", "id": "d", "index": 4, "data": {"id": "d"}, "version": 1}],
    [{"op": "enter", "id": "d", "data": {"id": "d"}, "version": 1}],
    [{"op": "enter", "id": "d", "index": 0, "data": {"id": "x"}, "version": 1}],
    [{"op": "leave", "id": "d"}],
    [{"op": "move", "id": "d", "index": 0}],
    [{"op": "move", "id": "a", "index": 3}],
    [{"op": "change", "id": "d", "set": {"n": 1}}],
]
BEFORE = [{"id": "a", "n": 1}, {"id": "b", "n": 2, "t": "x"}, {"id": "c", "n": 3}]


def steps() -> Iterator[dict[str, Any]]:
    """Steps, and the rows after them; ``null`` if they do not fit."""
    for case in STEPS:
        try:
            after: Any = apply_steps(BEFORE, msgspec.convert(case, list[Step]))
        except InvalidRequest:
            after = None
        yield {"before": BEFORE, "steps": case, "after": after}


MOMENTS = [
    "2024-01-01",
    "2024-01-01T00:00:00Z",
    "2024-01-01 00:00:00Z",
    "2024-01-01t01:00:00.000000+01:00",
    "2024-01-01T00:00:00.0001Z",
    "2024-01-01T00:00:00.0000001Z",
    "2023-12-31T19:00:00-05:00",
    "2023-12-31T23:59:59.999Z",
    "2024-02-29",
    "2023-02-29",
    "2024-13-01",
    "2024-01-01T25:00:00Z",
    "2024-01-01T00:00:60Z",
    "2024-01-01T00:00:00",
    "0999-12-31T23:00:00-01:00",
    "0999-12-31T23:00:00Z",
    "9999-12-31T23:00:00-01:00",
    "2024-01-01T00:00:00+24:00",
]
TEXTS = ["", "a", "A", "ab", "ba", "a.b", "1", "true", "é", "e\u0301", "\uffff", "😀", "\ue000", "\0", "\1", "a\0b"]
NUMBERS: list[Any] = [0, -0.0, 1, -1, 1.5, 0.1 + 0.2, 2**53, -(2**53), 1e300, -1e300, 5e-324, 10]
SCALARS: list[Any] = [None, True, False, *NUMBERS, *TEXTS, *MOMENTS]
NAMES = ["a", "b", "a.b", "in", "AND", "", "x y", "back\\slash", "😀"]


def _spelled(path: list[str]) -> str:
    text = ".".join(name.replace("\\", "\\\\").replace(".", "\\.") for name in path)
    return "\\" + text if text in ("AND", "OR", "NOT", "in", "not") else text


class Draw:
    """A deterministic random generator."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def value(self, depth: int = 2) -> Any:
        pick = self.chance.random()
        if depth and pick < 0.08:
            return [self.value(depth - 1) for _ in range(self.chance.randrange(3))]
        if depth and pick < 0.25:
            return {name: self.value(depth - 1) for name in self.chance.sample(NAMES, 2)}
        return self.chance.choice(SCALARS)

    def rows(self) -> list[dict[str, Any]]:
        ids = ["1", "10", "2", "B", "a", "2024-01-01", "2024-01-01T00:00:00Z", "😀", "\uffff"]
        return [
            {"id": name, **{field: self.value() for field in self.chance.sample(NAMES, 4)}}
            for name in self.chance.sample(ids, len(ids))
        ]

    def path(self) -> str:
        pick = self.chance.random()
        if pick < 0.1:
            return "id"
        return _spelled(self.chance.choices(NAMES, k=1 if pick < 0.7 else 2))

    def test(self) -> Any:
        chance = self.chance
        end = chance.choice([*NUMBERS, *TEXTS, *MOMENTS])
        return chance.choice(
            [
                chance.choice(SCALARS),
                {chance.choice(["lt", "lte", "gt", "gte"]): end},
                {"gte": end, "lt": chance.choice([*NUMBERS, *TEXTS, *MOMENTS])},
                {chance.choice(["in", "notIn"]): chance.sample(SCALARS, 5)},
                {"not": chance.choice([None, end, {"gt": end}])},
                {"contains": chance.choice(SCALARS)},
                {chance.choice(["startsWith", "endsWith"]): chance.choice([*TEXTS, "20", "Z"])},
                {"isNull": chance.choice([True, False])},
                {chance.choice(["a", "b"]): chance.choice(SCALARS)},
            ]
        )

    def where(self, depth: int = 2) -> dict[str, Any]:
        chance = self.chance
        where = {self.path(): self.test() for _ in range(1 if depth else chance.randint(1, 2))}
        if depth and chance.random() < 0.6:
            parts = [self.where(depth - 1) for _ in range(chance.randrange(3))]
            logic = chance.choice(["AND", "OR", "NOT"])
            where = {**(where if chance.random() < 0.3 else {}), logic: parts}
        return where

    def order_by(self) -> Any:
        return self.chance.choice(
            [
                {self.chance.choice(["a", "b", "id"]): self.chance.choice(["asc", "desc"])},
                [{"a": "desc"}, {"b": "asc"}],
                {"b": "desc", "a": {"b": "asc"}},
                [{"b": self.chance.choice(["asc", "desc"])}, {"x y": "desc"}],
            ]
        )


QUERIES: list[dict[str, Any]] = [
    {},
    {"where": {}},
    {"where": {"OR": []}},
    {"where": {"AND": {"a": None}}},
    {"where": {"NOT": {"a": None}}},
    {"where": {"a": {"AND": [{"b": None}], "in\\": None}}},
    {"where": {"a": {"OR": [{"b": True}, {"b": {"isNull": True}}]}}},
    {"where": {"a": {"not": {"not": {"isNull": True}}}}},
    {"where": {"a\\.b": {"isNull": False}}},
    {"where": {"\\AND": {"isNull": False}}},
    {"where": {"\\and": {"isNull": True}}},
    {"where": {"\\$in": {"isNull": True}}},
    {"where": {"a.eq": {"isNull": True}, "eq": None}},
    {"where": {"a": {"\\startsWith": None, "b": {"isNull": True}}}},
    {"orderBy": {"a": "asc"}},
    {"orderBy": {"a": "desc"}},
    {"orderBy": {"id": "desc"}},
    {"orderBy": {"a": "asc"}, "limit": 3},
]


TABLES = [draw.rows() for draw in map(Draw, range(12))]


def tables() -> Iterator[list[dict[str, Any]]]:
    """Lists of rows for the queries."""
    yield from TABLES


def queries() -> Iterator[dict[str, Any]]:
    """A query, the number of a table, and the ids of the rows that the query gives there, in order."""
    draw = Draw(7)
    wanted = [query for query in QUERIES if _understood(query)]
    while len(wanted) < 400:
        query: dict[str, Any] = {}
        if draw.chance.random() < 0.85:
            query["where"] = draw.where()
        if draw.chance.random() < 0.4:
            query["orderBy"] = draw.order_by()
        if _understood(query):
            wanted.append(query)
    for at, query in enumerate(wanted):
        table = at % len(TABLES)
        found = select(TABLES[table], parse_query(query))
        yield {"table": table, "query": query, "ids": [row["id"] for row in found]}


def _understood(query: dict[str, Any]) -> bool:
    try:
        parse_query(query)
    except InvalidRequest:
        return False
    return True


TASKS = [
    {"id": "a", "status": "open", "rank": 1},
    {"id": "b", "status": "open", "rank": 2},
    {"id": "c", "status": "open", "rank": 3},
]
VERSIONS = {"a": 1, "b": 2, "c": 3}
NEWEST = {"createdAt": "2030-01-01T00:00:00.000000Z", "updatedAt": "2030-01-01T00:00:00.000000Z"}
OVERLAID: list[tuple[dict[str, Any], list[str] | None, list[dict[str, Any]]]] = [
    ({"where": {"status": "open"}}, None, []),
    ({"where": {"status": "open"}}, None, [{"kind": "update", "id": "b", "values": {"status": "done"}}]),
    ({"where": {"status": "open"}}, None, [{"kind": "update", "id": "b", "values": {}, "unset": ["rank"]}]),
    ({"orderBy": {"rank": "desc"}}, None, [{"kind": "update", "id": "a", "values": {"rank": 9}}]),
    (
        {"orderBy": {"rank": "desc"}, "limit": 3},
        None,
        [{"kind": "create", "id": "d", "values": {"id": "d", "rank": 5}}],
    ),
    ({"where": {"status": "open"}}, None, [{"kind": "create", "id": "d", "values": {"id": "d", "status": "done"}}]),
    ({"where": {"status": "open"}}, None, [{"kind": "update", "id": "d", "values": {"status": "open"}}]),
    ({}, None, [{"kind": "delete", "id": "b", "values": {}}]),
    ({}, None, [{"kind": "update", "id": "b", "values": {"rank": 7}, "version": 2}]),
    ({}, None, [{"kind": "update", "id": "b", "values": {"rank": 7}, "version": 3}]),
    ({}, ["rank"], [{"kind": "update", "id": "b", "values": {"rank": 7, "status": "done"}}]),
    ({"where": {"status": "open"}}, ["rank"], [{"kind": "update", "id": "b", "values": {"status": "done"}}]),
    ({}, ["rank"], [{"kind": "create", "id": "d", "values": {"id": "d", "rank": 5}}]),
    ({"offset": 1}, None, [{"kind": "create", "id": "d", "values": {"id": "d", "rank": 5}}]),
    ({"offset": 1}, None, [{"kind": "update", "id": "a", "values": {"rank": 5}}]),
    # what is searched is known to the server alone
    ({"search": "x"}, None, [{"kind": "create", "id": "d", "values": {"id": "d", "title": "x"}}]),
    ({"search": "x", "orderBy": {"rank": "asc"}}, None, [{"kind": "update", "id": "a", "values": {"rank": 50}}]),
    (
        {"where": {"status": "open"}, "orderBy": {"rank": "asc"}},
        None,
        [
            {"kind": "create", "id": "d", "values": {"id": "d", "status": "open", "rank": 0}},
            {"kind": "update", "id": "d", "values": {"rank": 2.5}},
            {"kind": "delete", "id": "a", "values": {}},
        ],
    ),
    ({}, None, [{"kind": "create", "id": "b", "values": {"id": "b", "rank": 7}}]),
    ({}, None, [{"kind": "create", "id": "b", "values": {"id": "b", "rank": 7}, "version": 4, "commit": 1}]),
    (
        {"orderBy": {"createdAt": "desc"}, "limit": 3},
        None,
        [
            {"kind": "create", "id": "d", "values": {"id": "d"}, "made": 1000},
            {"kind": "create", "id": "e", "values": {"id": "e", **NEWEST}, "version": 1, "commit": 1},
            {"kind": "update", "id": "a", "values": {"rank": 0}, "made": 2000},
        ],
    ),
]


def overlay() -> Iterator[dict[str, Any]]:
    """Rows of a live query with own writes applied."""
    for query, fields, ops in OVERLAID:
        known = [
            Op(
                op["kind"],
                "tasks",
                op["id"],
                op["values"],
                tuple(op.get("unset", ())),
                op.get("version"),
                op.get("made"),
                op.get("commit"),
            )
            for op in ops
        ]
        rows = [{name: row[name] for name in row if fields is None or name in ("id", *fields)} for row in TASKS]
        shown = list(Lens(query, fields).over(rows, VERSIONS, known))
        yield {"query": query, "fields": fields, "rows": rows, "versions": VERSIONS, "ops": ops, "shown": shown}


def error_codes() -> Iterator[dict[str, Any]]:
    """Each error with its code, its close code, and whether to retry."""
    for _, kind in sorted(inspect.getmembers(errors, inspect.isclass)):
        if issubclass(kind, CollabError) and kind is not CollabError:
            error = kind("why")
            yield {
                "error": msgspec.to_builtins(wire.Error.of(error)),
                "closeCode": kind.close_code,
                "retryable": error.retryable,
            }


def backoff() -> Iterator[dict[str, Any]]:
    """Delays in milliseconds; ``null``: no further attempt."""
    for strategy in ("linear", "exponential"):
        for attempt in (1, 2, 3, 5, 6, 10, 11, 5000):
            for chance in (0.0, 0.5, 1.0):
                options = {"strategy": strategy, "initialDelay": 1000, "maxDelay": 30_000, "backoffFactor": 2}
                most = 10 if attempt < 5000 else 10_000
                wait = delay(
                    WebSocketOptions(reconnect_strategy=strategy, max_attempts=most),
                    attempt,
                    chance,
                )
                yield {
                    "backoff": {**options, "maxAttempts": most},
                    "attempt": attempt,
                    "chance": chance,
                    "delay": None if wait is None else wait * 1000,
                }


FILES = {
    "messages.json": messages,
    "steps.json": steps,
    "tables.json": tables,
    "queries.json": queries,
    "overlay.json": overlay,
    "errors.json": error_codes,
    "backoff.json": backoff,
}


def text_of(name: str) -> str:
    """Content of a file: one case per line."""
    lines = ",\n".join(json.dumps(case, ensure_ascii=True, allow_nan=False) for case in FILES[name]())
    return f"[\n{lines}\n]\n"


if __name__ == "__main__":
    for name in FILES:
        (FOLDER / name).write_text(text_of(name))
