"""Honest edits of any size arrive whole, and are saved: stock providers, a real server."""

from __future__ import annotations

import httpx
import pytest

from tests.e2e.node import Kind, Node
from tests.e2e.server import Server

EDITS = (
    "a text of 75,000 words, every other one marked",
    "a list of 150,000 maps",
    "a page of 3,000 paragraphs with a picture of 3 MB",
)


async def refused(server: Server) -> list[str]:
    async with httpx.AsyncClient(timeout=40) as http:
        lines = (await http.get(f"http://{server.host}:{server.port}/metrics")).text.splitlines()
    return [line for line in lines if line.startswith("collab_refused") and float(line.split()[-1])]


@pytest.mark.parametrize("edit", EDITS)
async def test_an_edit_of_many_parts_arrives_whole_and_is_there_after_a_restart(
    node: Node, server: Server, room: str, edit: str
) -> None:
    kind: Kind = "hocuspocus-4"  # says when all is saved
    writer = await node.client("writer", kind, server, room)
    await writer.wait(synced=True)
    await writer.large(edit)
    written = await writer.wait(120, unsynced=0)
    reader = await node.client("reader", kind, server, room)
    await reader.wait(120, hash=written["hash"], complete=True)
    await writer.insert("more")
    written = await writer.wait(120, unsynced=0)
    await reader.wait(120, hash=written["hash"])
    assert await refused(server) == []
    assert written["closes"] == []
    await writer.destroy()
    await reader.destroy()
    server.kill()
    server.start()
    late = await node.client("late", "y-websocket-3", server, room)
    await late.wait(120, hash=written["hash"], complete=True)


@pytest.mark.parametrize("kind", ["y-websocket-3", "hocuspocus-4"])
async def test_4_000_edits_of_each_of_two_who_were_offline_come_together(
    node: Node, server: Server, room: str, kind: Kind
) -> None:
    both = [await node.client(name, kind, server, room) for name in ("one", "two")]
    await both[0].edit(seed=1, count=200)
    await node.converge(both)
    for client in both:
        await client.disconnect()
    for seed, client in enumerate(both):
        await client.edit(seed=seed + 2, count=4000)
    for client in both:
        await client.connect()
    await node.converge(both, seconds=60)
    assert await refused(server) == []


@pytest.mark.parametrize("kind", ["y-websocket-3", "hocuspocus-4"])
async def test_what_cannot_be_taken_of_a_large_edit_is_deleted_alone(
    node: Node, server: Server, room: str, kind: Kind
) -> None:
    writer = await node.client("writer", kind, server, room)
    reader = await node.client("reader", kind, server, room)
    await writer.wait(synced=True)
    await writer.large("a sub-document in the middle of 20,000 maps")
    await writer.insert("more")
    await node.converge([writer, reader], seconds=60)
    found = await reader.state()
    assert len(found["list"]) == 20_000
    assert found["fields"] == {"after": True}
    assert (await writer.summary())["closes"] == []
