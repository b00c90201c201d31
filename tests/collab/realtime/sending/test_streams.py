from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from collab.event import EntityEvent
from collab.query.steps import apply_steps
from collab.realtime.sending.streams import AllRows, EntityStream, LatestStream, PeopleStream, QueueStream, RowsStream
from collab.wire.realtime.encoding import Frame
from collab.wire.realtime.messages import Event, People
from collab.wire.realtime.values import IncludedSteps, Person, Step


def event(position: int, entity: str) -> EntityEvent:
    return EntityEvent(
        position=position,
        type="updated",
        collection="tasks",
        id=entity,
        version=position,
        data={"id": entity},
        changes={},
        user_id=None,
        at="now",
    )


class Entities:
    def __init__(self, limit: int = 100) -> None:
        self.sent: list[Event] = []
        self.full = 0
        self.stream = EntityStream(1, 0, encode=self._encode, cursor=str, full=self._full, limit=limit)

    def _encode(self, message: Event) -> Frame:
        self.sent.append(message)
        return "frame"

    def _full(self) -> None:
        self.full += 1

    def take_all(self) -> list[tuple[str, int]]:
        while self.stream.take() is not None:
            pass
        return [(message.event.id, int(message.cursor)) for message in self.sent]


def test_events_of_one_entity_become_one_and_others_keep_their_turn() -> None:
    entities = Entities()
    for position, name in enumerate("abaca", 1):
        entities.stream.add(event(position, name), None)
    assert entities.take_all() == [("a", 1), ("b", 3), ("c", 5)]
    assert [message.event.conflated for message in entities.sent] == [3, 1, 1]


def test_whole_events_stay_what_they_are_and_come_before_those_that_are_gathered() -> None:
    entities = Entities()
    for position in (5, 6):
        entities.stream.add(event(position, "a"), None, whole=True)
    entities.stream.replay(2, [(event(3, "a"), None), (event(4, "b"), None)])
    assert entities.take_all() == [("a", 3), ("b", 4), ("a", 5), ("a", 6)]


def test_too_many_entities_are_let_go_and_it_is_said_once() -> None:
    entities = Entities(limit=10)
    for position in range(1, 12):
        entities.stream.add(event(position, f"e{position}"), None)
    assert entities.full == 1
    assert not entities.stream


@given(st.lists(st.sampled_from("abcd"), max_size=30), st.data())
def test_whoever_resumes_from_a_cursor_misses_nothing(writes: list[str], data: st.DataObject) -> None:
    entities = Entities()
    for position, name in enumerate(writes, 1):
        entities.stream.add(event(position, name), None)
        if data.draw(st.booleans()):
            entities.stream.take()
    taken = data.draw(st.integers(0, len(writes)))
    for _ in range(taken):
        entities.stream.take()
    if entities.sent:
        cursor = int(entities.sent[-1].cursor)
        heard = {message.event.id: message.event.position for message in entities.sent}
        for position, name in enumerate(writes[:cursor], 1):
            assert heard.get(name, 0) >= position
        assert [int(message.cursor) for message in entities.sent] == sorted(int(m.cursor) for m in entities.sent)


def test_a_queue_keeps_order_and_says_when_it_is_full() -> None:
    full: list[bool] = []
    queue: QueueStream[str] = QueueStream(lambda told: told, full=lambda: full.append(True), limit=3)
    for told in "abc":
        queue.add(told)
    assert [queue.take(), queue.take(), queue.take(), queue.take()] == ["a", "b", "c", None]
    for told in "abcd":
        queue.add(told)
    assert (bool(queue), full) == (False, [True])


def test_of_a_number_only_the_newest_is_told() -> None:
    latest: LatestStream[int] = LatestStream(str)
    latest.add(1)
    latest.add(2)
    assert (latest.take(), latest.take(), bool(latest)) == ("2", None, False)


names = st.sampled_from("abc")
crowds = st.builds(
    lambda count, people, left, complete: People(
        subs=(),
        count=count,
        people=[Person(key=key, state={"n": count}) for key in people],
        left=() if complete else tuple(left - people),
        complete=complete,
    ),
    st.integers(0, 9),
    st.frozensets(names),
    st.frozensets(names),
    st.booleans(),
)


