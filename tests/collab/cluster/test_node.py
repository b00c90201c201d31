"""Servers of one cluster, on a real PostgreSQL and a real Valkey: events reach everybody, whatever Valkey does."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from collab import Collab, Settings
from collab.bus.redis import RedisBus
from collab.client import Event, LumenizeClient, Rows
from collab.cluster.follow import ClusterFeed
from collab.consumers.webhook import Webhook
from collab.errors import Unavailable
from collab.event import EntityEvent
from collab.storage.postgres.storage import PostgresStorage
from tests.collab.client.world import client, until
from tests.collab.cluster.feeds import PROJECT, Node, running, upto
from tests.collab.consumers.receiver import Receiver
from tests.collab.server.http.api.events import stream
from tests.collab.serving import serving
from tests.postgres import PostgresServer
from tests.valkey import ValkeyProcess
from tests.valkey import serving as valkey_serving

SECRET = "whsec_" + "c2VjcmV0" * 4


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    with postgres.records() as lend:
        yield lend()


@pytest.fixture
def valkey() -> Iterator[ValkeyProcess]:
    """One that may be killed and frozen."""
    with valkey_serving() as server:
        yield server


@asynccontextmanager
async def servers(
    database: str, redis: str, count: int = 2, **more: Any
) -> AsyncIterator[Sequence[tuple[Collab, LumenizeClient, str]]]:
    """Servers of one cluster, each with a client and its address."""
    async with AsyncExitStack() as stack:
        made = []
        for number in range(count):
            settings = Settings(database=database, redis=redis, node_url=f"http://127.0.0.1:{number + 1}", **more)
            app = Collab(settings)
            address = await stack.enter_async_context(serving(app))
            made.append((app, await stack.enter_async_context(client(address)), address))
        yield made


async def test_events_and_rows_of_one_node_reach_the_clients_of_another(database: str, redis: ValkeyProcess) -> None:
    async with servers(database, redis.url) as ((one, _, _), (two, bob, _)):
        events: list[Event] = []
        await bob.tasks.subscribe("*", events.append).ready()
        seen: list[Rows] = []
        rows = bob.tasks.subscribe({"orderBy": {"n": "asc"}}, seen.append)
        await rows.ready()
        own: list[EntityEvent] = []
        others: list[EntityEvent] = []
        one.collection("tasks").on(own.append)
        two.collection("tasks").on(others.append)
        for number in range(5):
            await one.collection("tasks").create({"n": number}, id=f"t{number}")
        await two.collection("tasks").create({"n": 5}, id="t5")
        await until(lambda: len(events) == 6 and bool(seen) and len(seen[-1]) == 6)
        assert [event.id for event in events] == [f"t{number}" for number in range(6)]
        assert [row["n"] for row in seen[-1]] == [*range(6)]
        await until(lambda: len(own) == 5 and len(others) == 1)
        assert [event.id for event in own] == [f"t{number}" for number in range(5)], "each event has one handler"
        assert isinstance(two.hub.feed, ClusterFeed)
        assert two.hub.feed.projects == ["default"]
        assert two.hub.feed.junk == 0


async def test_who_hears_of_a_write_on_his_node_has_been_sent_its_event_also_without_redis(
    database: str, valkey: ValkeyProcess
) -> None:
    async with servers(database, valkey.url) as ((one, _, _), (_, bob, _)):
        events: list[Event] = []
        await bob.tasks.subscribe("*", events.append).ready()
        await one.collection("tasks").create({"n": 0}, id="t0")
        valkey.kill()
        await one.collection("tasks").create({"n": 1}, id="t1")
        await bob.tasks.create({"n": 2}, id="t2")
        assert [event.id for event in events] == ["t0", "t1", "t2"]
        await one.collection("tasks").create({"n": 3}, id="t3")
        await until(lambda: len(events) == 4)
        valkey.start()
        await one.collection("tasks").create({"n": 4}, id="t4")
        await until(lambda: len(events) == 5)
        assert [event.data["n"] for event in events] == [*range(5)]


async def test_a_stream_goes_on_at_another_node_that_has_not_heard_of_its_last_event(
    database: str, valkey: ValkeyProcess
) -> None:
    tasks = "api/v1/collections/tasks"
    async with (
        servers(database, valkey.url) as ((one, _, here), (_, bob, there)),
        httpx.AsyncClient() as api,
        stream(api, f"http://{here}/{tasks}/subscribe") as first,
    ):
        await bob.tasks.subscribe("*", lambda event: None).ready()  # so the other node follows already
        await asyncio.to_thread(valkey.kill)
        for number in range(1, 4):
            await one.collection("tasks").create({"n": number}, id=f"t{number}")
        cursors = [(await first.until("event")).id for _ in range(3)]
        for seen, missed in ((3, ["t1/2"]), (1, ["t2/1", "t3/1", "t1/2", "t1/3"])):
            headers = {"last-event-id": cursors[seen - 1] or ""}
            async with stream(api, f"http://{there}/{tasks}/subscribe", headers=headers) as again:
                assert (await again.next()).data.get("recovered", True)
                await one.collection("tasks").update("t1", {"n": seen})
                events = [(await again.until("event")).data["event"] for _ in missed]
                assert [f"{event['id']}/{event['version']}" for event in events] == missed


async def test_a_webhook_goes_on_at_another_node_when_its_own_is_stopped(database: str, redis: ValkeyProcess) -> None:
    receiver = Receiver()
    await receiver.start()
    webhook = Webhook(name="crm", url=receiver.url, secret=SECRET)
    async with servers(database, redis.url, 1, webhooks=(webhook,)) as ((stays, _, _),):
        assert stays._node is not None
        while "webhook:crm" not in stays._node.jobs.held:
            await asyncio.sleep(0.01)
        async with servers(database, redis.url, 1, webhooks=(webhook,)) as ((goes, _, _),):
            for number in range(3):
                await goes.collection("tasks").create({"n": number}, id=f"a{number}")
            await receiver.until("a0/1", "a1/1", "a2/1")
            assert "webhook:crm" in stays._node.jobs.held
            async with servers(database, redis.url, 1, webhooks=(webhook,)) as ((third, _, _),):
                await stays.drain()
                for number in range(3):
                    await third.collection("tasks").create({"n": number}, id=f"b{number}")
                await receiver.until(*(f"{letter}{number}/1" for letter in "ab" for number in range(3)))
        assert sorted(delivery.name for delivery in receiver.came) == [
            f"{letter}{number}/1" for letter in "ab" for number in range(3)
        ], "none twice: the position was saved"
    await receiver.stop()


async def test_every_subscriber_sees_each_position_once_in_order_while_valkey_dies_and_freezes(
    database: str, valkey: ValkeyProcess
) -> None:
    chance = random.Random(7)
    nodes = [
        Node(f"n{number}", PostgresStorage(database, opens="join"), RedisBus(valkey.url, echo_seconds=0.1))
        for number in range(3)
    ]

    async def write(node: Node) -> None:
        for _ in range(60):
            event = await node.write(chance.randrange(5))
            assert event.position in node.seen[PROJECT]
            await asyncio.sleep(chance.random() * 0.03)

    async def trouble(done: asyncio.Event) -> None:
        while not done.is_set():
            await asyncio.sleep(0.2)
            await asyncio.to_thread(valkey.kill)
            await asyncio.sleep(0.2)
            await asyncio.to_thread(valkey.start)
            await asyncio.sleep(0.4)
            valkey.freeze()
            await asyncio.sleep(0.3)
            valkey.thaw()

    async with running(*nodes), asyncio.timeout(120):
        for node in nodes:
            await node.feed.follow(PROJECT)
        done = asyncio.Event()
        troubling = asyncio.create_task(trouble(done))
        await asyncio.gather(*(write(node) for node in nodes))
        done.set()
        await troubling
        for node in nodes:
            assert await node.feed.reached(PROJECT, 180)
            assert node.seen[PROJECT] == upto(180)
        assert sorted(position for node in nodes for position in node.own[PROJECT]) == upto(180)
        assert sum(node.feed.filled for node in nodes), "something was lost"


async def test_a_node_shows_what_it_knows_of_the_cluster_and_is_ready_without_redis(
    database: str, valkey: ValkeyProcess
) -> None:
    async with servers(database, valkey.url) as ((one, _, _), (two, bob, _)):
        await bob.tasks.subscribe("*", lambda event: None).ready()
        await one.collection("tasks").create({"n": 0}, id="t0")
        await until(lambda: len(one._node.membership.others) == 1 if one._node is not None else False)

        def shown(app: Collab) -> dict[str, float]:
            lines = [line.split() for line in app.metrics.render().decode().splitlines() if line[:1] != "#"]
            return {name: float(value) for name, value in lines}

        assert shown(one)["collab_nodes"] == shown(two)["collab_nodes"] == 2
        assert shown(two)["collab_projects_followed"] == 1
        assert shown(one)["collab_bus_lost"] == 0
        assert shown(one)["collab_deaths_declared_total"] == 0
        assert shown(one)["collab_jobs"] + shown(two)["collab_jobs"] >= 1
        assert await readiness(two) == (200, "ready\n")
        valkey.kill()
        await until(lambda: shown(two)["collab_bus_lost"] == 1)
        assert await readiness(two) == (200, "ready, but Redis does not answer\n")
        valkey.start()
        await until(lambda: shown(two)["collab_bus_lost"] == 0)


async def test_custom_events_of_one_node_reach_the_clients_of_another_which_resume_anywhere(
    database: str, valkey: ValkeyProcess
) -> None:
    async with servers(database, valkey.url) as ((one, ada, here), (two, bob, there)):
        await until(lambda: not lost(one) and not lost(two))
        async with Listener.at(there) as listener:
            assert (await listener.subscribe())["recovered"]
            await ada.events.emit({"type": "done", "n": 1})
            cursor = (await listener.event(1))["cursor"]
        await one.events.emit("default", {"type": "done", "n": 2})
        await bob.events.emit({"type": "done", "n": 3})
        async with Listener.at(here) as listener:
            assert (await listener.subscribe(cursor))["recovered"]
            await listener.event(2)
            await listener.event(3)
            async with httpx.AsyncClient() as api:
                for address in (here, there):
                    sent = await api.post(
                        f"http://{address}/api/v1/events",
                        json={"type": "done", "n": 4},
                        headers={"idempotency-key": "once"},
                    )
                    assert sent.status_code == 200
            await ada.events.emit({"type": "done", "n": 5})
            await listener.event(4)
            await listener.event(5)


async def test_without_redis_custom_events_are_refused_and_clients_learn_what_they_may_have_missed(
    database: str, valkey: ValkeyProcess
) -> None:
    async with servers(database, valkey.url) as ((one, ada, _), (two, bob, there)):
        await until(lambda: not lost(one) and not lost(two))
        heard: list[int] = []
        resyncs: list[bool] = []
        subscription = bob.events.subscribe(
            "done", lambda event: heard.append(event["n"]), on_resync=lambda: resyncs.append(True)
        )
        await subscription.ready()
        await ada.events.emit({"type": "done", "n": 1})
        await until(lambda: heard == [1])
        await asyncio.to_thread(valkey.kill)
        await until(lambda: lost(one) and lost(two))
        with pytest.raises(Unavailable):
            await ada.events.emit({"type": "done", "n": 2})
        with pytest.raises(Unavailable):
            await one.events.emit("default", {"type": "done", "n": 2})
        async with Listener.at(there) as listener:
            assert (await listener.subscribe())["recovered"], "who comes anew has missed nothing yet"
        await asyncio.to_thread(valkey.start)
        await until(lambda: not lost(one) and not lost(two))
        await until(lambda: resyncs == [True])
        await ada.events.emit({"type": "done", "n": 3})
        await until(lambda: heard == [1, 3])


@pytest.mark.parametrize("with_redis", [True, False])
async def test_changed_rights_take_effect_at_the_other_nodes(
    database: str, valkey: ValkeyProcess, with_redis: bool
) -> None:
    if not with_redis:
        await asyncio.to_thread(valkey.kill)
    async with servers(database, valkey.url) as ((one, _, _), (two, bob, _)):
        heard: list[str] = []
        await bob.system.subscribe("permissions_changed", lambda event: heard.append(event["resourceId"])).ready()
        await until(lambda: lost(one) == lost(two) == (not with_redis))
        await one.permissions_changed(resource="tasks/t1")
        await until(lambda: heard == ["tasks/t1"])


async def test_active_users_are_those_of_all_nodes(database: str, redis: ValkeyProcess) -> None:
    async with servers(database, redis.url) as ((one, ada, _), (two, bob, there)):
        await until(lambda: not lost(one) and not lost(two))
        await ada.connect()
        counts: list[float] = []
        await bob.analytics.subscribe("active_users", counts.append).ready()
        await until(lambda: counts[-1:] == [2])
        async with Listener.at(there):
            await until(lambda: counts[-1:] == [3])
        await ada.disconnect()
        await until(lambda: counts[-1:] == [1])


def lost(app: Collab) -> bool:
    assert app._node is not None
    return app._node.bus.lost


class Listener:
    """A session on ``/realtime`` that subscribes to the custom events ``done``."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    @classmethod
    @asynccontextmanager
    async def at(cls, address: str) -> AsyncIterator[Listener]:
        async with connect(f"ws://{address}/realtime") as socket:
            await socket.send(json.dumps({"type": "hello"}))
            listener = cls(socket)
            await listener._until("welcome")
            yield listener

    async def subscribe(self, cursor: str | None = None) -> dict[str, Any]:
        target = {"kind": "custom", "event": "done"} | ({"cursor": cursor} if cursor is not None else {})
        subscriptions = [{"sub": 1, "target": target}]
        await self._socket.send(json.dumps({"type": "subscribe", "id": 1, "subscriptions": subscriptions}))
        (subscribed,) = (await self._until("reply"))["result"]
        return {"recovered": True, **subscribed}

    async def event(self, n: int) -> dict[str, Any]:
        """The next event, which must be this one."""
        told = await self._until("custom")
        assert told["event"]["n"] == n
        return told

    async def _until(self, kind: str) -> dict[str, Any]:
        async with asyncio.timeout(40):
            while True:
                message: dict[str, Any] = json.loads(await self._socket.recv())
                assert message["type"] != "failure", message
                if message["type"] == kind:
                    return message


async def readiness(app: Collab) -> tuple[int, str]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http:
        answer = await http.get("/readyz")
        return answer.status_code, answer.text
