"""A Hocuspocus client is told that its edits are saved when they are, and not before."""

from __future__ import annotations

import asyncio

import httpx
import pycrdt
import pytest

from tests.e2e.node import Kind, Node
from tests.e2e.server import Server, nothing_can_be_committed

HOCUSPOCUS: tuple[Kind, ...] = ("hocuspocus-3", "hocuspocus-4")


@pytest.mark.parametrize("kind", HOCUSPOCUS)
async def test_s1_unsynced_changes_reach_zero_only_when_the_edit_is_committed(
    node: Node, server: Server, room: str, kind: Kind
) -> None:
    writer = await node.client("writer", kind, server, room)
    reader = await node.client("reader", "y-websocket-3", server, room)
    await writer.wait(synced=True, unsynced=0)
    await reader.wait(synced=True)
    with nothing_can_be_committed(server):
        await writer.insert("seen at once")
        await reader.wait(text="seen at once")
        assert (await writer.summary())["unsynced"] == 1
        await writer.insert(", by all")
        await reader.wait(text="seen at once, by all")
        assert (await writer.summary())["unsynced"] == 2
    await writer.wait(unsynced=0)


@pytest.mark.parametrize("kind", HOCUSPOCUS)
async def test_edits_from_before_the_connection_are_saved_when_the_last_of_them_is(
    node: Node, server: Server, room: str, kind: Kind
) -> None:
    writer = await node.client("writer", kind, server, room)
    reader = await node.client("reader", "y-websocket-3", server, room)
    await reader.wait(synced=True)
    await writer.wait(synced=True, unsynced=0)
    await writer.disconnect()
    await writer.wait(connected=False)
    for letter in "offline":
        await writer.insert(letter)
    with nothing_can_be_committed(server):
        await writer.connect()
        await reader.wait(text="offline")
        assert (await writer.summary())["unsynced"] > 0
    await writer.wait(synced=True, unsynced=0)


async def test_many_edits_are_each_answered_once(node: Node, shared_server: Server, room: str) -> None:
    writer = await node.client("writer", "hocuspocus-4", shared_server, room)
    await writer.wait(synced=True, unsynced=0)
    await writer.edit(seed=1, count=300)
    await writer.wait(unsynced=0)
    await writer.edit(seed=2, count=1)
    await writer.wait(unsynced=0)


async def test_an_edit_that_is_refused_never_counts_as_saved(node: Node, guarded_server: Server, room: str) -> None:
    token = guarded_server.token("eve", access="read")
    reader = await node.client("reader", "hocuspocus-4", guarded_server, room, token=token)
    await reader.wait(synced=True, unsynced=0)
    before = (await reader.summary())["frames"]
    await reader.insert("not mine to write")
    await reader.stateless("after it")
    await reader.insert("nor this")
    found = await reader.wait(unsynced=2)
    assert found["frames"] >= before


@pytest.mark.parametrize("kind", HOCUSPOCUS)
async def test_a_client_that_reconnects_with_nothing_new_is_saved(
    node: Node, shared_server: Server, room: str, kind: Kind
) -> None:
    writer = await node.client("writer", kind, shared_server, room)
    await writer.insert("once")
    await writer.wait(synced=True, unsynced=0)
    for attempt in range(2, 5):
        await writer.terminate()
        await writer.wait(attempts=attempt, synced=True, unsynced=0)


async def test_s3_a_post_is_answered_when_its_edit_is_committed(node: Node, server: Server, room: str) -> None:
    reader = await node.client("reader", "y-websocket-3", server, room)
    await reader.wait(synced=True)
    doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    text = doc.get("content", type=pycrdt.Text)
    text += "over HTTP"
    async with httpx.AsyncClient(base_url=server.http, timeout=40) as http:
        with nothing_can_be_committed(server):
            posted = asyncio.create_task(http.post(f"/rooms/{room}", content=doc.get_update()))
            await reader.wait(text="over HTTP")
            assert not posted.done()
        assert (await posted).status_code == 204
    server.kill()
    server.start()
    await reader.destroy()
    joiner = await node.client("joiner", "y-websocket-3", server, room)
    await joiner.wait(text="over HTTP")
