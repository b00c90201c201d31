from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from collab.entities.entity import ABSENT, ConcurrentWrite, EntityOp, EntityState, Intent, WriteOutcome, derive
from collab.entities.stamps import Stamps
from collab.names import RoomKey
from collab.storage.base import Fact

KEY = RoomKey("p", "tasks", "t1")


def write(entity: EntityState, user: str | None, changes: dict[str, Any], at: float = 1.0, **more: Any) -> EntityOp:
    return EntityOp("write", entity, user, at, changes, **more)


def flush(*ops: EntityOp) -> list[Fact]:
    return derive([(row, [op]) for row, op in enumerate(ops)], Stamps())[0]


def test_the_first_write_creates() -> None:
    entity = EntityState(KEY)
    (fact,) = flush(write(entity, "ann", {"title": "a"}, at=1700000000.0))
    event = fact.event
    assert (event.type, event.version, event.user_id, event.id, event.collection) == (
        "created",
        1,
        "ann",
        "t1",
        "tasks",
    )
    at = "2023-11-14T22:13:20.000000Z"
    assert event.data == {"id": "t1", "title": "a", "createdAt": at, "updatedAt": at}
    assert event.changes == {"title": {"to": "a"}}
    assert fact.row == 0


def test_what_one_author_changes_in_one_flush_is_one_event() -> None:
    entity = EntityState(KEY)
    flush(write(entity, "ann", {"title": "a", "done": False}))
    (fact,) = flush(write(entity, "bob", {"title": "b"}), write(entity, "bob", {"title": "c", "done": True}))
    assert fact.event.changes == {"title": {"from": "a", "to": "c"}, "done": {"from": False, "to": True}}
    assert (fact.event.version, fact.row) == (2, 1)


def test_a_write_that_is_alone_shares_its_event_with_nothing_before_or_after_it() -> None:
    entity = EntityState(KEY)
    alone = Intent("s", lambda outcome: None, alone=True)
    facts = flush(
        write(entity, "ann", {"n": 1}), write(entity, "ann", {"n": 2}, intent=alone), write(entity, "ann", {"n": 3})
    )
    assert [(fact.event.version, fact.event.data["n"]) for fact in facts] == [(1, 1), (2, 2), (3, 3)]


def test_alternating_authors_make_an_event_per_turn() -> None:
    entity = EntityState(KEY)
    facts = flush(write(entity, "ann", {"n": 1}), write(entity, "bob", {"n": 2}), write(entity, "ann", {"n": 3}))
    assert [(fact.event.type, fact.event.version, fact.event.user_id) for fact in facts] == [
        ("created", 1, "ann"),
        ("updated", 2, "bob"),
        ("updated", 3, "ann"),
    ]
    assert [fact.event.data["n"] for fact in facts] == [1, 2, 3]


def test_events_of_one_moment_have_increasing_times() -> None:
    first, second = EntityState(KEY), EntityState(RoomKey("p", "tasks", "a1"))
    ops = [write(one, "ann", {"n": 1}, at=1700000000.0) for one in (first, second)]
    ops += [write(first, "bob", {"n": 2}, at=1699999999.0)]
    facts = flush(*ops)
    assert [fact.event.at for fact in facts] == [
        "2023-11-14T22:13:20.000000Z",
        "2023-11-14T22:13:20.000001Z",
        "2023-11-14T22:13:20.000002Z",
    ]
    assert [fact.event.data["updatedAt"] for fact in facts] == [fact.event.at for fact in facts]
    assert facts[2].event.data["createdAt"] == facts[0].event.at


def test_a_field_that_is_removed_has_no_new_value() -> None:
    entity = EntityState(KEY)
    flush(write(entity, "ann", {"title": "a"}))
    (fact,) = flush(write(entity, "ann", {"title": ABSENT}))
    assert fact.event.changes == {"title": {"from": "a"}}
    assert "title" not in fact.event.data


def test_a_write_without_effect_makes_no_event_but_notifies_its_author() -> None:
    entity = EntityState(KEY)
    flush(write(entity, "ann", {"n": 1}))
    told: list[WriteOutcome] = []
    op = write(entity, "ann", {"n": 1}, intent=Intent("s", told.append))
    facts, (answer,) = derive([(0, [op])], Stamps())
    assert not facts
    assert answer.project == KEY.project
    answer.intent.told(answer.outcome)
    assert (told[0].version, told[0].data["n"]) == (1, 1)


def test_false_is_not_zero() -> None:
    entity = EntityState(KEY)
    flush(write(entity, "ann", {"done": 0}))
    (fact,) = flush(write(entity, "ann", {"done": False}))
    assert fact.event.changes == {"done": {"from": 0, "to": False}}


