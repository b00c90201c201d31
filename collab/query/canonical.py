"""One canonical form for all equivalent spellings of a query."""

from __future__ import annotations

from typing import Any

import msgspec

from collab.query.aggregate import Aggregation
from collab.query.query import And, Compare, Condition, Not, Or, Query, Search


def canonical(query: Query) -> bytes:
    """Equal for queries that differ only in the order of parts or values, in duplicates, or in redundant nesting.

    Queries with different results never have the same canonical form.
    """
    orders = [(order.path, order.descending) for order in query.order_by]
    where = msgspec.Raw(_encode(simplify(query.where)))
    return msgspec.json.encode((where, orders, query.limit, query.offset, query.after, _searched(query.search)))


def canonical_aggregation(aggregation: Aggregation) -> bytes:
    """:func:`canonical` of an aggregate; it never equals that of a query."""
    where = msgspec.Raw(_encode(simplify(aggregation.where)))
    of = aggregation
    return msgspec.json.encode(
        {"where": where, "by": of.group_by, "of": (of.sum, of.avg, of.min, of.max), "search": _searched(of.search)}
    )


def _searched(search: Search | None) -> tuple[Any, ...] | None:
    return None if search is None else (*search.words, search.paths)


def simplify(condition: Condition) -> Condition:
    """Sort and flatten parts and values; remove duplicates, double negation, and one-element lists."""
    match condition:
        case Compare(path, operator, tuple(values)):
            known = {msgspec.json.encode(_number(value)): value for value in values}
            if len(known) == 1:
                return Compare(path, "eq", *known.values())
            return Compare(path, operator, tuple(known[key] for key in sorted(known)))
        case Compare():
            return condition
        case Not(part):
            simple = simplify(part)
            return simple.part if isinstance(simple, Not) else Not(simple)
        case And(parts) | Or(parts):
            found: dict[bytes, Condition] = {}
            for part in map(simplify, parts):
                inner = part.parts if isinstance(part, And | Or) and type(part) is type(condition) else (part,)
                found.update((_encode(one), one) for one in inner)
            if len(found) == 1:
                return next(iter(found.values()))
            return type(condition)(tuple(found[key] for key in sorted(found)))


def _encode(condition: Condition) -> bytes:
    match condition:
        case Compare(path, operator, tuple(values)):
            return msgspec.json.encode((operator, path, list(map(_number, values))))
        case Compare(path, operator, value):
            return msgspec.json.encode((operator, path, _number(value)))
        case Not(part):
            return msgspec.json.encode(("not", msgspec.Raw(_encode(part))))
        case And(parts) | Or(parts):
            word = "and" if isinstance(condition, And) else "or"
            return msgspec.json.encode((word, [msgspec.Raw(_encode(part)) for part in parts]))


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value
