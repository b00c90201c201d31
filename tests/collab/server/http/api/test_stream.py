"""Subscriptions as server-sent events: nothing is missed, nothing is told to who may not know it, all have an end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import time
from typing import Any

import anyio
import httpx
import msgspec
import pytest
from starlette.types import Message

from collab import Collab, Hooks, Request, Settings
from collab.access.identity import Identity
from collab.access.rules import Access, parse_rules
from collab.errors import CollabError, EntityDeleted, InvalidName, RateLimitExceeded, TooLarge, ValidationFailed
from collab.query.query import EVERYTHING, Condition
from collab.query.steps import apply_steps
from collab.realtime.session.session import SessionLimits
from collab.server.http.api.stream import EventStream
from collab.wire.realtime.values import Entities, Step
from tests.collab.server.http.api.conftest import client, token
from tests.collab.server.http.api.events import stream
from tests.collab.serving import serving

TASKS = "/collections/tasks"


async def gone(collab: Collab) -> None:
    """Until no stream is open."""
    with anyio.fail_after(40):
        while len(collab.api):
            await asyncio.sleep(0.01)


async def test_from_the_moment_of_the_answer_every_event_comes(api: httpx.AsyncClient) -> None:
    async with stream(api, f"{TASKS}/subscribe") as events:
        subscribed = await events.next()
        assert subscribed.kind == "subscribed"
        assert subscribed.id == subscribed.data["cursor"]
        await api.post(TASKS, json={"id": "t1", "title": "Write"})
        await api.patch(f"{TASKS}/t1", json={"changes": {"title": "Read"}})
        await api.delete(f"{TASKS}/t1")
        told = [await events.next() for _ in range(3)]
        assert [each.data["event"]["type"] for each in told] == ["created", "updated", "deleted"]
        assert told[1].data["event"]["changes"] == {"title": {"from": "Write", "to": "Read"}}
        assert [each.id for each in told] == [each.data["cursor"] for each in told]


async def test_one_entity_and_some_fields_may_be_chosen(api: httpx.AsyncClient) -> None:
    await api.post(TASKS, json={"id": "t1", "title": "Write", "status": "open"})
    chosen = {"entity": "t1", "fields": "status", "includePermissions": "1"}
    async with stream(api, f"{TASKS}/subscribe", params=chosen) as events:
        await events.until("subscribed")
        await api.post(TASKS, json={"id": "t2"})
        await api.patch(f"{TASKS}/t1", json={"changes": {"title": "Read"}})
        await api.patch(f"{TASKS}/t1", json={"changes": {"status": "done"}})
        told = (await events.next()).data
        assert told["event"]["changes"] == {"status": {"from": "open", "to": "done"}}
        assert set(told["event"]["data"]) == {"id", "status"}
        assert told["permissions"] == {"read": True, "write": True}


async def test_a_client_that_comes_back_is_told_what_it_missed(api: httpx.AsyncClient) -> None:
    async with stream(api, f"{TASKS}/subscribe") as events:
        await events.until("subscribed")
        await api.post(TASKS, json={"id": "t1", "title": "Write"})
        last = (await events.next()).id
        assert last is not None
    await api.patch(f"{TASKS}/t1", json={"changes": {"title": "Read"}})
    async with stream(api, f"{TASKS}/subscribe", headers={"last-event-id": last}) as events:
        assert (await events.next()).data.get("recovered", True)
        assert (await events.next()).data["event"]["changes"]["title"]["to"] == "Read"


async def test_a_client_whose_last_event_is_not_known_is_told_to_read_anew(api: httpx.AsyncClient) -> None:
    async with stream(api, f"{TASKS}/subscribe", headers={"last-event-id": "elsewhere.7"}) as events:
        assert (await events.next()).data["recovered"] is False


async def test_rows_come_first_and_then_steps_to_the_next_rows(api: httpx.AsyncClient) -> None:
    for name, rank in (("a", 1), ("b", 2)):
        await api.post(TASKS, json={"id": name, "rank": rank})
    asked = {"kind": "rows", "where": '{"rank": {"gte": 1}}', "orderBy": "-rank", "limit": "2", "fields": "rank"}
    async with stream(api, f"{TASKS}/subscribe", params=asked) as events:
        await events.until("subscribed")
        first = (await events.next()).data
        assert [row["id"] for row in first["rows"]] == ["b", "a"]
        await api.post(TASKS, json={"id": "c", "rank": 3})
        diff = await events.until("diff")
        steps = [msgspec.convert(step, Step) for step in diff.data["steps"]]
        assert [row["id"] for row in apply_steps(first["rows"], steps)] == ["c", "b"]


async def test_a_row_that_is_hidden_from_the_caller_is_never_told_of(address: str, api: httpx.AsyncClient) -> None:
    await api.post(TASKS, json={"id": "t1", "owner": "bob", "secret": "a"})
    own = {"tasks/*": {"access": "read", "where": {"owner": "$userId"}}}
    async with client(address, token("bob", access=own)) as bob, stream(bob, f"{TASKS}/subscribe") as events:
        await events.until("subscribed")
        await api.post(TASKS, json={"id": "t2", "owner": "eve"})
        await api.patch(f"{TASKS}/t1", json={"changes": {"owner": "eve", "secret": "b"}})
        told = (await events.next()).data["event"]
        assert (told["type"], told["id"], told["data"]) == ("deleted", "t1", {"id": "t1"})


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({"kind": "people"}, 400),
        ({"kind": "rows", "entity": "t1"}, 400),
        ({"where": "{}"}, 400),
        ({"kind": "rows", "where": '{"a": {"lt": true}}'}, 400),
        ({"fields": ",".join(["x"] * 1000)}, 400),
        ({"entity": "a/b"}, 404),
    ],
)
async def test_what_cannot_be_subscribed_to_is_refused_before_the_stream_begins(
    api: httpx.AsyncClient, collab: Collab, params: dict[str, str], status: int
) -> None:
    response = await api.get(f"{TASKS}/subscribe", params=params)
    assert response.status_code == status, response.text
    assert response.json()["error"]["code"] == "INVALID_REQUEST"
    assert len(collab.api) == 0


async def test_who_may_not_read_a_collection_is_refused(address: str, collab: Collab) -> None:
    async with client(address, token("bob", access={"users/*": "read"})) as bob:
        response = await bob.get(f"{TASKS}/subscribe")
        assert (response.status_code, response.json()["error"]["code"]) == (403, "PERMISSION_DENIED")
    assert len(collab.api) == 0


async def test_a_quiet_stream_shows_that_it_lives(api: httpx.AsyncClient) -> None:
    async with stream(api, f"{TASKS}/subscribe") as events:
        await events.until("subscribed")
        waiting = asyncio.create_task(events.next())
        with anyio.fail_after(40):
            while events.comments < 2:
                await asyncio.sleep(0.01)
        await api.post(TASKS, json={"id": "t1"})
        assert (await waiting).kind == "event"


async def test_a_client_that_goes_is_forgotten(api: httpx.AsyncClient, collab: Collab) -> None:
    async with stream(api, f"{TASKS}/subscribe") as events:
        await events.until("subscribed")
        assert len(collab.api) == 1
        assert len(collab.hub.entities) == 1
    await gone(collab)
    assert len(collab.hub.entities) == 0


async def test_the_stream_ends_with_the_token(address: str, collab: Collab) -> None:
    short = token("bob", exp=time() - 1)  # a token is accepted 5 s longer than it says
    async with client(address, short) as bob, stream(bob, f"{TASKS}/subscribe") as events:
        await events.until("subscribed")
        failure = await events.until("failure")
        assert failure.data["error"]["code"] == "AUTHENTICATION_FAILED"
        with pytest.raises(EOFError):
            await events.next()
    await gone(collab)


async def test_a_server_that_goes_down_says_so_and_takes_no_more(api: httpx.AsyncClient, collab: Collab) -> None:
    async with stream(api, f"{TASKS}/subscribe") as events:
        await events.until("subscribed")
        collab.api.drain()
        failure = await events.until("failure")
        assert failure.data["error"]["retryable"]
        with pytest.raises(EOFError):
            await events.next()
        assert (await api.get(f"{TASKS}/subscribe")).status_code == 503


class Taker:
    """A client of the response itself, which takes no more than it wants to."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.taking = asyncio.Event()
        self.taking.set()

    async def receive(self) -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(self, message: Message) -> None:
        await self.taking.wait()
        self.sent.append(message)

    @property
    def bytes(self) -> int:
        return sum(len(message.get("body", b"")) for message in self.sent)