def test_a_deleted_entity_keeps_its_data_and_comes_back_with_it() -> None:
    entity = EntityState(KEY)
    flush(write(entity, "ann", {"n": 1}))
    (gone,) = flush(EntityOp("delete", entity, "bob", 2.0))
    assert (gone.event.type, gone.event.data["n"], gone.entity.deleted) == ("deleted", 1, True)
    (back,) = flush(EntityOp("restore", entity, "bob", 3.0))
    assert (back.event.type, back.event.version, back.entity.deleted) == ("restored", 3, False)


def test_created_and_deleted_in_one_flush_are_two_events() -> None:
    entity = EntityState(KEY)
    facts = flush(write(entity, "ann", {"n": 1}), EntityOp("delete", entity, "ann", 2.0))
    assert [fact.event.type for fact in facts] == ["created", "deleted"]


def test_a_write_that_has_not_seen_the_newest_version_conflicts_with_it() -> None:
    entity = EntityState(KEY)
    flush(write(entity, "ann", {"status": "open", "title": "t"}, intent=Intent("a", _ignore)))
    (met,) = flush(write(entity, "ann", {"status": "done"}, at=2.0000005, intent=Intent("a", _ignore)))
    (fact,) = flush(write(entity, "bob", {"status": "late", "title": "u"}, intent=Intent("b", _ignore, version=1)))
    (conflict,) = fact.event.conflicts
    assert (conflict.field, conflict.base, conflict.theirs, conflict.yours) == ("status", "open", "done", "late")
    assert (conflict.winner, conflict.user_id, conflict.at) == ("yours", "ann", met.event.at)
    assert fact.event.data["status"] == "late"


def test_ones_own_newer_write_is_no_conflict() -> None:
    entity = EntityState(KEY)
    flush(write(entity, "ann", {"n": 1}, intent=Intent("a", _ignore)))
    flush(write(entity, "ann", {"n": 2}, intent=Intent("a", _ignore, version=1)))
    (fact,) = flush(write(entity, "ann", {"n": 3}, intent=Intent("a", _ignore, version=1)))
    assert not fact.event.conflicts


def test_a_concurrent_write_that_loses_is_told_though_nothing_changes() -> None:
    entity = EntityState(KEY)
    flush(write(entity, "ann", {"n": 1}))
    (fact,) = flush(write(entity, "bob", {}, met=[ConcurrentWrite("n", 2, won=False)]))
    assert fact.event.changes == {}
    (conflict,) = fact.event.conflicts
    assert (conflict.theirs, conflict.yours, conflict.winner, conflict.user_id) == (1, 2, "theirs", "ann")


def test_an_entity_is_the_same_from_its_row() -> None:
    entity = EntityState(KEY)
    (fact,) = flush(write(entity, "ann", {"n": 1, "list": [1, {"a": None}]}))
    again = EntityState(KEY, fact.entity)
    assert (again.data, again.version, again.now) == (entity.data, 1, {"n": 1, "list": [1, {"a": None}]})
    (late,) = flush(write(again, "bob", {"n": 2}, intent=Intent("b", _ignore, version=0)))
    assert late.event.conflicts[0].user_id == "ann"


users = st.sampled_from(["ann", "bob", None])
values = st.one_of(st.integers(0, 3), st.none(), st.booleans(), st.just(ABSENT))
steps = st.lists(
    st.tuples(users, st.dictionaries(st.sampled_from("abc"), values, max_size=2), st.booleans()), max_size=30
)


@given(steps)
def test_changes_lead_from_each_version_to_the_next_without_holes(history: list[tuple[str | None, Any, bool]]) -> None:
    entity, version = EntityState(KEY), 0
    data: dict[str, Any] = {}
    pending: list[EntityOp] = []
    for user, changes, ends in [*history, (None, {}, True)]:
        pending.append(write(entity, user, changes))
        if not ends:
            continue
        for fact in flush(*pending):
            event = fact.event
            version += 1
            assert event.version == version
            for name, change in event.changes.items():
                assert data.get(name, ABSENT) == change.get("from", ABSENT)
                data.pop(name, None)
                if "to" in change:
                    data[name] = change["to"]
            own = {name: value for name, value in event.data.items() if name not in {"id", "createdAt", "updatedAt"}}
            assert own == data
        pending = []


def _ignore(told: WriteOutcome) -> None:
    pass


def test_two_changes_of_one_text_in_a_flush_are_two_events() -> None:
    entity = EntityState(KEY)
    flush(write(entity, "ann", {"n": 1}))
    typed = [{"content": {"delta": [{"insert": letter}]}} for letter in "ab"]
    facts = flush(*(EntityOp("content", entity, "ann", 1.0, change, covered=n) for n, change in enumerate(typed, 1)))
    assert [fact.event.changes for fact in facts] == typed
    (fact,) = flush(*(EntityOp("content", entity, "ann", 1.0, {root: {"delta": []}}) for root in ("one", "other")))
    assert fact.event.changes.keys() == {"one", "other"}
