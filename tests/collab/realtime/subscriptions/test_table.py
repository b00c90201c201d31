"""Subscriptions by the numbered rules of docs/protocol.md, without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.query.parse import parse_query
from collab.query.query import Query
from collab.query.steps import apply_steps
from collab.realtime.session.session import SessionLimits
from collab.realtime.session.subscriber import HOLD_SECONDS, RECHECK_SECONDS
from collab.wire.realtime import messages as realtime
from collab.wire.realtime.encoding import Format
from collab.wire.realtime.messages import (
    CustomEvent,
    Event,
    Failure,
    Metric,
    People,
    Reply,
    RowsAre,
    RowsChanged,
    Subscribe,
    Subscription,
    SystemEvent,
    Unsubscribe,
)
from collab.wire.realtime.values import Analytics, Custom, Entities, Person, Presence, Rows, System
from tests.collab.realtime.session_world import UNLIMITED, Client, World, identity


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World() as world:
        yield world


TASKS = Entities(collection="tasks")
MINE = {"tasks/*": {"access": "read", "where": {"owner": "$userId"}}}


def slow(rate: int) -> SessionLimits:
    return SessionLimits(subscriptions=0, events_per_second=rate)


def rows_of(client: Client, sub: int = 1) -> list[dict[str, Any]]:
    """The rows as a client has them that does what it is told."""
    rows: list[dict[str, Any]] = []
    for message in client.heard:
        if isinstance(message, RowsAre) and message.sub == sub:
            rows = message.rows
        elif isinstance(message, RowsChanged) and message.sub == sub:
            rows = apply_steps(rows, message.steps)
    return rows


# A11: subscribing


@pytest.mark.parametrize("form", ["json", "msgpack"])
async def test_a11_a_confirmed_subscription_is_sent_each_event_from_then_on(world: World, form: Format) -> None:
    client = await world.joined(form=form)
    await world.write("old")
    (confirmed,) = await client.subscribe(TASKS)
    assert confirmed.cursor == world.feed.cursor(1)
    await world.write("t", {"title": "a"})
    await world.write("t", {"title": "b"})
    client.read()
    assert [(event.id, event.type, event.data["title"]) for event in client.events()] == [
        ("t", "created", "a"),
        ("t", "updated", "b"),
    ]
    assert client.messages(Event)[-1].cursor == world.feed.cursor(3)


async def test_a11_nothing_is_missed_however_writes_fall_between_asking_and_the_answer(world: World) -> None:
    client = await world.joined()
    number = client.ask(Subscribe, subscriptions=(Subscription(sub=1, target=TASKS),))
    for n in range(30):
        await world.write(f"t{n}")
        await asyncio.sleep(0)
        client.read()
    answer = await client.answer(number)
    assert isinstance(answer, Reply)
    cursor = world.feed.parse("default", answer.result[0]["cursor"])
    assert cursor is not None
    assert [event.position for event in client.events()] == list(range(cursor + 1, 31))


async def test_a11_several_are_answered_as_one_in_order_and_errors_spare_the_others(world: World) -> None:
    client = await world.joined(identity(rules={"tasks/*": "read"}))
    answers = await client.subscribe(TASKS, Entities(collection="secrets"), Analytics(metric="nonsense"), TASKS)
    assert [answer.sub for answer in answers] == [1, 2, 3, 4]
    assert [answer.error and answer.error.code for answer in answers] == [
        None,
        "PERMISSION_DENIED",
        "SUBSCRIPTION_FAILED",
        None,
    ]


async def test_a11_the_answer_comes_before_what_it_is_about(world: World) -> None:
    client = await world.joined()
    await client.subscribe(Rows(collection="tasks"), Analytics(metric="active_users"), Presence(room="d"))
    kinds = [type(message) for message in client.heard[1:]]
    await client.until(lambda: len(client.heard) >= 5)
    assert kinds[0] is Reply
    assert {type(message) for message in client.heard[2:]} == {RowsAre, Metric, People}


async def test_a11_a_number_in_use_is_refused_and_free_again_after_unsubscribing(world: World) -> None:
    client = await world.joined()
    await client.subscribe(TASKS)
    (again,) = await client.subscribe(TASKS)
    assert again.error is not None
    assert again.error.code == "INVALID_REQUEST"
    await client.result(Unsubscribe, subs=(1, 99))
    (free,) = await client.subscribe(TASKS)
    assert free.error is None


async def test_a12_one_event_for_several_subscriptions_is_sent_once(world: World) -> None:
    client = await world.joined()
    await client.subscribe(TASKS, TASKS, Entities(collection="tasks", entity="t"))
    await world.write("t")
    await world.write("u")
    client.read()
    assert [message.subs for message in client.messages(Event)] == [(1, 2, 3), (1, 2)]


async def test_a12_one_entity_is_told_of_alone(world: World) -> None:
    client = await world.joined()
    await client.subscribe(Entities(collection="tasks", entity="t"))
    for name in ("t", "u", "t"):
        await world.write(name, {"n": 1})
    await world.write("t", collection="others")
    client.read()
    assert [(event.collection, event.id) for event in client.events()] == [("tasks", "t")] * 2


async def test_a13_nothing_is_sent_once_unsubscribing_is_answered(world: World) -> None:
    client = await world.joined(limits=slow(1))
    await client.subscribe(TASKS, Rows(collection="tasks"))
    for n in range(20):
        await world.write(f"t{n}")
    await client.result(Unsubscribe, subs=(1, 2))
    client.forget()
    for _ in range(5):
        world.time.pass_by(1)
        client.read()
    await world.write("t")
    client.read()
    assert client.heard == []
    assert len(world.entities) == len(world.queries) == 0


async def test_a14_ten_thousand_subscriptions_are_refused_above_the_limit_with_what_it_is(world: World) -> None:
    client = await world.joined(limits=SessionLimits(subscriptions=1000))
    answers = await client.subscribe(*(Entities(collection="tasks", entity=f"t{n}") for n in range(10_000)))
    assert [answer.error is None for answer in answers] == [True] * 1000 + [False] * 9000
    error = answers[-1].error
    assert error is not None
    assert (error.code, error.details) == ("RATE_LIMIT_EXCEEDED", {"limit": 1000})
    assert len(world.entities) == 1000
    await world.write("t999")
    await world.write("t1000")
    client.read()
    assert [event.id for event in client.events(1000)] == ["t999"]
    client.session.left()
    assert len(world.entities) == 0


# A15: fields, permissions


async def test_a15_only_selected_fields_make_an_event_arrive_and_are_in_it(world: World) -> None:
    client = await world.joined()
    await world.write("t", {"status": "new", "title": "a"})
    await client.subscribe(Entities(collection="tasks", entity="t", fields=("status", "updatedAt")))
    await world.write("t", {"title": "b"})
    await world.write("t", {"title": "c", "status": "done"})
    client.read()
    (event,) = client.events()
    assert event.data.keys() == {"id", "status", "updatedAt"}
    assert event.changes == {"status": {"from": "new", "to": "done"}}


async def test_a15_permissions_come_along_if_they_are_asked_for(world: World) -> None:
    client = await world.joined(identity(rules={"tasks/a*": "write", "tasks/*": "read"}))
    await world.write("a")
    await client.subscribe(
        Entities(collection="tasks", include_permissions=True), Rows(collection="tasks", include_permissions=True)
    )
    await world.write("b")
    client.read()
    (message,) = client.messages(Event)
    assert message.permissions == {"read": True, "write": False}
    assert client.messages(RowsAre)[0].permissions == [{"read": True, "write": True}]
    (steps,) = client.messages(RowsChanged)
    assert steps.steps[0].permissions == {"read": True, "write": False}


# A16: what may be seen


async def test_a16_a_row_that_leaves_the_view_is_deleted_there_and_nothing_of_it_is_told(world: World) -> None:
    client = await world.joined(identity(rules=MINE))
    await client.subscribe(TASKS, Rows(collection="tasks"))
    await world.write("t", {"owner": "bob", "secret": 1})
    await world.write("t", {"owner": "ada", "secret": 2})
    await world.write("t", {"secret": 3})
    await world.write("t", {"owner": "bob", "secret": 4}, user="bob")
    await world.write("t", {"secret": 5})
    client.read()
    events = client.events()
    assert [(event.type, event.data.get("secret")) for event in events] == [
        ("created", 2),
        ("updated", 3),
        ("deleted", None),
    ]
    assert events[0].changes == {"owner": {"to": "ada"}, "secret": {"to": 2}}
    assert (events[2].data, events[2].changes, events[2].user_id) == ({"id": "t"}, {}, None)
    assert [step.op for message in client.messages(RowsChanged) for step in message.steps] == [
        "enter",
        "change",
        "leave",
    ]


async def test_a16_rules_by_id_count_at_delivery(world: World) -> None:
    client = await world.joined(identity(rules={"tasks/secret-*": "none", "tasks/*": "read"}))
    open_, closed = await client.subscribe(TASKS, Entities(collection="tasks", entity="secret-1"))
    assert open_.error is None
    assert closed.error is not None
    await world.write("secret-1")
    await world.write("t")
    client.read()
    assert [event.id for event in client.events()] == ["t"]


async def test_a17_what_is_not_allowed_any_more_ends_when_rights_change(world: World) -> None:
    client = await world.joined()
    await client.subscribe(
        TASKS,
        Entities(collection="tasks", entity="t"),
        Rows(collection="tasks"),
        Presence(room="d"),
        Entities(collection="others"),
    )
    await client.result(realtime.JoinPresence, room="d", state={})
    world.records.forbidden.add("tasks")
    world.presence.forbidden = True
    world.system.permissions_changed("default")
    world.time.pass_by(RECHECK_SECONDS)
    await client.until(lambda: len(client.messages(Failure)) == 4)
    failures = client.messages(Failure)
    assert {failure.sub for failure in failures} == {1, 2, 3, 4}
    assert {failure.error.code for failure in failures} == {"PERMISSION_DENIED"}
    await client.until(lambda: not world.presence.states)
    await world.write("t")
    await world.write("o", collection="others")
    client.read()
    assert [message.subs for message in client.messages(Event)] == [(5,)]


async def later(world: World, client: Client, wanted: Callable[[], bool]) -> None:
    """Let time pass until something is so."""

    def is_so() -> bool:
        world.time.pass_by(0.01)
        return wanted()

    await client.until(is_so)


async def test_a17_a_check_that_takes_long_delays_no_other_and_until_it_is_done_nothing_is_sent(world: World) -> None:
    client = await world.joined()
    await client.subscribe(TASKS, Entities(collection="others"), Rows(collection="tasks"))
    await client.until(lambda: client.messages(RowsAre))
    checked = world.records.checked["tasks"] = asyncio.Event()
    world.records.forbidden.add("others")
    world.system.permissions_changed("default")
    world.time.pass_by(HOLD_SECONDS * 0.9)
    await client.until(lambda: client.messages(Failure))
    assert [failure.sub for failure in client.messages(Failure)] == [2]
    await world.write("before")
    client.read()
    assert [event.id for event in client.events()] == ["before"]
    world.time.pass_by(HOLD_SECONDS * 0.2)
    client.forget()
    await world.write("after")
    world.time.pass_by(1)
    client.read()
    assert client.heard == []
    await client.result(realtime.FindById, collection="tasks", entity="after")  # answers are checked themselves
    checked.set()
    await later(world, client, lambda: bool(client.events()))
    assert [event.id for event in client.events()] == ["after"]
    assert client.messages(RowsChanged)


async def test_a17_rights_that_change_again_and_again_do_not_hold_events_back(world: World) -> None:
    """Each check begins before the one before it is done, but none takes long."""
    client = await world.joined()
    await client.subscribe(TASKS)
    for number in range(10):
        checked = world.records.checked["tasks"] = asyncio.Event()
        world.system.permissions_changed("default")
        world.records.asked.clear()
        world.time.pass_by(RECHECK_SECONDS)
        await client.until(lambda: world.records.asked)
        world.system.permissions_changed("default")
        checked.set()
        await client.settle()
        await world.write(f"t{number}")
        client.read()
    assert [event.id for event in client.events()] == [f"t{number}" for number in range(10)]


async def test_a17_while_a_check_hangs_one_more_is_due(world: World) -> None:
    client = await world.joined()
    await client.subscribe(TASKS)
    checked = world.records.checked["tasks"] = asyncio.Event()
    world.records.asked.clear()
    for _ in range(20):
        world.system.permissions_changed("default")
        world.time.pass_by(RECHECK_SECONDS)
        await client.until(lambda: world.records.asked)
    checked.set()
    await client.settle()
    assert world.records.asked == ["tasks", "tasks"]


async def test_a17_what_was_held_back_is_never_sent_if_it_is_not_allowed_any_more(world: World) -> None:
    client = await world.joined()
    await client.subscribe(TASKS)
    checked = world.records.checked["tasks"] = asyncio.Event()
    world.records.forbidden.add("tasks")
    world.system.permissions_changed("default")
    world.time.pass_by(HOLD_SECONDS)
    await world.write("secret")
    world.system.permissions_changed("default")
    world.time.pass_by(HOLD_SECONDS)
    checked.set()
    await later(world, client, lambda: bool(client.messages(Failure)))
    await client.settle()
    world.time.pass_by(HOLD_SECONDS)
    client.read()
    assert client.events() == []
    assert [failure.error.code for failure in client.messages(Failure)] == ["PERMISSION_DENIED"]


async def test_a17_a_new_row_filter_holds_at_once_and_live_queries_are_told_anew(world: World) -> None:
    client = await world.joined()
    await world.write("a", {"owner": "ada"})
    await world.write("b", {"owner": "bob"})
    await client.subscribe(TASKS, Rows(collection="tasks"))
    await client.until(lambda: len(rows_of(client, 2)) == 2)
    world.gatekeeper.known["next"] = identity(rules=MINE)
    await client.result(realtime.Authenticate, token="next")
    world.time.pass_by(0)
    await client.until(lambda: [row["id"] for row in rows_of(client, 2)] == ["a"])
    await world.write("b", {"n": 1})
    await world.write("a", {"n": 1})
    client.read()
    assert [event.id for event in client.events()] == ["a"]


# A18: resuming


async def test_a18_a_cursor_brings_what_was_missed_and_then_what_comes(world: World) -> None:
    client = await world.joined()
    for n in range(5):
        await world.write("t", {"n": n})
        await world.write(f"other{n}", collection="others")
    (answer,) = await client.subscribe(Entities(collection="tasks", cursor=world.feed.cursor(4)))
    assert (answer.recovered, answer.cursor) == (True, world.feed.cursor(4))
    await world.write("t", {"n": 5})
    await client.until(lambda: len(client.events()) == 4)
    assert [event.data["n"] for event in client.events()] == [2, 3, 4, 5]
    assert [event.conflated for event in client.events()] == [1] * 4


async def test_a18_events_during_the_recovery_come_once_and_in_order(world: World) -> None:
    client = await world.joined()
    for n in range(20):
        await world.write("t", {"n": n})
    target = Entities(collection="tasks", entity="t", cursor=world.feed.cursor(3))
    client.ask(Subscribe, subscriptions=(Subscription(sub=1, target=target),))
    for n in range(20, 40):
        await asyncio.sleep(0)
        await world.write("t", {"n": n})
        client.read()
    await client.until(lambda: client.events() and client.events()[-1].version == 40)
    assert [event.version for event in client.events()] == list(range(4, 41))


@pytest.mark.parametrize("cursor", ["elsewhere.1", "", "{epoch}.999", "{epoch}.x"])
async def test_a18_a_cursor_that_is_not_of_this_record_is_told_so(world: World, cursor: str) -> None:
    await world.write("t")
    client = await world.joined()
    (answer,) = await client.subscribe(
        Entities(collection="tasks", cursor=cursor.format(epoch=world.feed.epoch)),
    )
    assert (answer.recovered, answer.cursor) == (False, world.feed.cursor(1))


async def test_a18_more_than_a_thousand_missed_events_are_not_replayed(world: World) -> None:
    for n in range(1001):
        await world.write("t", {"n": n})
    client = await world.joined(limits=UNLIMITED)
    none, all_ = await client.subscribe(
        Entities(collection="tasks", cursor=world.feed.cursor(0)),
        Entities(collection="tasks", cursor=world.feed.cursor(1)),
    )
    assert (none.recovered, all_.recovered) == (False, True)
    await client.until(lambda: len(client.events(2)) == 1000)
    assert client.events(1) == []


async def test_a18_events_that_were_forgotten_are_not_recovered(world: World) -> None:
    for n in range(3):
        await world.write("t", {"n": n})
    await world.storage.trim(float("inf"))
    client = await world.joined()
    (answer,) = await client.subscribe(Entities(collection="tasks", cursor=world.feed.cursor(0)))
    assert not answer.recovered


async def test_a18_what_may_not_be_seen_is_not_replayed(world: World) -> None:
    await world.write("t", {"owner": "ada"})
    await world.write("t", {"owner": "bob"})
    await world.write("u", {"owner": "bob"})
    client = await world.joined(identity(rules=MINE))
    await client.subscribe(Entities(collection="tasks", cursor=world.feed.cursor(0)))
    await client.until(lambda: len(client.events()) == 2)
    assert [(event.type, event.data.get("owner")) for event in client.events()] == [
        ("created", "ada"),
        ("deleted", None),
    ]


# A19: live queries


async def test_a19_live_query_rows_carry_only_selected_fields(world: World) -> None:
    client = await world.joined()
    await world.write("t", {"title": "a", "status": "new"})
    await client.subscribe(Rows(collection="tasks", fields=("status",)))
    await world.write("t", {"title": "b"})
    await world.write("t", {"status": "done"})
    await world.write("u", {"title": "c", "status": "new"})
    client.read()
    assert rows_of(client) == [{"id": "t", "status": "done"}, {"id": "u", "status": "new"}]
    assert len(client.messages(RowsChanged)) == 2


# A22: more than the rate


async def test_a22_over_the_rate_events_of_one_entity_become_one_and_the_newest_state_comes(world: World) -> None:
    client = await world.joined(limits=slow(2))
    await client.subscribe(TASKS)
    await world.write("t", {"n": 0, "old": True})
    await world.write("u", {"n": 0})
    for n in range(1, 100):
        await world.write("t", {"n": n})
    await world.write("t", {"title": "last"}, unset=["old"])
    client.read()
    assert len(client.events()) == 2
    world.time.pass_by(0.5)
    client.read()
    event = client.events()[-1]
    assert (event.type, event.conflated, event.version) == ("updated", 100, 101)
    assert event.changes == {"n": {"from": 0, "to": 99}, "title": {"to": "last"}, "old": {"from": True}}
    assert event.data["n"] == 99


async def test_a22_no_more_than_the_rate_is_sent_and_all_of_it_in_the_end(world: World) -> None:
    client = await world.joined(limits=slow(10))
    await client.subscribe(TASKS)
    for n in range(50):
        await world.write(f"t{n}")
    counts = []
    for _ in range(6):
        client.read()
        counts.append(len(client.events()))
        world.time.pass_by(1)
    client.read()
    assert counts[0] == 10
    assert all(later - earlier <= 11 for earlier, later in pairwise(counts))
    assert [event.id for event in client.events()] == [f"t{n}" for n in range(50)]


async def test_a22_a_cursor_is_never_ahead_of_what_still_waits(world: World) -> None:
    client = await world.joined(limits=slow(1))
    await client.subscribe(TASKS)
    for name in ("x", "a", "b", "a", "c", "b"):
        await world.write(name)
    heard: dict[str, int] = {}
    for _ in range(8):
        client.read()
        world.time.pass_by(1)
        for message, event in zip(client.messages(Event), client.events(), strict=True):
            heard[event.id] = event.position
            cursor = world.feed.parse("default", message.cursor)
            assert cursor is not None
        if client.messages(Event):
            cursor = world.feed.parse("default", client.messages(Event)[-1].cursor) or 0
            newest = {"x": 1, "a": 4, "b": 6, "c": 5}
            first = {"x": 1, "a": 2, "b": 3, "c": 5}
            assert all(heard.get(name, 0) >= min(newest[name], cursor) for name in newest if first[name] <= cursor)
    assert heard == {"x": 1, "a": 4, "b": 6, "c": 5}
    assert client.messages(Event)[-1].cursor == world.feed.cursor(6)


async def test_a22_steps_of_a_live_query_are_merged_and_lead_to_the_same_rows(world: World) -> None:
    client = await world.joined(limits=slow(1))
    query = {"orderBy": {"n": "asc"}, "limit": 3}
    await client.subscribe(Rows(collection="tasks", query=query))
    for n in range(20):
        await world.write(f"t{n % 5}", {"n": -n})
    for _ in range(3):
        world.time.pass_by(1)
        client.read()
    assert len(client.messages(RowsChanged)) <= 2
    expected = await world.storage.find("default", "tasks", parse_query(query))
    assert rows_of(client) == [row.data for row in expected.rows]


async def test_a22_too_many_steps_are_replaced_by_the_rows(world: World) -> None:
    client = await world.joined(limits=slow(1))
    await client.subscribe(Rows(collection="tasks", query={"limit": 5}))
    for n in range(3000):
        await world.write(f"t{n % 10}", kind="deleted" if n % 20 >= 10 else "restored")
    world.time.pass_by(1)
    client.read()
    await client.settle()
    world.time.pass_by(1)
    await client.until(lambda: len(client.messages(RowsAre)) > 1)
    for _ in range(3):
        world.time.pass_by(1)
        client.read()
    assert rows_of(client) == []


async def test_a22_custom_events_come_late_and_in_order_and_too_many_end_the_subscription(world: World) -> None:
    client = await world.joined(limits=slow(100))
    await client.subscribe(Custom(event="typing"))
    for n in range(600):
        world.events.emit("default", {"type": "typing", "n": n})
    for _ in range(10):
        world.time.pass_by(1)
        client.read()
    assert [message.event["n"] for message in client.messages(CustomEvent)] == list(range(600))
    for n in range(5000):
        world.events.emit("default", {"type": "typing", "n": n})
    client.read()
    (failure,) = client.messages(Failure)
    assert (failure.sub, failure.error.code, failure.error.retryable) == (1, "RATE_LIMIT_EXCEEDED", True)
    cursor = failure.error.details["cursor"]
    assert cursor == client.messages(CustomEvent)[-1].cursor
    (answer,) = await client.subscribe(Custom(event="typing", cursor=cursor))
    assert not answer.recovered


async def test_a22_metrics_and_presence_over_the_rate_are_the_newest(world: World) -> None:
    client = await world.joined(limits=slow(2))
    await client.subscribe(Analytics(metric="active_users"), Presence(room="d"))
    await client.until(lambda: bool(client.messages(Metric)) and bool(client.messages(People)))
    client.forget()
    for n in range(10):
        world.presence.tell(People(subs=(), count=n, people=[Person(key=f"p{n}")], left=(f"p{n - 1}",)))
    world.time.pass_by(2)
    client.read()
    (people,) = client.messages(People)
    assert (people.count, [person.key for person in people.people]) == (9, ["p9"])
    assert set(people.left) == {f"p{n}" for n in range(-1, 9)}


async def test_a23_a_reader_that_does_not_read_costs_bounded_memory_and_gets_the_newest_state(world: World) -> None:
    client = await world.joined(limits=SessionLimits(outbox_bytes=10_000, events_per_second=0))
    await client.subscribe(TASKS)
    for n in range(2000):
        await world.write(f"t{n % 10}", {"n": n, "text": "x" * 100})
        assert client.session._outbox.queued_bytes < 11_000
    last: dict[str, int] = {}
    await client.until(lambda: client.session._outbox.waiting == 0)
    client.read()
    for event in client.events():
        assert event.version > last.get(event.id, 0)
        last[event.id] = event.version
    assert last == {f"t{n}": 200 for n in range(10)}
    assert sum(event.conflated for event in client.events()) == 2000


async def test_a23_a_subscription_with_too_many_entities_waiting_ends_with_where_to_resume(world: World) -> None:
    client = await world.joined(limits=slow(1))
    await client.subscribe(TASKS, Entities(collection="tasks", entity="t0"))
    for n in range(10_005):
        await world.write(f"t{n}")
    client.read()
    (failure,) = client.messages(Failure)
    assert (failure.sub, failure.error.code) == (1, "RATE_LIMIT_EXCEEDED")
    assert world.feed.parse("default", failure.error.details["cursor"]) == client.events(1)[-1].position
    await world.write("t0", {"n": 1})
    world.time.pass_by(3)
    client.read()
    assert client.events(2)[-1].version == 2


# the rest


async def test_custom_events_reach_channels_and_resume_from_a_cursor(world: World) -> None:
    client = await world.joined()
    await client.subscribe(Custom(event="done"), Entities(collection="tasks", entity="task_1"))
    cursor = world.events.cursor("default")
    for channel in ("user:ada", "task_1", "team_1", "user:bob"):
        world.events.emit("default", {"type": "done", "channels": [channel]})
    await client.result(realtime.JoinChannel, channel="team_1")
    world.events.emit("default", {"type": "done", "channels": ["team_1"]})
    await client.result(realtime.LeaveChannel, channel="team_1")
    world.events.emit("default", {"type": "done", "channels": ["team_1"]})
    await client.result(realtime.Emit, event={"type": "done", "by": "ada"})
    client.read()
    told = [message.event for message in client.messages(CustomEvent)]
    assert [event.get("channels") for event in told] == [["user:ada"], ["task_1"], ["team_1"], None]
    assert told[-1]["userId"] == "ada"
    await client.result(Unsubscribe, subs=(1,))
    client.forget()
    (answer,) = await client.subscribe(Custom(event="done", cursor=cursor))
    assert answer.recovered
    await client.until(lambda: len(client.messages(CustomEvent)) == 3)


async def test_channels_of_an_entity_are_left_with_its_last_subscription(world: World) -> None:
    client = await world.joined()
    await client.subscribe(Custom(event="done"), Entities(collection="tasks", entity="t"))
    await client.result(Unsubscribe, subs=(2,))
    world.events.emit("default", {"type": "done", "channels": ["t"]})
    client.read()
    assert client.messages(CustomEvent) == []


async def test_channels_of_an_entity_that_goes_out_of_sight_are_left_until_it_is_back(world: World) -> None:
    client = await world.joined(identity(rules={**MINE, "events/*": "read"}))
    await world.write("t", {"owner": "ada"})
    await client.subscribe(Custom(event="done"), Entities(collection="tasks", entity="t"))
    for owner in "ada", "bob", "ada":
        await world.write("t", {"owner": owner})
        world.events.emit("default", {"type": "done", "of": owner, "channels": ["tasks/t"]})
    await world.write("t", kind="deleted")
    world.events.emit("default", {"type": "done", "of": "nobody", "channels": ["tasks/t"]})
    client.read()
    assert [message.event["of"] for message in client.messages(CustomEvent)] == ["ada", "ada"]


async def test_p11_presence_in_a_room_that_may_not_be_read_any_more_ends(world: World) -> None:
    client = await world.joined(identity(rules={**MINE, "events/*": "read"}))
    await client.subscribe(Presence(room="tasks/t"))
    world.presence.deny()
    await client.until(lambda: bool(client.messages(Failure)))
    (failure,) = client.messages(Failure)
    assert (failure.sub, failure.error.code) == (1, "PERMISSION_DENIED")
    world.presence.tell(People(subs=(), count=0, people=[]))
    client.read()
    assert len(client.messages(People)) == 1


async def test_a_private_channel_is_not_heard_by_subscribing_to_an_entity_of_its_name(world: World) -> None:
    rules = {"notes/*": "write", "teams/*": "write", "events/*": "read"}
    mallory, member = await world.joined(identity("mallory", rules)), await world.joined(identity("member"))
    await member.result(realtime.JoinChannel, channel="team_789")
    await world.write("team_789", {"n": 1}, collection="teams")
    await member.subscribe(Custom(event="done"))
    answers = await mallory.subscribe(
        Custom(event="done"),
        Entities(collection="notes", entity="team_789"),
        Entities(collection="teams", entity="team_789"),
    )
    assert all(answer.error is None for answer in answers)
    assert await mallory.error(realtime.JoinChannel, channel="team_789") == "PERMISSION_DENIED"
    cursor = world.events.cursor("default")
    world.events.emit("default", {"type": "done", "channels": ["team_789"]})
    for client, heard in (member, 1), (mallory, 0):
        client.read()
        assert len(client.messages(CustomEvent)) == heard
    (late,) = await mallory.subscribe(Custom(event="done", cursor=cursor), first=9)
    assert late.recovered
    mallory.read()
    assert not mallory.messages(CustomEvent)


async def test_system_events_are_told(world: World) -> None:
    client = await world.joined()
    await client.subscribe(System(event="schema_updated"))
    world.system.announce("default", world.system.schema_event("tasks", 2))
    client.read()
    (message,) = client.messages(SystemEvent)
    assert (message.subs, message.event["entityName"]) == ((1,), "tasks")


async def test_v2_who_comes_back_is_told_what_was_declared_anew_meanwhile(world: World) -> None:
    client = await world.joined()
    (began,) = await client.subscribe(System(event="schema_updated"))
    world.declared = {"tasks": 3, "notes": 1}
    world.system.announce("default", world.system.schema_event("tasks", 2))
    client.read()
    (message,) = client.messages(SystemEvent)
    for cursor, versions in {began.cursor: {"tasks": 3, "notes": 1}, message.cursor: {"tasks": 3, "notes": 1}}.items():
        back = await world.joined()
        (result,) = await back.subscribe(System(event="schema_updated", cursor=cursor))
        assert result.recovered
        back.read()
        told = back.messages(SystemEvent)
        assert {each.event["entityName"]: each.event["version"] for each in told} == versions
        # and once only
        (again,) = await back.subscribe(System(event="schema_updated", cursor=told[-1].cursor), first=2)
        assert again.cursor == told[-1].cursor
        back.read()
        assert back.messages(SystemEvent) == told


@pytest.mark.parametrize("cursor", ["nonsense", "tasks=1,", "tasks=x", "tasks=" + "9" * 100])
async def test_v2_a_cursor_that_is_none_is_no_error_and_tells_nothing(world: World, cursor: str) -> None:
    client = await world.joined()
    (result,) = await client.subscribe(System(event="schema_updated", cursor=cursor))
    assert not result.recovered
    client.read()
    assert client.messages(SystemEvent) == []


async def test_an_event_is_encoded_once_for_all_who_see_the_same(world: World) -> None:
    clients = [await world.joined() for _ in range(3)]
    for client in clients:
        await client.subscribe(TASKS)
    await world.write("t")
    frames = [frame for client in clients for frame in client.session.drain()]
    assert len(frames) == 3
    assert frames[0] is frames[1] is frames[2]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from(["n", "m", "owner"]), st.sampled_from(["ada", "bob", 1])),
        max_size=40,
    ),
    st.sampled_from([1, 5, 0]),
    st.booleans(),
)
async def test_whatever_the_rate_a_client_that_does_what_events_say_ends_with_what_it_may_see(
    writes: list[tuple[str, str, Any]], rate: int, mine: bool
) -> None:
    async with World() as world:
        who = identity(rules=MINE) if mine else identity()
        client = await world.joined(who, limits=slow(rate))
        await client.subscribe(TASKS, Rows(collection="tasks"))
        for entity, name, value in writes:
            await world.write(entity, {name: value})
            world.time.pass_by(0.1)
            client.read()
        for _ in range(60):
            world.time.pass_by(1)
            client.read()
        known: dict[str, Any] = {}
        for event in client.events():
            if event.type == "deleted":
                known.pop(event.id, None)
            else:
                known[event.id] = event.data
        where = who.filter_of("tasks")
        assert where is not None

        found = await world.storage.find("default", "tasks", Query(where))
        assert known == {row.key.id: row.data for row in found.rows}
        assert rows_of(client, 2) == [row.data for row in found.rows]