def apply_people(known: dict[str, Person], people: People) -> dict[str, Person]:
    known = {} if people.complete else dict(known)
    for key in people.left:
        known.pop(key, None)
    return known | {person.key: person for person in people.people}


@given(st.lists(crowds, min_size=1, max_size=8), st.dictionaries(names, st.builds(Person, key=names), max_size=3))
def test_changes_of_a_crowd_add_up(told: list[People], known: dict[str, Person]) -> None:
    sent: list[People] = []

    def encode(people: People) -> Frame:
        sent.append(people)
        return "frame"

    stream = PeopleStream(encode)
    expected = known
    for people in told:
        stream.add(people)
        expected = apply_people(expected, people)
    assert stream.take() == "frame"
    assert not stream
    assert apply_people(known, sent[0]) == expected
    assert sent[0].count == told[-1].count


class Queried:
    """A stream of rows, and a client that does what it is told."""

    def __init__(self, limit: int = 1000) -> None:
        self.rows: list[dict[str, Any]] = []
        self.full = 0
        self.steps = 0
        self.stream = RowsStream(self._steps, self._reset, self._full, limit)

    def _steps(self, steps: Sequence[Step], included: Sequence[IncludedSteps]) -> Frame:
        assert not included
        self.steps += len(steps)
        self.rows = apply_steps(self.rows, steps)
        return "steps"

    def _reset(self, all_rows: AllRows) -> Frame:
        self.rows = all_rows.rows
        return "rows"

    def _full(self) -> None:
        self.full += 1


@given(st.data())
def test_steps_that_waited_lead_to_the_same_rows(data: st.DataObject) -> None:
    queried = Queried()
    rows: list[dict[str, Any]] = []
    for n in range(data.draw(st.integers(0, 25))):
        ids = [row["id"] for row in rows]
        op = data.draw(st.sampled_from(["enter", "change", "leave", "move", "take"]))
        name = data.draw(st.sampled_from("abcd"))
        if op == "take":
            queried.stream.take()
            continue
        if op == "enter" and name not in ids:
            step = Step(op="enter", id=name, index=data.draw(st.integers(0, len(rows))), data={"id": name, "n": n})
        elif op == "change" and name in ids:
            if data.draw(st.booleans()):
                step = Step(op="change", id=name, set={"n": n, data.draw(st.sampled_from("xy")): n}, version=n)
            else:
                step = Step(op="change", id=name, unset=(data.draw(st.sampled_from("xyn")),), version=n)
        elif op == "leave" and name in ids:
            step = Step(op="leave", id=name)
        elif op == "move" and name in ids:
            step = Step(op="move", id=name, index=data.draw(st.integers(0, len(rows) - 1)))
        else:
            continue
        rows = apply_steps(rows, [step])
        queried.stream.steps([step])
    while queried.stream.take() is not None:
        pass
    assert queried.rows == rows


def test_changes_of_one_row_are_one_step() -> None:
    queried = Queried()
    queried.stream.reset(AllRows([{"id": "a", "old": 1}], [1]))
    for n in range(100):
        queried.stream.steps([Step(op="change", id="a", set={"n": n}, version=n + 2)])
    queried.stream.steps([Step(op="change", id="a", unset=("old",), version=102)])
    assert [queried.stream.take(), queried.stream.take(), queried.stream.take()] == ["rows", "steps", None]
    assert queried.rows == [{"id": "a", "n": 99}]
    assert queried.steps == 1


def test_too_many_steps_are_forgotten_and_rows_asked_for_once_when_their_time_has_come() -> None:
    queried = Queried(limit=10)
    for n in range(30):
        queried.stream.steps([Step(op="enter", id=f"e{n}", index=0, data={"id": f"e{n}"})])
    assert (bool(queried.stream), queried.full, queried.stream.stale) == (True, 0, True)
    assert queried.stream.take() is None
    assert (bool(queried.stream), queried.full) == (False, 1)
    queried.stream.steps([Step(op="leave", id="e1")])
    assert not queried.stream
    queried.stream.reset(AllRows([], []))
    assert queried.stream.take() == "rows"
    assert not queried.stream.stale
