from __future__ import annotations

from typing import Any

import pytest

from collab.client.core.overlay import Op
from collab.client.core.views import PeopleView, RowsView, read_event, view_of
from collab.errors import InvalidRequest
from collab.wire.realtime import messages as realtime
from collab.wire.realtime import values as wire
from collab.wire.realtime.messages import People, RowsAre, RowsChanged, Update
from collab.wire.realtime.values import Person, Step

AT = "2024-01-01T00:00:00.000Z"


def rows(*names: str) -> list[dict[str, Any]]:
    return [{"id": name} for name in names]


def view(*names: str) -> RowsView:
    made = RowsView({}, None)
    made.reset(RowsAre(sub=1, rows=rows(*names), versions=[1] * len(names)))
    return made


def test_rows_are_shown_once_they_are_known_and_whenever_they_differ() -> None:
    shown = RowsView({}, None)
    assert shown.shown([]) is None
    shown.reset(RowsAre(sub=1, rows=rows("a"), versions=[3]))
    first = shown.shown([])
    assert first == rows("a")
    assert first is not None
    assert first.versions == [3]
    assert shown.shown([]) is None


def test_no_rows_are_news_too() -> None:
    shown = RowsView({}, None)
    shown.reset(RowsAre(sub=1, rows=[], versions=[]))
    assert shown.shown([]) == []


def test_steps_lead_to_the_next_rows() -> None:
    shown = view("a", "b")
    before = shown.shown([])
    steps = [
        Step(op="enter", id="c", index=0, data={"id": "c"}, version=1),
        Step(op="leave", id="a"),
        Step(op="change", id="b", set={"n": 1}, version=2),
    ]
    assert shown.change(RowsChanged(sub=1, steps=steps)) == {"c": 1, "b": 2}
    after = shown.shown([])
    assert after == [{"id": "c"}, {"id": "b", "n": 1}]
    assert after is not None
    assert after.versions == [1, 2]
    assert before == rows("a", "b"), "what was given to the application is its own"


@pytest.mark.parametrize("step", [Step(op="leave", id="z"), Step(op="enter", id="z", index=9, data={"id": "z"})])
def test_steps_that_do_not_fit_are_told(step: Step) -> None:
    with pytest.raises(InvalidRequest):
        view("a").change(RowsChanged(sub=1, steps=[step]))
    with pytest.raises(InvalidRequest):
        RowsView({}, None).change(RowsChanged(sub=1, steps=[step]))


def test_own_writes_are_shown_over_the_rows_and_permissions_go_along() -> None:
    shown = RowsView({}, None)
    allowed = [{"write": True}, {"write": False}]
    shown.reset(RowsAre(sub=1, rows=rows("a", "b"), versions=[1, 1], permissions=allowed))
    op = Op.of(Update(id=1, collection="tasks", entity="b", changes={"n": 1}), AT)
    assert op is not None
    now = shown.shown([op])
    assert now == [{"id": "a"}, {"id": "b", "n": 1, "updatedAt": AT}]
    assert now is not None
    assert now.permissions == allowed
    assert shown.shown([]) == rows("a", "b")


def test_people_come_change_and_go() -> None:
    room = PeopleView()
    ada, bob = Person(key="a", user_id="ada"), Person(key="b", user_id="bob")
    crowd = room.change(People(subs=(1,), count=100, people=[ada, bob], complete=True))
    assert (list(crowd), crowd.total) == ([ada, bob], 100)
    writing = Person(key="b", user_id="bob", state={"cursor": 1})
    assert list(room.change(People(subs=(1,), count=1, people=[writing], left=("a",)))) == [writing]
    assert list(room.change(People(subs=(1,), count=1, people=[ada], complete=True))) == [ada]


def test_an_event_is_read_with_its_permissions() -> None:
    raw = {
        "position": 1,
        "type": "updated",
        "collection": "tasks",
        "id": "t",
        "version": 2,
        "data": {"id": "t"},
        "changes": {"status": {"from": "a", "to": "b"}},
        "userId": "ada",
        "at": AT,
    }
    event = read_event(realtime.Event(subs=(1,), cursor="c", event=raw, permissions={"write": True}))
    assert (event.type, event.user_id, event.permissions) == ("updated", "ada", {"write": True})
    assert event.changes["status"] == {"from": "a", "to": "b"}


def test_only_rows_and_people_have_something_to_keep() -> None:
    assert isinstance(view_of(wire.Rows(collection="tasks")), RowsView)
    assert isinstance(view_of(wire.Presence(room="documents/d")), PeopleView)
    assert view_of(wire.Entities(collection="tasks")) is None
