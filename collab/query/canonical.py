"""One text for all queries that ask the same in other words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from collab.query.query import And, Compare, Condition, Not, Or, Query


def canonical(query: Query) -> bytes:
    """Equal for queries that differ only in the order of parts and of values, in doubles, or in needless nesting.

    Queries with different results never have the same.
    """
    orders = [(order.path, order.descending) for order in query.order_by]
    where = msgspec.Raw(_encode(query.where))
    return msgspec.json.encode((where, orders, query.limit, query.offset, query.after))


def _encode(condition: Condition) -> bytes:
    condition = _unwrap(condition)
    match condition:
        case Compare(path, operator, tuple(values)):
            parts = {msgspec.json.encode(_number(value)) for value in values}
            if len(parts) == 1:
                return msgspec.json.encode(("eq", path, msgspec.Raw(*parts)))
            return msgspec.json.encode((operator, path, _sorted(parts)))
        case Compare(path, operator, value):
            return msgspec.json.encode((operator, path, _number(value)))
        case Not(part):
            return msgspec.json.encode(("not", msgspec.Raw(_encode(part))))
    parts = {_encode(part) for part in _flat(condition, type(condition))}
    if len(parts) == 1:
        return parts.pop()
    return msgspec.json.encode(("and" if isinstance(condition, And) else "or", _sorted(parts)))


def _flat(condition: Condition, kind: type[Condition]) -> Iterator[Condition]:
    """The parts of ``condition``, and the parts of those that are of the same kind."""
    condition = _unwrap(condition)
    if isinstance(condition, And | Or) and type(condition) is kind:
        for part in condition.parts:
            yield from _flat(part, kind)
    else:
        yield condition


def _unwrap(condition: Condition) -> Condition:
    """The same without two negations, and without a list of one."""
    while True:
        match condition:
            case Not(Not(part)) | And((part,)) | Or((part,)):
                condition = part
            case _:
                return condition


def _sorted(parts: set[bytes]) -> list[msgspec.Raw]:
    return [msgspec.Raw(part) for part in sorted(parts)]


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value
