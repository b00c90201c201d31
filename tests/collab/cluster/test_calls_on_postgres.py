"""Calls between servers on a real PostgreSQL and a real Valkey."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pycrdt
import pytest

from collab.names import RoomKey
from collab.rooms.live.quarantine import ENDED_A_WORKER
from collab.server.quarantined import list_quarantine
from collab.storage.base import SetAside
from tests.collab.cluster.entries import Http, Realtime
from tests.collab.cluster.nodes_world import World, cluster, until
from tests.collab.server.command_line import run
from tests.postgres import PostgresServer
from tests.valkey import ValkeyProcess

ALL = {"*/*": "write"}


@pytest.fixture
async def world(postgres: PostgresServer, redis: ValkeyProcess) -> AsyncIterator[World]:
    with postgres.records() as lend:
        async with cluster(
            3, database=lend(), redis=redis.url, jwt_secret="s" * 32, content_event_seconds=0.05
        ) as found:
            await found.nodes[1].opens("tasks/t1")
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


async def test_a_quarantined_edit_is_released_by_the_node_that_owns_its_document(world: World) -> None:
    edge, owner, _ = world.nodes
    url = edge.collab.settings.location
    await owner.collab.room("tasks/t1").apply(edit_of(1, "first"))
    aside = SetAside(RoomKey("default", "tasks", "t1"), None, edit_of(2, "second"), f"{ENDED_A_WORKER}: signal 9", 1.0)
    await edge.storage.set_aside(aside)
    (found,) = await list_quarantine(url)
    done = await asyncio.to_thread(run, "quarantine", "release", str(found.number), "--database", url)
    assert (done.exit_code, done.stderr) == (0, "")
    assert await list_quarantine(url) == []
    assert [node.has_open("tasks/t1") for node in world.nodes] == [False, True, False]
    text = await edge.collab.room("tasks/t1").text("t")
    assert sorted(text.split()) == ["first", "second"]


def edit_of(client: int, word: str) -> bytes:
    doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=client)
    doc.get("t", type=pycrdt.Text).insert(0, f"{word} ")
    return doc.get_update()