def eve(collab: Collab, counts: list[int], expires_at: float | None = None, **limits: Any) -> EventStream:
    identity = Identity("default", "eve", rules=parse_rules({"*/*": "write"}), expires_at=expires_at)
    return EventStream(
        collab.hub,
        identity,
        limits=SessionLimits(**limits),
        stall_seconds=0.5,
        enter=lambda: counts.append(1),
        leave=lambda: counts.append(-1),
    )


async def test_a_client_that_takes_nothing_holds_little_and_is_given_up(api: httpx.AsyncClient, collab: Collab) -> None:
    counts: list[int] = []
    response = eve(collab, counts, outbox_bytes=4096)
    await response.open(Entities(collection="tasks"))
    taker = Taker()
    serving = asyncio.create_task(response({"type": "http"}, taker.receive, taker.send))
    with anyio.fail_after(40):
        while taker.bytes == 0:
            await asyncio.sleep(0.01)
    taker.taking.clear()
    await api.post(TASKS, json={"id": "t1", "text": "x" * 1000})
    with anyio.fail_after(40):
        await serving
    assert sum(counts) == 0
    assert len(counts) == 2
    assert len(collab.hub.entities) == 0


async def test_a_slow_client_is_told_much_as_little(api: httpx.AsyncClient, collab: Collab) -> None:
    response = eve(collab, [], outbox_bytes=1024, events_per_second=0)
    await response.open(Entities(collection="tasks"))
    for number in range(50):
        body = {"changes": {"n": number}} if number else {"id": "t1", "n": 0, "text": "x" * 500}
        await (api.patch(f"{TASKS}/t1", json=body) if number else api.post(TASKS, json=body))
    taker = Taker()
    serving = asyncio.create_task(response({"type": "http"}, taker.receive, taker.send))
    with anyio.fail_after(40):
        while b'"to":49' not in b"".join(message.get("body", b"") for message in taker.sent):
            await asyncio.sleep(0.01)
    assert taker.bytes < 6000
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert len(collab.hub.entities) == 0


