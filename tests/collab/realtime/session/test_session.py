"""A session by the numbered rules of docs/protocol.md, without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from collab.access.identity import Identity
from collab.errors import AuthenticationFailed, InvalidRequest, RateLimitExceeded, SessionTimeout
from collab.realtime.session.session import SessionLimits
from collab.wire.realtime import messages as realtime
from collab.wire.realtime import values as wire
from collab.wire.realtime.encoding import Format, Misunderstood
from collab.wire.realtime.messages import Failure, Hello, Pong, Reply, Welcome
from collab.wire.realtime.values import AnyTarget
from tests.collab.realtime.session_world import UNLIMITED, World, identity


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with World() as world:
        yield world


# A1-A9: hello


@pytest.mark.parametrize("form", ["json", "msgpack"])
async def test_a1_hello_is_answered_by_welcome_with_who_it_is_and_what_it_may_do(world: World, form: Format) -> None:
    client = world.client(form=form, limits=SessionLimits(subscriptions=7, events_per_second=50))
    welcome = await client.join()
    assert (welcome.project_id, welcome.user_id, welcome.protocol) == ("default", "ada", 1)
    assert (welcome.limits.max_subscriptions, welcome.limits.max_events_per_second) == (7, 50)
    assert welcome.cursor == world.feed.cursor(world.feed.position("default"))


async def test_a1_anything_before_hello_ends_the_session(world: World) -> None:
    client = world.client()
    client.say(realtime.Ping())
    assert isinstance(client.closed, InvalidRequest)


async def test_a1_a_second_hello_ends_the_session(world: World) -> None:
    client = await world.joined()
    client.say(Hello())
    assert isinstance(client.closed, InvalidRequest)


async def test_a1_another_version_of_the_protocol_ends_the_session_with_those_that_are_spoken(world: World) -> None:
    client = world.client()
    client.say(Hello(protocol=2))
    assert client.closed is not None
    assert client.closed.details == {"versions": [1]}


async def test_a2_a_wrong_credential_ends_the_session_for_good(world: World) -> None:
    client = world.client()
    client.say(Hello(token="wrong"))
    error = await client.until(lambda: client.closed)
    assert isinstance(error, AuthenticationFailed)
    assert not error.retryable


async def test_a2_requests_behind_hello_wait_for_welcome(world: World) -> None:
    client = world.client()
    client.say(Hello(token=client.token))
    client.ask(realtime.Count, collection="tasks")
    await client.until(lambda: client.messages(Reply))
    assert [type(message) for message in client.heard] == [Welcome, Reply]


async def test_a3_without_hello_the_session_ends_in_time(world: World) -> None:
    client = world.client(limits=SessionLimits(hello_seconds=5))
    client.session.beat(world.time.now + 4.9, 0)
    with pytest.raises(SessionTimeout):
        client.session.beat(world.time.now + 5, 0)


async def test_a4_a_client_may_lower_its_limits_and_not_raise_them(world: World) -> None:
    limits = SessionLimits(subscriptions=10, events_per_second=0)
    lowered = world.client(limits=limits, max_subscriptions=3, max_events_per_second=100)
    assert (await lowered.join()).limits.max_subscriptions == 3
    raised = world.client(limits=limits, max_subscriptions=1000, max_events_per_second=0)
    welcome = await raised.join()
    assert (welcome.limits.max_subscriptions, welcome.limits.max_events_per_second) == (10, 0)


# A5, A6: staying connected


async def test_a5_a_ping_is_answered_by_a_pong(world: World) -> None:
    client = await world.joined()
    client.say(realtime.Ping())
    client.read()
    assert client.messages(Pong)


async def test_a5_a_silent_connection_is_given_a_sign_of_life(world: World) -> None:
    client = await world.joined()
    client.session.keep_alive()
    client.read()
    assert client.messages(Pong)


async def test_a6_the_session_ends_when_its_credential_does(world: World) -> None:
    client = await world.joined(identity(expires_at=2000.0))
    client.session.beat(world.time.now, 1999.9)
    with pytest.raises(AuthenticationFailed) as ended:
        client.session.beat(world.time.now, 2000.0)
    assert ended.value.close_code == 4401


async def test_a6_the_next_credential_of_the_same_user_prolongs_it(world: World) -> None:
    client = await world.joined(identity(expires_at=2000.0))
    world.gatekeeper.known["next"] = identity(expires_at=3000.0)
    await client.result(realtime.Authenticate, token="next")
    client.session.beat(world.time.now, 2500.0)


async def test_a6_the_credential_of_somebody_else_is_refused_and_the_session_lives(world: World) -> None:
    client = await world.joined()
    world.gatekeeper.known["bob"] = identity("bob")
    assert await client.error(realtime.Authenticate, token="bob") == "AUTHENTICATION_FAILED"
    assert client.closed is None
    assert client.session.identity == identity()


# A7, A8: requests


async def test_a7_each_request_is_answered_with_its_number(world: World) -> None:
    client = await world.joined()
    created = await client.result(realtime.Create, collection="tasks", entity="t", data={"title": "a"})
    assert (created["data"]["title"], created["version"]) == ("a", 1)
    updated = await client.result(realtime.Update, collection="tasks", entity="t", changes={"title": "b"})
    assert updated["version"] == 2
    assert (await client.result(realtime.FindById, collection="tasks", entity="t"))["data"]["title"] == "b"
    assert (await client.result(realtime.FindMany, collection="tasks"))["versions"] == [2]
    assert await client.result(realtime.Count, collection="tasks") == 1
    assert [event["version"] for event in await client.result(realtime.History, collection="tasks", entity="t")] == [
        2,
        1,
    ]
    assert (await client.result(realtime.Delete, collection="tasks", entity="t"))["version"] == 3
    assert (await client.result(realtime.Restore, collection="tasks", entity="t"))["version"] == 4
    assert await client.result(realtime.Schema) == {"tasks": {"version": 1}}


async def test_a8_an_error_of_a_request_is_told_and_the_session_lives(world: World) -> None:
    client = await world.joined()
    assert await client.error(realtime.FindById, collection="tasks", entity="nobody") == "NOT_FOUND"
    assert await client.error(realtime.FindMany, collection="tasks", query={"limit": -1}) == "INVALID_REQUEST"
    assert await client.result(realtime.Count, collection="tasks") == 0
    assert client.closed is None


async def test_a8_what_was_misunderstood_is_refused_with_its_number(world: World) -> None:
    client = await world.joined()
    client.session.misunderstood(Misunderstood("not a message", 7), world.time.now)
    answer = await client.answer(7)
    assert isinstance(answer, Failure)
    assert answer.error.code == "INVALID_REQUEST"
    with pytest.raises(Misunderstood):
        client.session.misunderstood(Misunderstood("not a message", None), world.time.now)


async def test_a9_writes_to_one_entity_keep_their_order_and_others_do_not_wait(world: World) -> None:
    client = await world.joined()
    free = world.records.hold("t")
    client.ask(realtime.Create, collection="tasks", entity="t", data={"n": 0})
    client.ask(realtime.Update, collection="tasks", entity="t", changes={"n": 1})
    client.ask(realtime.Update, collection="tasks", entity="t", changes={"n": 2})
    other = client.ask(realtime.Create, collection="tasks", entity="u", data={})
    await client.answer(other)
    assert [what for entity, what in world.records.begun if entity == "t"] == [{"n": 0}]
    read = client.ask(realtime.FindById, collection="tasks", entity="t")
    free.set()
    answer = await client.answer(read)
    assert isinstance(answer, Reply)
    assert answer.result["data"]["n"] == 2


async def test_a9_a37_a_request_of_several_writes_is_in_order_with_all_about_their_entities(world: World) -> None:
    client = await world.joined()
    free = world.records.hold("t")
    client.ask(realtime.Create, collection="tasks", entity="t", data={"n": 0})
    many = client.ask(
        realtime.WriteMany,
        writes=(
            wire.UpdateOne(collection="tasks", entity="t", changes={"n": 1}),
            wire.CreateOne(collection="tasks", entity="u", data={"n": 2}),
        ),
    )
    read = client.ask(realtime.FindById, collection="tasks", entity="u")
    other = client.ask(realtime.Create, collection="tasks", entity="v", data={})
    await client.answer(other)
    assert [entity for entity, _ in world.records.begun] == ["t", "v"]
    free.set()
    answer = await client.answer(many)
    assert isinstance(answer, Reply)
    assert [result["data"]["n"] for result in answer.result] == [1, 2]
    answer = await client.answer(read)
    assert isinstance(answer, Reply)
    assert answer.result["data"]["n"] == 2


async def test_a9_a_write_is_told_to_the_subscriptions_asked_for_before_it(world: World) -> None:
    client = await world.joined()
    targets: tuple[AnyTarget, ...] = (wire.Custom(event="x"), wire.Entities(collection="tasks"))
    wanted = tuple(realtime.Subscription(sub=n, target=target) for n, target in enumerate(targets))
    client.ask(realtime.Subscribe, subscriptions=wanted)
    emitted = client.ask(realtime.Emit, event={"type": "x"})
    created = client.ask(realtime.Create, collection="tasks", entity="t", data={})
    for asked in (emitted, created):
        assert isinstance(await client.answer(asked), Reply)
    await client.settle()
    assert len(client.messages(realtime.CustomEvent)) == 1
    assert [event.id for event in client.events(1)] == ["t"]


async def test_a9_only_so_many_requests_are_under_way_and_so_many_wait(world: World) -> None:
    client = await world.joined(limits=SessionLimits(requests_at_once=2, requests_waiting=3))
    free = world.records.hold("*")
    asked = [client.ask(realtime.FindMany, collection="tasks") for _ in range(8)]
    refused = [await client.answer(number) for number in asked[5:]]
    assert all(isinstance(answer, Failure) and answer.error.code == "RATE_LIMIT_EXCEEDED" for answer in refused)
    await client.until(lambda: world.records.begun)
    await client.until(lambda: len(client.session._jobs) == 5)
    assert len(world.records.begun) == 2
    free.set()
    for number in asked[:5]:
        assert isinstance(await client.answer(number), Reply)


# rates


async def test_a20_writes_over_their_rate_are_refused_with_when_to_come_again(world: World) -> None:
    client = await world.joined(limits=SessionLimits(writes_per_second=1))
    asked = [client.ask(realtime.Create, collection="tasks", entity=f"t{n}", data={}) for n in range(12)]
    answers = [await client.answer(number) for number in asked]
    assert [type(answer) for answer in answers] == [Reply] * 10 + [Failure] * 2
    last = answers[-1]
    assert isinstance(last, Failure)
    assert last.error.retryable
    assert 0 < last.error.details["retryAfter"] <= 1
    world.time.pass_by(last.error.details["retryAfter"])
    await client.result(realtime.Create, collection="tasks", entity="later", data={})


async def test_a20_a37_each_of_several_writes_counts(world: World) -> None:
    client = await world.joined(limits=SessionLimits(writes_per_second=1))
    writes = tuple(wire.CreateOne(collection="tasks", entity=f"t{n}", data={}) for n in range(30))
    assert len(await client.result(realtime.WriteMany, writes=writes)) == 30
    answer = await client.answer(client.ask(realtime.Create, collection="tasks", entity="later", data={}))
    assert isinstance(answer, Failure)
    assert 20 <= answer.error.details["retryAfter"] <= 21


async def test_a20_who_goes_on_over_the_rate_is_sent_away(world: World) -> None:
    client = await world.joined(limits=SessionLimits(messages_per_second=1))
    with pytest.raises(RateLimitExceeded):
        for number in range(2000):
            client.session.receive(realtime.Count(id=number, collection="tasks"), world.time.now)
            client.read()


async def test_a21_who_asks_and_never_reads_is_sent_away(world: World) -> None:
    client = await world.joined()
    with pytest.raises(RateLimitExceeded):
        for _ in range(2000):
            client.session.receive(realtime.Ping(), world.time.now)


async def test_a21_nothing_more_is_done_for_a_reader_with_megabytes_unread(world: World) -> None:
    await world.write("t", {"text": "x" * 5000})
    client = await world.joined(limits=SessionLimits(outbox_bytes=20_000))
    client.read()
    for _ in range(100):
        client.ask(realtime.FindById, collection="tasks", entity="t")
    for _ in range(300):
        await asyncio.sleep(0)
    assert client.session._outbox.queued_bytes < 20_000 + 17 * 5200
    await client.until(lambda: len(client.messages(Reply)) == 100)


# the end


async def test_a10_writes_that_have_begun_come_to_their_end_when_the_client_is_gone(world: World) -> None:
    client = await world.joined()
    free = world.records.hold("t")
    client.ask(realtime.Create, collection="tasks", entity="t", data={"n": 1})
    client.ask(realtime.Update, collection="tasks", entity="t", changes={"n": 2})
    client.ask(realtime.FindMany, collection="tasks")
    await client.until(lambda: len(world.records.begun) == 2)
    client.session.left()
    free.set()
    await client.until(lambda: world.records.done, read=False)
    await client.settle()
    assert world.records.done == [("t", {"n": 1})]


async def test_a_session_that_is_gone_leaves_nothing_behind(world: World) -> None:
    client = await world.joined()
    await client.subscribe(
        wire.Entities(collection="tasks"),
        wire.Entities(collection="tasks", entity="t"),
        wire.Rows(collection="tasks"),
        wire.Custom(event="typing"),
        wire.System(event="health"),
        wire.Analytics(metric="active_users"),
        wire.Presence(room="d"),
    )
    await client.result(realtime.JoinPresence, room="d", state={"cursor": 1})
    assert (len(world.entities), len(world.queries), len(world.presence.listeners)) == (2, 1, 1)
    client.session.left()
    assert (len(world.entities), len(world.queries), len(world.presence.listeners)) == (0, 0, 0)
    assert world.presence.states == {}
    assert world.analytics.active_users("default") == 0
    assert world.gatekeeper.entered == world.gatekeeper.left == [identity()]
    await world.write("t")
    client.read()
    assert world.time.waiting == 0


async def test_a_project_sees_nothing_of_another(world: World) -> None:
    client = await world.joined(Identity("other", "eve", rules=identity().rules))
    await client.subscribe(wire.Entities(collection="tasks"), wire.Rows(collection="tasks"))
    await world.write("t")
    await client.settle()
    assert client.events() == []
    assert await client.result(realtime.Count, collection="tasks") == 0


async def test_presence_is_joined_changed_and_left(world: World) -> None:
    client = await world.joined(limits=UNLIMITED)
    await client.result(realtime.JoinPresence, room="d", state={"a": 1, "b": 1})
    await client.result(realtime.UpdatePresence, room="d", state={"b": 2})
    assert list(world.presence.states.values()) == [{"a": 1, "b": 2}]
    await client.result(realtime.LeavePresence, room="d")
    assert world.presence.states == {}
