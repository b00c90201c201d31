"""Rows of a query, and the fewest steps from one list of rows to another."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, NamedTuple

from collab.json_values import same
from collab.wire.realtime.values import Step


class WindowRow(NamedTuple):
    """One entity. ``data`` is shared and must not be modified; ``key`` is its sort key."""

    key: Any
    data: dict[str, Any]
    version: int


def change(before: WindowRow, after: WindowRow) -> Step | None:
    """Return what changed in a row, apart from its position; ``None`` if nothing did."""
    old, new = before.data, after.data
    changed = {name: value for name, value in new.items() if name not in old or not same(old[name], value)}
    unset = tuple(name for name in old if name not in new)
    if not changed and not unset and before.version == after.version:
        return None
    return Step(op="change", id=new["id"], set=changed or None, unset=unset or None, version=after.version)


def enter(row: WindowRow, index: int) -> Step:
    """A row that enters the list at ``index``."""
    return Step(op="enter", id=row.data["id"], index=index, data=row.data, version=row.version)


def leave(row: WindowRow, version: int | None = None) -> Step:
    """A row that leaves the list; ``version`` is the one that made it leave, if known."""
    return Step(op="leave", id=row.data["id"], version=version)


def difference(before: Sequence[WindowRow], after: Sequence[WindowRow]) -> list[Step]:
    """Return the fewest steps from ``before`` to ``after``: first leaves, then moves, enters, and changes."""
    old = {row.data["id"]: row for row in before}
    new = {row.data["id"]: row for row in after}
    steps = [leave(row) for name, row in old.items() if name not in new]
    steps += _moves([name for name in old if name in new], [name for name in new if name in old])
    steps += [enter(row, index) for index, row in enumerate(after) if row.data["id"] not in old]
    changes = (change(row, new[name]) for name, row in old.items() if name in new)
    return steps + [step for step in changes if step is not None]


def _moves(before: list[str], after: list[str]) -> list[Step]:
    """Reorder names with the fewest moves: the longest subsequence that is already in order stays."""
    if before == after:
        return []
    place = {name: index for index, name in enumerate(before)}
    stays = {after[index] for index in _longest_rising([place[name] for name in after])}
    steps = []
    for index, name in enumerate(after):
        if name in stays:
            continue
        before.remove(name)
        at = before.index(after[index - 1]) + 1 if index else 0
        before.insert(at, name)
        steps.append(Step(op="move", id=name, index=at))
    return steps


def _longest_rising(numbers: Sequence[int]) -> list[int]:
    """Indices of a longest increasing subsequence."""
    ends: list[int] = []  # smallest last number of an increasing subsequence of each length
    at: list[int] = []  # its index
    previous: list[int] = []
    for index, number in enumerate(numbers):
        length = bisect_left(ends, number)
        previous.append(at[length - 1] if length else -1)
        ends[length : length + 1] = [number]
        at[length : length + 1] = [index]
    found = []
    index = at[-1] if at else -1
    while index >= 0:
        found.append(index)
        index = previous[index]
    return found[::-1]