async def test_a_stream_that_is_never_quiet_ends_with_the_token_too(address: str, collab: Collab) -> None:
    response = eve(collab, [], expires_at=time() + 0.2)
    await response.open(Entities(collection="tasks"))
    sent: list[Message] = []

    async def send(message: Message) -> None:
        """The client is so slow that there is more whenever it has taken something."""
        sent.append(message)
        await collab.collection("tasks").create({"n": len(sent)})

    with anyio.fail_after(40):
        await response({"type": "http"}, Taker().receive, send)
    assert b"AUTHENTICATION_FAILED" in sent[-1]["body"]


async def test_a_stream_over_the_limits_is_refused_and_counted_once(address: str, collab: Collab) -> None:
    def full() -> None:
        raise RateLimitExceeded("too many sessions of this user")

    left: list[int] = []
    response = EventStream(
        collab.hub,
        Identity("default", "eve", rules=parse_rules({"*/*": "write"})),
        limits=SessionLimits(),
        stall_seconds=1,
        enter=full,
        leave=lambda: left.append(1),
    )
    with pytest.raises(CollabError) as refused:
        await response.open(Entities(collection="tasks"))
    assert refused.value.http_status == 429
    assert left == []


async def test_under_uvicorn_a_stream_is_the_same(collab: Collab) -> None:
    async with serving(collab, "uvicorn") as address, client(address) as api:
        async with stream(api, f"{TASKS}/subscribe") as events:
            await events.until("subscribed")
            await api.post(TASKS, json={"id": "t1"})
            assert (await events.next()).data["event"]["id"] == "t1"
        await gone(collab)


