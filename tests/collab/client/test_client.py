"""The client against a real server: what it keeps through cuts, restarts and refusals."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pycrdt
import pytest

from collab.client import Crowd, Event, LumenizeClient, Met, Rows
from collab.client.engine import MOST_REFUSALS
from collab.client.subscription import Subscription
from collab.errors import (
    AuthenticationFailed,
    CollabError,
    Conflict,
    ConnectionLost,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    RateLimitExceeded,
    SubscriptionFailed,
    TooLarge,
    ValidationFailed,
)
from collab.records.declaration import declaration
from tests.collab.client.world import Cable, behind, cable, client, until, world
from tests.e2e.guarded import SECRET, mint


@pytest.fixture
async def link(tmp_path: Path) -> AsyncIterator[Cable]:
    """The way to a server that lets everybody write."""
    async with world(tmp_path) as (made, _):
        yield made


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [row["name"] for row in rows]


# order


async def test_what_is_created_in_one_turn_stands_in_the_order_in_which_it_was_made(link: Cable) -> None:
    order = {"orderBy": {"createdAt": "asc"}, "limit": 100}
    async with client(link.address) as ann, client(link.address) as bob:
        seen: list[Rows] = []
        rows = bob.tasks.subscribe(order, seen.append)
        await rows.ready()
        made: list[str] = []
        for _ in range(5):
            turn = [f"t{len(made) + number}" for number in range(8)]
            for call in [ann.tasks.create({"name": name}) for name in turn]:
                await call
            made += turn
        await until(lambda: bool(seen) and len(seen[-1]) == len(made))
        assert names(seen[-1]) == made
        assert names(await ann.tasks.find_many(order)) == made
        backwards = await ann.tasks.find_many({**order, "orderBy": {"updatedAt": "desc"}})
        assert names(backwards) == made[::-1]


# connecting


async def test_where_no_server_is_connecting_fails_and_nothing_goes_on(tmp_path: Path) -> None:
    async with cable() as link:
        made = client(link.address)
        with pytest.raises(ConnectionLost, match=f"^no connection to ws://{re.escape(link.address)}/realtime: "):
            await made.connect()
        assert not made.is_connected()
        with pytest.raises(ConnectionLost):
            await made.tasks.create({"name": "x"})


async def test_without_waiting_it_connects_as_soon_as_there_is_a_server(tmp_path: Path) -> None:
    async with cable() as link:
        made = client(link.address)
        await made.connect(wait=False)
        write = made.tasks.create({"name": "early"})
        assert (made.pending, write.done) == (1, False)
        async with behind(link, tmp_path):
            assert (await write)["name"] == "early"
            assert made.is_connected()
            await made.disconnect()


async def test_what_the_server_would_end_the_session_for_is_refused_before_it_is_sent(link: Cable) -> None:
    def nested(depth: int) -> Any:
        return 1 if depth == 0 else [nested(depth - 1)]

    async with client(link.address) as made:
        for data in ({"text": "\ud83d"}, {"\ud83d": 1}, {"deep": nested(31)}):
            with pytest.raises(InvalidRequest):
                await made.tasks.create(data)
        with pytest.raises(InvalidRequest):
            made.tasks.subscribe({"where": {"a": nested(30)}}, lambda rows: None)
        await made.tasks.create({"deep": nested(29), "text": "😀"})
        assert (made.is_connected(), link.connections) == (True, 1)


async def test_a_trace_that_cannot_be_sent_is_left_out(link: Cable) -> None:
    lost: list[object] = []
    async with client(link.address, traceparent=lambda: "\ud800") as made:
        made.on_disconnect(lambda: lost.append(None))
        await made.tasks.create({"id": "traced"})
        assert (await made.tasks.find_by_id("traced"))["id"] == "traced"
        assert lost == []


async def test_what_is_called_in_the_middle_of_a_call_must_not_be_async(link: Cable) -> None:
    async def late() -> None: ...

    with pytest.raises(InvalidRequest, match="traceparent must not be async"):
        client(link.address, traceparent=late)
    async with client(link.address) as made:
        with pytest.raises(InvalidRequest, match="condition must not be async"):
            made.tasks.subscribe({}, print, condition=late)
        with pytest.raises(InvalidRequest, match="condition is not a function"):
            made.tasks.subscribe({}, print, condition="no")  # type: ignore[arg-type]


async def test_a_wrong_key_is_refused_once_and_for_all(tmp_path: Path) -> None:
    async with world(tmp_path, api_key="the right key, sixteen long") as (link, _):
        made = client(link.address, api_key="a wrong key")
        errors: list[CollabError] = []
        made.on_error(errors.append)
        with pytest.raises(AuthenticationFailed):
            await made.connect()
        assert [error.type for error in errors] == ["AUTHENTICATION_FAILED"]
        assert link.connections == 1
        async with client(link.address, api_key="the right key, sixteen long") as good:
            assert good.is_connected()


async def test_one_task_may_connect_and_another_disconnect(link: Cable) -> None:
    made = client(link.address)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(made.connect)
    assert made.is_connected()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(made.disconnect)
    assert not made.is_connected()


async def test_it_may_connect_again_and_its_subscriptions_come_along(link: Cable) -> None:
    made = client(link.address)
    rows: list[list[str]] = []
    made.tasks.subscribe({}, lambda found: rows.append(names(found)))
    await made.connect()
    await made.tasks.create({"name": "a"})
    await made.disconnect()
    async with client(link.address) as other:
        await other.tasks.create({"name": "b"})
    await made.connect()
    await until(lambda: sorted(rows[-1]) == ["a", "b"])
    await made.disconnect()


async def test_the_end_is_told_to_whoever_waits(link: Cable) -> None:
    made = client(link.address)
    await made.connect()
    link.requests = False
    calls = [made.tasks.create({"name": "x"}), made.tasks.count()]
    await made.disconnect()
    for call in calls:
        with pytest.raises(ConnectionLost):
            await call
    assert made.pending == 0


@pytest.mark.parametrize("binary", [False, True], ids=["json", "msgpack"])
@pytest.mark.parametrize("compression", [False, True], ids=["plain", "deflate"])
async def test_each_form_of_the_protocol_carries_everything(tmp_path: Path, binary: bool, compression: bool) -> None:
    options = {"binary_protocol": binary, "compression": compression}
    async with world(tmp_path, compression=compression) as (link, _), client(link.address, options) as made:
        text = "é" * 10_000
        created = await made.tasks.create({"name": text, "nested": {"list": [1, 2.5, None, True]}})
        assert await made.tasks.find_by_id(created["id"]) == created
        assert created["nested"] == {"list": [1, 2.5, None, True]}
        async with made.documents.open("d") as document:
            document.doc.get("content", type=pycrdt.Text).insert(0, text)
        assert (await made.documents.find_by_id("d", content=True)).content == {"content": text}


# cuts


async def test_after_a_cut_it_comes_back_and_nothing_was_missed(link: Cable) -> None:
    async with client(link.address) as made, client(link.address) as other:
        told: list[str] = []
        events: list[Event] = []
        rows: list[Rows] = []
        customs: list[int] = []
        errors: list[CollabError] = []
        made.on_disconnect(lambda: told.append("disconnect"))
        made.on_reconnect(lambda: told.append("reconnect"))
        made.on_error(errors.append)
        subscriptions = [
            made.tasks.subscribe("*", events.append),
            made.tasks.subscribe({"order_by": {"name": "asc"}}, rows.append),
            made.events.subscribe("note", lambda event: customs.append(event["n"])),
        ]
        for subscription in subscriptions:
            await subscription.ready()
        await other.tasks.create({"name": "a"})
        await until(lambda: events)
        for n in range(3):
            link.cut()
            await until(other.is_connected)
            await other.tasks.create({"name": f"b{n}"})
            await other.events.emit({"type": "note", "n": n})
            await until(lambda: made.is_connected() and len(events) == 2 + n and len(customs) == 1 + n)  # noqa: B023
        assert told == ["disconnect", "reconnect"] * 3
        assert {error.type for error in errors} == {"CONNECTION_LOST"}
        assert names([event.data for event in events]) == ["a", "b0", "b1", "b2"]
        assert customs == [0, 1, 2]
        await until(lambda: names(rows[-1]) == ["a", "b0", "b1", "b2"])
        assert all(subscription.recovered for subscription in subscriptions)


async def test_writes_without_a_connection_are_shown_at_once_and_made_later_in_order(tmp_path: Path) -> None:
    async with cable() as link:
        async with behind(link, tmp_path):
            made = client(link.address)
            await made.connect()
            rows: list[Rows] = []
            subscription = made.tasks.subscribe({"where": {"open": True}, "order_by": {"n": "asc"}}, rows.append)
            await subscription.ready()
            first = await made.tasks.create({"name": "first", "open": True, "n": 1})
            await until(lambda: rows and rows[-1].versions == [1])
        await until(lambda: not made.is_connected())
        new = made.tasks.create({"name": "new", "open": True, "n": 0})
        made.tasks.update(first["id"], {"n": 5})
        made.tasks.update(first["id"], {"n": 6})
        assert new.entity is not None
        closed = made.tasks.create({"name": "closed", "open": False, "n": 2})
        assert made.pending == 4
        assert [(row["name"], row["n"]) for row in rows[-1]] == [("new", 0), ("first", 6)]
        assert (await made.tasks.find_by_id(new.entity))["name"] == "new"
        async with behind(link, tmp_path):
            await made.saved()
            assert made.pending == 0
            assert (await new).version == 1
            assert (await closed)["open"] is False
            history = await made.tasks.history(first["id"])
            assert [event.version for event in history] == [3, 2, 1]
            assert all(event.conflicts == () for event in history), "own writes are no conflicts"
            await until(lambda: rows[-1].versions == [1, 3])
            assert names(rows[-1]) == ["new", "first"]
            await made.disconnect()


async def test_a_write_whose_answer_was_lost_has_effect_once(link: Cable) -> None:
    async with client(link.address) as made, client(link.address) as other:
        seen: list[Event] = []
        await other.counters.subscribe("*", seen.append).ready()
        counter = await made.counters.create({"n": 0})
        await until(lambda: len(seen) == 1)
        link.answers = False
        write = made.counters.update(counter["id"], {"n": 1})
        async with client(_direct(link)) as direct:
            await until_async(direct, counter["id"], {"n": 1})
        link.cut()
        link.answers = True
        assert (await write).version == 2
        assert [event.version for event in await made.counters.history(counter["id"])] == [2, 1]


def _direct(link: Cable) -> str:
    assert link.target is not None
    return link.target


async def until_async(made: LumenizeClient, entity: str, wanted: dict[str, Any]) -> None:
    with anyio.fail_after(40):
        while not wanted.items() <= (await made.counters.find_by_id(entity)).items():
            await anyio.sleep(0.01)


async def test_a_link_that_is_dead_is_noticed_and_replaced(link: Cable) -> None:
    options = {"heartbeat_interval": 100, "heartbeat_timeout": 100}
    async with client(link.address, options) as made:
        reconnected: list[bool] = []
        made.on_reconnect(lambda: reconnected.append(True))
        link.answers = False
        await until(lambda: not made.is_connected())
        link.answers = True
        await until(lambda: reconnected)
        assert (await made.tasks.create({"name": "x"})).version == 1


async def test_after_the_last_attempt_it_says_so_and_gives_up_what_waits(tmp_path: Path) -> None:
    async with cable() as link:
        failed: list[bool] = []
        options = {"max_attempts": 2, "on_reconnect_failed": lambda: failed.append(True)}
        async with behind(link, tmp_path):
            made = client(link.address, options)
            await made.connect()
        write = made.tasks.create({"name": "x"})
        with pytest.raises(ConnectionLost):
            await write
        await until(lambda: failed == [True])
        assert not made.is_connected()
        async with behind(link, tmp_path):
            await made.connect()
            assert await made.tasks.count() == 0
            await made.disconnect()


async def test_presence_and_channels_come_back_with_the_connection(link: Cable) -> None:
    async with client(link.address) as made, client(_direct(link)) as other:
        rooms: list[Crowd] = []
        heard: list[int] = []
        await other.presence.subscribe("d", rooms.append).ready()

        def states() -> list[dict[str, Any]]:
            return [person.state for person in rooms[-1]] if rooms else []

        await made.events.subscribe("note", lambda event: heard.append(event["n"])).ready()
        await made.events.join("team")
        await made.presence.join("d", {"cursor": 1, "name": "ada"})
        await made.presence.update("d", {"cursor": 2})
        await until(lambda: states() == [{"cursor": 2, "name": "ada"}])
        before = rooms[-1]
        link.cut()
        await until(lambda: rooms[-1] not in ([], before))
        await until(lambda: states() == [{"cursor": 2, "name": "ada"}])
        await made.presence.update("d", {"cursor": 3})
        await until(lambda: states() == [{"cursor": 3, "name": "ada"}])
        await other.events.emit({"type": "note", "n": 1, "channels": ["team"]})
        await until(lambda: heard == [1])
        await made.presence.leave("d")
        await until(lambda: states() == [])


# credentials


async def test_a_token_is_replaced_before_it_ends(tmp_path: Path) -> None:
    async with world(tmp_path, jwt_secret=SECRET) as (link, _):
        given: list[str] = []

        def token() -> str:
            given.append(mint(seconds=5 if not given else 600))
            return given[-1]

        lost: list[bool] = []
        async with client(link.address, token=token) as made:
            made.on_disconnect(lambda: lost.append(True))
            await until(lambda: len(given) == 2)
            await anyio.sleep(5.1)  # the first one has ended by then
            assert (await made.tasks.create({"name": "x"})).version == 1
            assert lost == []


async def test_without_the_next_token_the_session_ends_for_good(tmp_path: Path) -> None:
    async with world(tmp_path, jwt_secret=SECRET) as (link, _):
        errors: list[CollabError] = []
        async with client(link.address, token=mint(seconds=5)) as made:
            made.on_error(errors.append)
            await until(lambda: errors)
            assert [error.type for error in errors] == ["AUTHENTICATION_FAILED"]
            await until(lambda: not made.is_connected())
            with pytest.raises(AuthenticationFailed):
                await made.tasks.count()


async def test_a_function_that_gives_the_last_token_for_a_while_is_asked_again(tmp_path: Path) -> None:
    async with world(tmp_path, jwt_secret=SECRET) as (link, _):
        tokens = [mint(), *[mint(seconds=-60)] * 3, mint()]
        given: list[str] = []

        def source() -> str:
            given.append(tokens[min(len(given), len(tokens) - 1)])
            return given[-1]

        again: list[bool] = []
        async with client(link.address, token=source) as made:
            made.on_reconnect(lambda: again.append(True))
            link.cut()
            await until(lambda: again)
            assert given == tokens


async def test_a_first_token_may_be_late_as_well(tmp_path: Path) -> None:
    async with world(tmp_path, jwt_secret=SECRET) as (link, _):
        tokens = [mint(seconds=-60), mint()]
        async with client(link.address, token=lambda: tokens.pop(0)) as made:
            assert made.is_connected()


async def test_a_function_whose_tokens_are_all_refused_is_not_asked_for_ever(tmp_path: Path) -> None:
    async with world(tmp_path, jwt_secret=SECRET) as (link, _):
        given: list[str] = []

        def source() -> str:
            given.append(mint(seconds=-60))
            return given[-1]

        with pytest.raises(AuthenticationFailed):
            await client(link.address, token=source).connect()
        assert len(given) == 1 + MOST_REFUSALS


async def test_whoever_connects_may_say_who_they_are(tmp_path: Path) -> None:
    async with world(tmp_path, jwt_secret=SECRET) as (link, _):
        made = client(link.address)
        await made.connect(user_id="ada", token=mint("ada"))
        await made.authenticate(mint("ada"))
        events: list[Event] = []
        await made.tasks.subscribe("*", events.append).ready()
        await made.tasks.create({"name": "x"})
        await until(lambda: events)
        assert events[0].user_id == "ada"
        with pytest.raises(AuthenticationFailed):
            await made.authenticate(mint("eve"))
        await made.disconnect()


# errors


async def test_each_refusal_is_an_exception_of_its_code(link: Cable) -> None:
    async with client(link.address) as made:
        with pytest.raises(NotFound):
            await made.tasks.find_by_id("nobody")
        with pytest.raises(InvalidRequest):
            await made.tasks.find_many({"where": {"AND": 5}})
        task = await made.tasks.create({"name": "x"})
        await made.tasks.delete(task["id"])
        with pytest.raises(NotFound):
            await made.tasks.update(task["id"], {"name": "y"})


async def test_what_nobody_awaits_tells_its_error_callback_or_else_the_client(link: Cable) -> None:
    async with client(link.address) as made:
        errors: list[CollabError] = []
        own: list[CollabError] = []
        made.on_error(errors.append)
        made.tasks.update("nobody", {"n": 1})
        await until(lambda: errors)
        made.tasks.update("nobody", {"n": 1}, on_error=own.append)
        await until(lambda: own)
        assert [error.code for error in (*errors, *own)] == ["NOT_FOUND", "NOT_FOUND"]


async def test_too_many_queued_writes_are_refused_at_once(link: Cable) -> None:
    made = client(link.address, {"max_queued_writes": 2})
    await made.connect()
    link.requests = False
    calls = [made.tasks.create({}), made.tasks.create({})]
    with pytest.raises(RateLimitExceeded):
        made.tasks.create({})
    await made.disconnect()
    for call in calls:
        with pytest.raises(ConnectionLost):
            await call


async def test_a_burst_over_the_server_s_rate_is_made_all_the_same(tmp_path: Path) -> None:
    # three at once, and then one in 3 s: a slow machine sends the six in less than that too
    async with world(tmp_path, writes_per_second=0.3) as (link, _), client(link.address) as made:
        errors: list[CollabError] = []
        made.on_error(errors.append)
        calls = [made.tasks.create({"n": n}) for n in range(6)]
        for call in calls:
            await call
        assert await made.tasks.count() == 6
        assert "RATE_LIMIT_EXCEEDED" in {error.type for error in errors}


async def test_a_conflict_is_told_and_the_write_made(link: Cable) -> None:
    async with client(link.address) as made, client(link.address) as other:
        met: list[Met] = []
        made.on_conflict(met.append)
        doc = await other.documents.create({"title": "base", "body": ""})
        seen = await made.documents.find_by_id(doc["id"])
        await other.documents.update(doc["id"], {"title": "theirs"})
        mine = await made.documents.update(doc["id"], {"title": "mine"}, version=seen.version)
        [conflict] = mine.conflicts
        assert (conflict.field, conflict.base, conflict.theirs, conflict.yours) == ("title", "base", "theirs", "mine")
        assert [(each.collection, each.id, each.version) for each in met] == [("documents", doc["id"], 3)]
        with pytest.raises(Conflict) as raised:
            await other.documents.update(doc["id"], {"title": "x"}, version=2, on_conflict="reject")
        assert raised.value.code == "CONFLICT"
        assert raised.value.details["data"]["title"] == "mine"


async def test_a_client_may_refuse_conflicts_by_default(link: Cable) -> None:
    with pytest.raises(InvalidRequest):
        client(link.address, conflicts="fight")
    async with client(link.address, conflicts="reject") as made, client(link.address) as other:
        doc = await other.documents.create({"title": "base"})
        seen = await made.documents.find_by_id(doc["id"])
        await other.documents.update(doc["id"], {"title": "theirs"})
        with pytest.raises(Conflict):
            await made.documents.update(doc["id"], {"title": "mine"}, version=seen.version)
        merged = await made.documents.update(doc["id"], {"title": "mine"}, version=seen.version, on_conflict="merge")
        assert merged["title"] == "mine"


async def test_a_refused_subscription_tells_its_owner_or_else_the_client(tmp_path: Path) -> None:
    token = mint(access={"tasks/*": "read"})
    async with world(tmp_path, jwt_secret=SECRET) as (link, _), client(link.address, token=token) as made:
        own: list[CollabError] = []
        errors: list[CollabError] = []
        made.on_error(errors.append)
        refused = made.secrets.subscribe("*", print, on_error=own.append)
        with pytest.raises(PermissionDenied):
            await refused.ready()
        assert [error.code for error in own] == ["PERMISSION_DENIED"]
        made.secrets.subscribe("*", print)
        await until(lambda: errors)
        assert isinstance(errors[0], SubscriptionFailed)
        assert errors[0].details["cause"] == "PERMISSION_DENIED"
        with pytest.raises(PermissionDenied):
            await made.tasks.create({"name": "x"})


async def test_what_is_larger_than_the_server_takes_is_refused_without_an_end(tmp_path: Path) -> None:
    async with world(tmp_path, max_message_bytes=4096) as (link, _), client(link.address) as made:
        with pytest.raises(TooLarge) as raised:
            await made.tasks.create({"text": "x" * 5000})
        assert raised.value.code == "INVALID_REQUEST"
        assert made.is_connected()
        assert (await made.tasks.create({"text": "x"})).version == 1


async def test_an_edit_that_is_larger_than_the_server_takes_ends_its_document_and_is_not_sent(tmp_path: Path) -> None:
    async with world(tmp_path, max_message_bytes=4096) as (link, collab), client(link.address) as made:
        one, two = made.documents.open("d1"), made.documents.open("d2")
        await one
        await two
        one.awareness.set_local_state({"drawing": "x" * 5000})
        two.doc.get("t", type=pycrdt.Text).insert(0, "y")
        with anyio.fail_after(40):
            await two.until_saved()
        before = collab.metrics.bytes_in
        one.doc.get("t", type=pycrdt.Text).insert(0, "x")
        with anyio.fail_after(40):
            await one.until_saved()
        two.doc.get("t", type=pycrdt.Text).insert(0, "x" * 5000)
        with anyio.fail_after(40), pytest.raises(TooLarge) as raised:
            await two.until_saved()
        assert raised.value.details == {"limit": 4096}
        assert made.is_connected()
        assert (await made.tasks.create({"text": "x"})).version == 1
        assert collab.metrics.bytes_in - before < 1000


# subscriptions as objects


async def test_a_subscription_without_a_callback_is_iterated(link: Cable) -> None:
    async with client(link.address) as made:
        async with made.tasks.subscribe("*") as events, made.tasks.subscribe({}) as lists:
            for n in range(3):
                await made.tasks.create({"name": str(n)})
            with anyio.fail_after(40):
                assert [(await anext(events)).data["name"] for _ in range(3)] == ["0", "1", "2"]
                async for rows in lists:
                    if len(rows) == 3:
                        break
        assert isinstance(events, Subscription)
        assert not events.active
        with pytest.raises(StopAsyncIteration):
            await anext(events)


async def test_what_is_handed_out_may_be_changed_without_harm(link: Cable) -> None:
    async with client(link.address) as made:
        seen: list[Event] = []
        rows: list[Rows] = []

        def spoil(event: Event) -> None:
            event.data["nested"]["n"] = "spoilt"

        def divide(given: Rows) -> None:
            rows.append(given)
            for row in given:
                row["cents"] /= 100
                row["nested"].clear()

        await made.tasks.subscribe("*", spoil).ready()
        await made.tasks.subscribe("*", seen.append).ready()
        await made.tasks.subscribe({}, divide).ready()
        task = await made.tasks.create({"cents": 1000, "nested": {"n": 1}})
        task["nested"]["n"] = "spoilt"
        await made.tasks.update(task["id"], {"other": 1})
        await until(lambda: len(seen) == 2 and rows and rows[-1] and "other" in rows[-1][0])
        assert [event.data["nested"] for event in seen] == [{"n": 1}, {"n": 1}]
        assert rows[-1][0]["cents"] == 10


async def test_an_async_callback_takes_one_value_after_the_other(link: Cable) -> None:
    async with client(link.address) as made:
        seen: list[int] = []
        busy = 0

        async def slow(event: Event) -> None:
            nonlocal busy
            busy += 1
            assert busy == 1
            await anyio.sleep(0.01)
            busy -= 1
            seen.append(event.data["n"])

        await made.tasks.subscribe("*", slow).ready()
        task = await made.tasks.create({"n": 0})
        for n in range(1, 8):
            await made.tasks.update(task["id"], {"n": n})
        await until(lambda: seen == list(range(8)))


async def test_a_callback_that_fails_harms_nobody_else(link: Cable, caplog: pytest.LogCaptureFixture) -> None:
    async with client(link.address) as made:
        seen: list[Event] = []

        def fails(event: Event) -> None:
            raise ZeroDivisionError

        async def fails_later(event: Event) -> None:
            raise ZeroDivisionError

        for callback in (fails, fails_later, seen.append):
            await made.tasks.subscribe("*", callback).ready()
        await made.tasks.create({"n": 1})
        await made.tasks.create({"n": 2})
        await until(lambda: len(seen) == 2)
        await until(lambda: sum("failed" in record.message for record in caplog.records) == 4)


async def test_whoever_does_not_take_events_is_let_go_and_told(link: Cable) -> None:
    async with client(link.address, {"max_buffered": 3}) as made:
        errors: list[CollabError] = []
        events = made.tasks.subscribe("*", on_error=errors.append)
        lists = made.tasks.subscribe({})
        await events.ready()
        await lists.ready()
        for n in range(5):
            await made.tasks.create({"n": n})
        await until(lambda: errors)
        assert errors[0].code == "SUBSCRIPTION_FAILED"
        assert len([await anext(events) for _ in range(3)]) == 3
        with pytest.raises(SubscriptionFailed):
            for _ in range(3):
                await anext(events)
        await until(lambda: len(lists._values[0]) == 5)


async def test_fields_that_were_not_asked_for_are_not_told(link: Cable) -> None:
    async with client(link.address) as made:
        events: list[Event] = []
        rows: list[Rows] = []
        task = await made.tasks.create({"status": "new", "title": "t"})
        await made.tasks.subscribe(task["id"], events.append, fields=["status"]).ready()
        await made.tasks.subscribe({}, rows.append, fields=["id", "status"], include_permissions=True).ready()
        await until(lambda: rows)
        assert rows[-1] == [{"id": task["id"], "status": "new"}]
        assert rows[-1].permissions == [{"read": True, "write": True}]
        await made.tasks.update(task["id"], {"title": "other"})
        await made.tasks.update(task["id"], {"status": "done"})
        await until(lambda: events)
        assert list(events[0].changes) == ["status"]


async def test_a_schema_is_known_and_held(tmp_path: Path) -> None:
    declared = {"tasks": declaration(fields={"type": "object", "properties": {"n": {"type": "integer"}}})}
    async with world(tmp_path, collections=declared) as (link, _), client(link.address) as made:
        schema = await made.refresh_schema()
        assert made.schema == schema
        assert schema["tasks"]["schema"]["properties"] == {"n": {"type": "integer"}}
        with pytest.raises(ValidationFailed) as raised:
            await made.tasks.create({"n": "text"})
        assert raised.value.details["errors"]


async def test_pages_of_a_query_follow_each_other(link: Cable) -> None:
    async with client(link.address) as made:
        for n in range(5):
            await made.tasks.create({"n": n})
        query: dict[str, Any] = {"order_by": {"n": "asc"}, "limit": 2}
        seen: list[int] = []
        page = await made.tasks.find_many(query)
        while page:
            seen += [row["n"] for row in page]
            if page.next is None:
                break
            page = await made.tasks.find_many({**query, "after": page.next})
        assert seen == [0, 1, 2, 3, 4]
        first = await made.tasks.find_many(query)
        assert await made.tasks.find_by_id(first[0]["id"], version=1) == first[0]
