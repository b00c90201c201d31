"""Hypothesis strategies for aggregates, and a slow and obvious computation of their answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import isinf
from sys import float_info
from typing import Any

import msgspec
from hypothesis import strategies as st

from collab.query.aggregate import Aggregation
from collab.query.match import compile_where, lookup
from collab.query.query import Path, spelled
from tests.collab.query.rows import paths, wheres
from tests.collab.query.rows import spelled as in_query

_lists = st.lists(paths, max_size=2, unique=True).map(lambda found: [in_query(path) for path in found])
aggregations: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"where": wheres | st.just({})}, optional=dict.fromkeys(("groupBy", "sum", "avg", "min", "max"), _lists)
).map(lambda raw: {name: value for name, value in raw.items() if "__proto__" not in value})
"""What an application may ask for."""


def by_hand(rows: Iterable[Mapping[str, Any]], aggregation: Aggregation) -> list[dict[str, Any]]:
    """The answer, from fractions and sorted lists."""
    groups: dict[str, tuple[list[Any], list[Mapping[str, Any]]]] = {} if aggregation.group_by else {"[]": ([], [])}
    for row in filter(compile_where(aggregation.where), rows):
        key = [_shown(lookup(row, path)) for path in aggregation.group_by]
        groups.setdefault(msgspec.json.encode(key).decode(), (key, []))[1].append(row)
    answer = []
    for name, (key, mine) in sorted(groups.items(), key=lambda group: [_rank(value) for value in group[1][0]]):
        group = {spelled(path): value for path, value in zip(aggregation.group_by, key, strict=True)}
        said: dict[str, Any] = {"id": name, "group": group, "count": len(mine)}
        if aggregation.sum:
            said["sum"] = {spelled(path): _rounded(sum(_numbers(mine, path), Fraction())) for path in aggregation.sum}
        if aggregation.avg:
            said["avg"] = {spelled(path): _mean(_numbers(mine, path)) for path in aggregation.avg}
        if aggregation.min:
            said["min"] = {spelled(path): next(iter(_sorted(mine, path)), None) for path in aggregation.min}
        if aggregation.max:
            said["max"] = {spelled(path): next(reversed(_sorted(mine, path)), None) for path in aggregation.max}
        answer.append(said)
    return answer


def same(one: Any, other: Any) -> bool:
    """Whether two answers are equal, and so are the types of their numbers."""
    return repr(one) == repr(other)


def _shown(value: Any) -> Any:
    if isinstance(value, dict | list | tuple):
        return []
    return int(value) if isinstance(value, float) and value.is_integer() and -(2**63) <= value < 2**63 else value


def _rank(value: Any) -> tuple[int, Any]:
    if value is None or isinstance(value, bool):
        return (0, -1 if value is None else int(value))
    return (1, value) if isinstance(value, int | float) else (2, value) if isinstance(value, str) else (3, 0)


def _numbers(rows: Iterable[Mapping[str, Any]], path: Path) -> list[Fraction]:
    values = [_shown(lookup(row, path)) for row in rows]
    return [Fraction(repr(value)) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]


def _sorted(rows: Iterable[Mapping[str, Any]], path: Path) -> list[Any]:
    values = [_shown(lookup(row, path)) for row in rows]
    kept = [value for value in values if isinstance(value, int | float | str) and not isinstance(value, bool)]
    return sorted(kept, key=_rank)


def _rounded(number: Fraction) -> int | float:
    if number.denominator == 1 and -(2**63) <= number < 2**63:
        return int(number)
    try:
        rounded = number.numerator / number.denominator
    except OverflowError:
        rounded = float("inf") if number > 0 else float("-inf")
    return rounded if not isinf(rounded) else float_info.max if rounded > 0 else -float_info.max


def _mean(numbers: list[Fraction]) -> int | float | None:
    return _rounded(sum(numbers, Fraction()) / len(numbers)) if numbers else None