async def test_rights_that_are_taken_away_end_the_stream(tmp_path: Path) -> None:
    rights = {"eve": Access.READ}

    class Changing(Hooks):
        async def authenticate(self, request: Request) -> Identity | None:
            return Identity("default", "eve", rules=parse_rules({"system/*": "write"}))

        async def visible(self, identity: Identity, collection: str) -> Condition | None:
            return EVERYTHING if rights["eve"] else None

    collab = Collab(Settings(data=str(tmp_path)), hooks=Changing())
    async with serving(collab) as address, client(address) as api:
        async with stream(api, f"{TASKS}/subscribe") as events:
            await events.until("subscribed")
            rights["eve"] = Access.NONE
            assert (await api.post("/permissions-changed", json={})).status_code == 202
            assert (await events.until("failure")).data["error"]["code"] == "PERMISSION_DENIED"
        await gone(collab)


@pytest.mark.parametrize("params", [{}, {"kind": "rows"}])
async def test_a_malformed_name_is_refused_with_the_same_error_as_a_list_of_it(
    api: httpx.AsyncClient, collab: Collab, params: dict[str, str]
) -> None:
    listed = await api.get("/collections/no!name")
    subscribed = await api.get("/collections/no!name/subscribe", params=params)
    assert listed.status_code == 404
    assert (subscribed.status_code, subscribed.json()) == (listed.status_code, listed.json())
    assert len(collab.api) == 0


ERRORS = [
    InvalidName("not a name", id="?"),
    EntityDeleted("it was deleted", version=3),
    TooLarge("too large", limit=10),
    ValidationFailed("not like its schema", errors={"title": "is missing"}),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_a_refused_subscription_and_one_that_ends_report_the_error_that_a_list_reports(
    tmp_path: Path, error: CollabError
) -> None:
    refusing: list[CollabError] = []

    class Refusing(Hooks):
        async def authenticate(self, request: Request) -> Identity | None:
            return Identity("default", "eve", rules=parse_rules({"system/*": "write"}))

        async def visible(self, identity: Identity, collection: str) -> Condition | None:
            for error in refusing:  # a new one: the traceback of a parameter would keep what it was raised in
                raise type(error)(error.message, **error.details)
            return EVERYTHING

    collab = Collab(Settings(data=str(tmp_path)), hooks=Refusing())
    async with serving(collab) as address, client(address) as api:
        async with stream(api, f"{TASKS}/subscribe") as events:
            await events.until("subscribed")
            refusing.append(error)
            assert (await api.post("/permissions-changed", json={})).status_code == 202
            ended = await events.until("failure")
            with pytest.raises(EOFError):
                await events.next()
        listed = await api.get(TASKS)
        subscribed = await api.get(f"{TASKS}/subscribe")
        assert (listed.status_code, listed.json()["error"]["code"]) == (error.http_status, error.code)
        assert (subscribed.status_code, subscribed.json()) == (listed.status_code, listed.json())
        assert ended.data["error"] == listed.json()["error"]
        await gone(collab)


async def test_a_server_that_goes_down_does_not_wait_for_a_subscription_that_is_being_opened(tmp_path: Path) -> None:
    begun = asyncio.Event()

    class Slow(Hooks):
        async def authenticate(self, request: Request) -> Identity | None:
            return Identity("default", "eve", rules=parse_rules({"*/*": "write"}))

        async def visible(self, identity: Identity, collection: str) -> Condition | None:
            begun.set()
            await asyncio.Event().wait()
            return EVERYTHING

    collab = Collab(Settings(data=str(tmp_path)), hooks=Slow())
    async with serving(collab) as address, client(address) as api:
        asked = asyncio.create_task(api.get(f"{TASKS}/subscribe"))
        await begun.wait()
        collab.api.drain()
        assert (await asked).status_code == 503
        await gone(collab)
