from __future__ import annotations

from typing import Any

import pycrdt
import pytest

from collab.client.core.awareness import AwarenessChange, DocumentAwareness
from collab.errors import InvalidRequest


def awareness() -> DocumentAwareness:
    return DocumentAwareness(pycrdt.Doc())


def test_an_observer_that_fails_keeps_nothing_from_others(caplog: pytest.LogCaptureFixture) -> None:
    made, other = awareness(), awareness()
    told: list[str] = []

    def fail(topic: str, change: AwarenessChange) -> None:
        change[0]["added"].clear()
        raise ZeroDivisionError

    other.set_local_state({"n": 1})
    made.observe(fail)
    made.observe(lambda topic, change: told.append(f"{topic} {change[0]['added']}"))
    made.apply_awareness_update(other.encode_awareness_update([other.client_id]), "server")
    assert told == [f"change [{other.client_id}]", f"update [{other.client_id}]"]
    made.remove_awareness_states([other.client_id], "lost")
    assert told[2:] == ["change []", "update []"]
    assert other.client_id not in made.states
    assert "an observer of the awareness failed" in caplog.text


def test_observers_may_come_and_go_while_they_are_told() -> None:
    made = awareness()
    told: list[str] = []

    def once(topic: str, change: AwarenessChange) -> None:
        told.append("once")
        made.unobserve(first)
        made.unobserve(second)
        made.observe(lambda topic, change: told.append(f"new {topic}"))

    first = made.observe(once)
    second = made.observe(lambda topic, change: told.append("removed"))
    made.set_local_state({"n": 1})
    assert told == ["once", "new update"]


def test_what_an_observer_changes_is_told_to_each_in_the_same_order() -> None:
    made = awareness()
    told: list[list[Any]] = [[], []]

    def change(topic: str, change: AwarenessChange) -> None:
        told[0].append((topic, change))
        if len(told[0]) == 1:
            made.set_local_state(None)

    made.observe(change)
    made.observe(lambda topic, change: told[1].append((topic, change)))
    made.set_local_state({"n": 1})
    assert told[0] == told[1]
    assert len(told[0]) == 4


def test_an_observer_that_always_changes_the_state_comes_to_an_end(caplog: pytest.LogCaptureFixture) -> None:
    made = awareness()
    told: list[str] = []
    made.observe(lambda topic, change: made.set_local_state_field("n", len(told)))
    made.observe(lambda topic, change: told.append(topic))
    made.set_local_state({"n": 1})
    assert len(told) > 100
    assert "without end" in caplog.text
    made.set_local_state(None)
    assert made.get_local_state() is None


def test_states_are_copies_and_what_is_not_json_is_refused() -> None:
    made = awareness()
    state: Any = {"cursor": {"at": 1}}
    made.set_local_state(state)
    local: Any = made.get_local_state()
    for given in (state, local, made.states[made.client_id]):
        given["cursor"]["at"] = object()
    assert made.get_local_state() == {"cursor": {"at": 1}}
    for wrong in ({"cursor": object()}, [1], {"n": float("nan")}):
        with pytest.raises(InvalidRequest):
            made.set_local_state(wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest):
        made.set_local_state_field("cursor", object())
    assert made.states == {made.client_id: {"cursor": {"at": 1}}}
