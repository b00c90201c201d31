"""How connections end, and what stock clients make of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.node import KINDS, Kind, Node
from tests.e2e.server import Server

every_kind = pytest.mark.parametrize("kind", KINDS)
Y_WEBSOCKET: tuple[Kind, ...] = ("y-websocket-2", "y-websocket-3")


@pytest.fixture(scope="module")
def lively_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("lively"), heartbeat_seconds=0.2)
    server.start()
    yield server
    server.stop()


@every_kind
async def test_k1_a_client_alone_and_silent_hears_that_the_server_lives(
    node: Node, lively_server: Server, room: str, kind: Kind
) -> None:
    # Stock clients close after 30 seconds without a message; the heartbeat is shortened as well.
    options = {"messageReconnectTimeout": 3000} if kind.startswith("hocuspocus") else {}
    client = await node.client("client", kind, lively_server, room, options=options)
    await client.set_awareness(None)
    found = await client.wait(synced=True)
    frames = found["frames"]
    while found["frames"] < frames + 5:
        found = await client.summary()
    assert found["attempts"] == 1


@every_kind
async def test_every_client_comes_back_by_itself_after_a_stop(
    node: Node, server: Server, room: str, kind: Kind
) -> None:
    client = await node.client("client", kind, server, room)
    await client.insert("before")
    await client.wait(synced=True, unsynced=0)
    server.stop()
    await client.wait(connected=False)
    await client.insert(" and after")
    server.start()
    found = await client.wait(synced=True, unsynced=0)
    assert found["closes"][0] == {"code": 1012, "reason": found["closes"][0]["reason"]}
    late = await node.client("late", "y-websocket-3", server, room)
    await late.wait(text="before and after")


async def test_y_websocket_3_stops_at_a_permanent_close_code(node: Node, shared_server: Server, room: str) -> None:
    client = await node.client("client", "y-websocket-3", shared_server, room)
    await client.wait(synced=True)
    await client.raw(b"\x00\x02\xff")
    found = await client.wait(closed=[4400], connected=False)
    assert found["attempts"] == 1


async def test_y_websocket_3_stops_when_its_token_expires(node: Node, guarded_server: Server, room: str) -> None:
    token = guarded_server.token("ada", seconds=2)
    client = await node.client("client", "y-websocket-3", guarded_server, room, token=token)
    await client.wait(synced=True)
    found = await client.wait(closed=[4401])
    assert found["attempts"] == 1


async def test_o5_a_stock_provider_shows_its_token_as_a_sub_protocol(
    node: Node, guarded_server: Server, room: str
) -> None:
    token = f"collab.token.{guarded_server.token('ada')}"
    for name, protocols in (("beside another", ["app", token]), ("alone", [token])):
        client = await node.client(name, "y-websocket-3", guarded_server, room, options={"protocols": protocols})
        found = await client.wait(synced=True)
        assert found["attempts"] == 1


@pytest.mark.parametrize("kind", Y_WEBSOCKET)
@pytest.mark.parametrize("token", [None, "nonsense"])
async def test_o2_who_may_not_enter_is_refused_before_the_socket_is_open(
    node: Node, guarded_server: Server, room: str, kind: Kind, token: str | None
) -> None:
    # A refused handshake makes both versions wait longer each time; an accepted and closed one does not.
    client = await node.client("client", kind, guarded_server, room, token=token)
    found = await client.wait(attempts=4)
    assert {close["code"] for close in found["closes"]} == {1006}
    assert found["frames"] == 0


async def test_a_client_that_does_not_know_close_codes_does_not_hammer(
    node: Node, guarded_server: Server, room: str
) -> None:
    # y-websocket 2 takes every opened connection for a success and starts again after 100 ms.
    client = await node.client(
        "client", "y-websocket-2", guarded_server, room, token=guarded_server.token("ada", seconds=2)
    )
    await client.wait(synced=True)
    found = await client.wait(attempts=4)
    first, *others = (close["code"] for close in found["closes"])
    assert first == 4401
    assert set(others) == {1006}


@every_kind
async def test_n2_a_document_with_a_name_that_is_none_is_refused(
    node: Node, shared_server: Server, kind: Kind, tmp_path: Path
) -> None:
    client = await node.client("client", kind, shared_server, "a/b/c/d")
    if kind.startswith("hocuspocus"):
        found = await client.wait(connected=True)
        while not found["denied"]:
            found = await client.summary()
    else:
        found = await client.wait(attempts=3)
        assert {close["code"] for close in found["closes"]} == {1006}
    assert not found["synced"]


@pytest.mark.parametrize("kind", Y_WEBSOCKET)
async def test_n1_a_name_without_a_collection_is_in_documents(
    node: Node, shared_server: Server, room: str, kind: Kind
) -> None:
    short = await node.client("short", kind, shared_server, room.removeprefix("documents/"))
    long = await node.client("long", kind, shared_server, room)
    await short.wait(synced=True)
    await long.wait(synced=True)
    await short.insert("the same")
    await long.wait(text="the same")


@pytest.mark.parametrize("kind", Y_WEBSOCKET)
async def test_k3_an_unknown_message_is_skipped(node: Node, shared_server: Server, room: str, kind: Kind) -> None:
    client = await node.client("client", kind, shared_server, room)
    await client.wait(synced=True)
    await client.raw(b"\x63\x01\x02")
    await client.insert("went on")
    late = await node.client("late", kind, shared_server, room)
    await late.wait(text="went on")
    assert (await client.summary())["attempts"] == 1


@pytest.mark.parametrize("kind", Y_WEBSOCKET)
async def test_who_may_only_read_changes_nothing(node: Node, guarded_server: Server, room: str, kind: Kind) -> None:
    writer = await node.client("writer", kind, guarded_server, room, token=guarded_server.token("ada"))
    await writer.insert("written")
    reader = await node.client("reader", kind, guarded_server, room, token=guarded_server.token("eve", access="read"))
    await reader.wait(text="written")
    await reader.insert(" and forged")
    await writer.insert("!")
    await reader.disconnect()
    await reader.connect()
    await reader.wait(connected=True)
    late = await node.client("late", "hocuspocus-4", guarded_server, room, token=guarded_server.token("bob"))
    await late.wait(text="written!")
