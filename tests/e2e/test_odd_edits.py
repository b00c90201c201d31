"""Whatever stock clients can write, their session continues and their other edits are kept."""

from __future__ import annotations

import anyio
import pytest

from tests.e2e.node import KINDS, Client, Kind, Node
from tests.e2e.server import Server
from tests.fuzz.encode import STRING, block, frame, item, string


async def pair(node: Node, server: Server, room: str, kind: str) -> tuple[Client, Client]:
    writer = await node.client(f"{room} writer", kind, server, room)  # type: ignore[arg-type]
    other: Kind = "hocuspocus-4" if kind.startswith("y-") else "y-websocket-3"
    reader = await node.client(f"{room} reader", other, server, room)
    for client in (writer, reader):
        await client.wait(synced=True)
    return writer, reader


async def assert_saved(node: Node, server: Server, rooms: dict[str, list[Client]]) -> None:
    """In each room all are equal, nobody was closed, and so is who comes after the server was killed."""
    found = {room: await node.converge(clients) for room, clients in rooms.items()}
    for clients in rooms.values():
        for client in clients:
            assert (await client.summary())["closes"] == []
    server.kill()
    server.start()
    for room, clients in rooms.items():
        joiner = await node.client(f"{room} joiner", "hocuspocus-4", server, room)
        assert await node.converge([*clients, joiner]) == found[room]


@pytest.mark.parametrize("kind", KINDS)
async def test_edits_that_servers_stumble_over_leave_all_clients_equal_and_their_next_edits_saved(
    node: Node, server: Server, room: str, kind: str
) -> None:
    odds, _ = await node.ask("odds")
    rooms = {}
    for number, edit in enumerate(odds):
        name = f"{room}-{number}"
        writer, reader = rooms[name] = list(await pair(node, server, name, kind))
        await writer.odd(edit)
        await writer.insert(" later")
        await node.converge([writer, reader])
        assert (await reader.summary())["text"].endswith(" later"), edit
        await reader.insert("and back", 0)
    await assert_saved(node, server, rooms)


@pytest.mark.parametrize("kind", KINDS)
async def test_e15_half_a_character_is_a_replacement_character_for_everybody_but_its_writer(
    node: Node, server: Server, room: str, kind: str
) -> None:
    _, halves = await node.ask("odds")
    rooms, writers = {}, []
    for number, edit in enumerate(halves):
        name = f"{room}-{number}"
        writer, reader = await pair(node, server, name, kind)
        writers.append(writer)
        await writer.odd(edit)
        await writer.set("later", True)
        await writer.wait(unsynced=0)
        with anyio.fail_after(40):
            while "later" not in await reader.values():
                await anyio.sleep(0.02)
        assert "\ufffd" in str(await reader.state()), edit
        assert (await writer.summary())["closes"] == []
        rooms[name] = [reader]
    await assert_saved(node, server, rooms)
    for writer in writers:
        await writer.wait(synced=True, unsynced=0)


def text(content: str, **where: object) -> bytes:
    return item(STRING, string(content), **where)  # type: ignore[arg-type]


FIRST = frame([block(77, 0, [text("first ", parent="content")])])
SECOND = frame([block(77, 6, [text("second ", origin=(77, 5))])])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_client_that_waits_for_somebody_elses_edit_is_saved_and_its_rest_is_asked_for_when_that_comes(
    node: Node, server: Server, room: str, kind: str
) -> None:
    writer = await node.client("writer", kind, server, room, connect=False)  # type: ignore[arg-type]
    await writer.apply(SECOND)
    await writer.insert("own")
    await writer.connect()
    other = await node.client("other", "y-websocket-3", server, room)
    await other.wait(text="own")
    await writer.wait(synced=True, unsynced=0)
    await writer.insert(" more")
    await other.wait(text="own more")
    await writer.wait(unsynced=0)
    # somebody has what was lost
    await other.apply(FIRST)
    await other.insert("!")
    found = await node.converge([writer, other])
    assert sorted((await other.summary())["text"]) == sorted("first second own more!")
    server.kill()
    server.start()
    joiner = await node.client("joiner", "hocuspocus-3", server, room)
    await joiner.wait(hash=found)


async def test_what_was_lost_on_its_way_is_asked_for_and_the_rest_is_there_at_once(
    node: Node, server: Server, room: str
) -> None:
    reader = await node.client("reader", "y-websocket-3", server, room)
    writer = await node.client("writer", "hocuspocus-4", server, room)
    for client in (reader, writer):
        await client.wait(synced=True)
    both = frame([block(78, 0, [text("there", parent="content")]), block(77, 6, [text("x", origin=(77, 5))])])
    await writer.apply(both)
    await reader.wait(text="there")
    await writer.apply(FIRST)
    await node.converge([reader, writer])
    assert (await writer.summary())["closes"] == []
