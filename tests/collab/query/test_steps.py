"""Steps are made in order, and only where they fit."""

from typing import Any

import pytest

from collab.errors import InvalidRequest
from collab.query.steps import apply_steps
from collab.wire.realtime.values import Step

ROWS: list[dict[str, Any]] = [{"id": "a", "n": 1}, {"id": "b", "n": 2, "tag": "x"}, {"id": "c"}]


def test_each_kind_of_step_does_what_it_says() -> None:
    steps = [
        Step(op="leave", id="a"),
        Step(op="enter", id="d", index=0, data={"id": "d", "n": 0}),
        Step(op="move", id="d", index=2),
        Step(op="change", id="b", set={"n": 3, "m": None}, unset=("tag",)),
    ]
    assert apply_steps(ROWS, steps) == [{"id": "b", "n": 3, "m": None}, {"id": "c"}, {"id": "d", "n": 0}]


def test_what_was_given_stays_as_it_is_and_unchanged_rows_are_the_same_objects() -> None:
    before = [dict(row) for row in ROWS]
    after = apply_steps(ROWS, [Step(op="change", id="b", set={"n": 3}), Step(op="move", id="c", index=0)])
    assert before == ROWS
    assert after[0] is ROWS[2]
    assert after[1] is ROWS[0]


@pytest.mark.parametrize(
    "step",
    [
        Step(op="leave", id="x"),
        Step(op="move", id="x", index=0),
        Step(op="move", id="a", index=3),
        Step(op="move", id="a", index=-1),
        Step(op="move", id="a"),
        Step(op="change", id="x", set={"n": 1}),
        Step(op="change", id="a", set={"id": "x"}),
        Step(op="change", id="a", unset=("id",)),
        Step(op="enter", id="x", index=0),
        Step(op="enter", id="x", data={"id": "x"}),
        Step(op="enter", id="x", index=4, data={"id": "x"}),
        Step(op="enter", id="x", index=0, data={"id": "y"}),
        Step(op="enter", id="a", index=0, data={"id": "a"}),
    ],
    ids=str,
)
def test_a_step_that_does_not_fit_the_rows_is_refused(step: Step) -> None:
    with pytest.raises(InvalidRequest, match="step"):
        apply_steps(ROWS, [step])
