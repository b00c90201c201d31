"""Differences between two lists of rows: right, and as few as there can be."""

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.json_values import same
from collab.query.steps import apply_steps
from collab.realtime.matching.row_steps import WindowRow, change, difference

DATA = st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from([0, 1, True, None, "x", [1], {"c": 1}]))
LISTS = st.permutations("abcdefgh").flatmap(
    lambda names: st.integers(0, 8).flatmap(
        lambda size: st.tuples(*(st.builds(_row, st.just(name), DATA, st.integers(1, 2)) for name in names[:size]))
    )
)


def _row(name: str, data: dict[str, Any], version: int) -> WindowRow:
    return WindowRow(None, {"id": name, **data}, version)


def _rising(numbers: list[int]) -> int:
    """The length of the longest rising part, by trying all."""
    for size in range(len(numbers), 0, -1):
        if any(list(part) == sorted(part) for part in combinations(numbers, size)):
            return size
    return 0


@given(LISTS, LISTS)
def test_l3_a_difference_makes_one_list_into_the_other_with_the_fewest_steps(
    before: tuple[WindowRow, ...], after: tuple[WindowRow, ...]
) -> None:
    steps = difference(before, after)
    made = apply_steps([row.data for row in before], steps)
    assert same(made, [row.data for row in after])

    old, new = {row.data["id"]: row for row in before}, {row.data["id"]: row for row in after}
    kept = [list(old).index(name) for name in new if name in old]
    counts = {op: sum(step.op == op for step in steps) for op in ("leave", "enter", "move", "change")}
    assert counts == {
        "leave": len(old.keys() - new.keys()),
        "enter": len(new.keys() - old.keys()),
        "move": len(kept) - _rising(kept),
        "change": sum(
            not same(old[name].data, new[name].data) or old[name].version != new[name].version
            for name in old.keys() & new.keys()
        ),
    }


def test_l3_a_change_carries_only_the_members_that_differ() -> None:
    step = change(
        _row("a", {"same": [1, {"x": None}], "gone": 1, "one": 1, "in": {"x": 1}}, 1),
        _row("a", {"same": [1, {"x": None}], "one": True, "in": {"x": 2}, "new": None}, 2),
    )
    assert step is not None
    assert (step.set, step.unset, step.version) == ({"one": True, "in": {"x": 2}, "new": None}, ("gone",), 2)
    assert same(step.set, {"one": True, "in": {"x": 2}, "new": None})


def test_a_row_of_which_nothing_differs_has_no_change() -> None:
    assert change(_row("a", {"x": [1]}, 1), _row("a", {"x": [1]}, 1)) is None


@pytest.mark.parametrize(
    ("left", "right"),
    [(1, True), (0, False), (1, 1.0), (None, False), ([1], [True]), ({"a": 0}, {"a": False}), ([], {}), ([1], [1, 2])],
)
def test_values_of_different_types_are_different(left: Any, right: Any) -> None:
    assert not same(left, right)
    assert same(left, left)
    assert same([{"a": right}], [{"a": right}])
