"""Calls between servers on a real PostgreSQL and a real Valkey."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pycrdt
import pytest

from tests.collab.cluster.entries import Http, Realtime
from tests.collab.cluster.nodes_world import World, cluster, until
from tests.postgres import PostgresServer
from tests.valkey import ValkeyProcess

ALL = {"*/*": "write"}


@pytest.fixture
async def world(postgres: PostgresServer, redis: ValkeyProcess) -> AsyncIterator[World]:
    with postgres.records() as lend:
        async with cluster(
            3, database=lend(), redis=redis.url, jwt_secret="s" * 32, content_event_seconds=0.05
        ) as found:
            assert await found.nodes[1].owns("tasks/t1")
            yield found


async def test_what_one_node_owns_is_used_through_the_others(world: World) -> None:
    edge, owner, third = world.nodes
    entry, other = Http(edge, "ann", ALL), Http(third, "bob", ALL)
    session = await Realtime.open(third, "bob", ALL)
    await session.call("subscribe", subscriptions=[{"sub": 1, "target": {"kind": "entities", "collection": "tasks"}}])
    await session.call("subscribe", subscriptions=[{"sub": 2, "target": {"kind": "presence", "room": "tasks/t1"}}])
    assert (await entry.call("create", body={"id": "t1", "n": 0}))["version"] == 1
    assert (await other.call("update", id="t1", body={"changes": {"n": 1}}))["version"] == 2
    event = await session.until(lambda message: message["type"] == "event" and message["event"]["version"] == 2)
    assert event["event"]["changes"] == {"n": {"from": 0, "to": 1}}
    async with edge.collab.room("tasks/t1").edit("ann") as doc:
        doc["t"] = pycrdt.Text("words")
    await session.until(lambda message: message["type"] == "event" and "t" in message["event"]["changes"])
    assert (await other.call("read", id="t1", params={"content": "true"}))["content"] == {"t": "words"}
    await (ann := await Realtime.open(edge, "ann", ALL)).call("joinPresence", room="tasks/t1", state={"cursor": 1})
    people = await session.until(lambda message: message["type"] == "presence" and bool(message["people"]))
    assert people["people"][0]["userId"] == "ann"
    assert [node.has_open("tasks/t1") for node in world.nodes] == [False, True, False]

    await world.kill(owner)
    assert (await entry.call("update", id="t1", body={"changes": {"n": 2}}))["version"] >= 4
    assert await other.document("tasks/t1", format="text") == b"words"
    await until(lambda: sum(node.has_open("tasks/t1") for node in (edge, third)) == 1)
    await session.until(lambda message: message["type"] == "presence" and message.get("complete", False))
    assert (await other.call("present", id="t1"))["count"] == 1
    assert (await other.call("delete", id="t1", params={"erase": "true"}))["data"] == {"id": "t1"}
    for one in (ann, session, entry, other):
        await one.close()
