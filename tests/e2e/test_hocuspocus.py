"""Features of Hocuspocus alone: several documents on one socket, tokens, read-only, stateless messages."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pycrdt
import pytest
import uvicorn

from collab.access.identity import Identity
from collab.hooks import Hooks
from collab.names import RoomKey
from collab.server.app import Collab
from collab.server.config.settings import Settings
from collab.wire import hocuspocus, yjs
from presence.lib0 import encode_bytes, encode_string
from tests.e2e.node import Client, Kind, Node
from tests.e2e.peer import ASK, CLOSE, QUERY, STATUS, SYNC, peer
from tests.e2e.server import Server, nothing_can_be_committed

HOCUSPOCUS: tuple[Kind, ...] = ("hocuspocus-3", "hocuspocus-4")
both = pytest.mark.parametrize("kind", HOCUSPOCUS)


@both
async def test_several_documents_on_one_socket_do_not_mix(
    node: Node, shared_server: Server, room: str, kind: Kind
) -> None:
    await node.socket("one", kind, shared_server)
    clients = [await node.client(f"c{n}", kind, shared_server, f"{room}-{n}", socket="one") for n in range(5)]
    for n, client in enumerate(clients):
        await client.wait(synced=True, unsynced=0)
        await client.insert(f"document {n}")
    for n, client in enumerate(clients):
        found = await client.wait(unsynced=0, text=f"document {n}")
        assert found["attempts"] == 1
        reader = await node.client(f"r{n}", "y-websocket-3", shared_server, f"{room}-{n}")
        await reader.wait(text=f"document {n}")


@both
async def test_a_document_can_be_closed_and_opened_again_while_its_socket_stays(
    node: Node, shared_server: Server, room: str, kind: Kind
) -> None:
    await node.socket("one", kind, shared_server)
    stays = await node.client("stays", kind, shared_server, f"{room}-a", socket="one")
    goes = await node.client("goes", kind, shared_server, f"{room}-b", socket="one")
    witness = await node.client("witness", "y-websocket-3", shared_server, f"{room}-b")
    await stays.wait(synced=True)
    await goes.wait(synced=True)
    await goes.set_awareness({"here": True})
    await witness.wait(others=[goes.id])
    await goes.destroy()
    await witness.wait(others=[])
    again = await node.client("again", kind, shared_server, f"{room}-b", socket="one")
    await again.wait(synced=True)
    await again.insert("back")
    await witness.wait(text="back")
    await stays.insert("still here")
    found = await stays.wait(unsynced=0)
    assert found["attempts"] == 1


async def test_two_providers_of_one_document_share_a_socket_with_session_awareness(
    node: Node, shared_server: Server, room: str
) -> None:
    await node.socket("one", "hocuspocus-4", shared_server)
    first, second = [
        await node.client(name, "hocuspocus-4", shared_server, room, socket="one", options={"sessionAwareness": True})
        for name in ("first", "second")
    ]
    await first.wait(synced=True)
    await second.wait(synced=True)
    await first.insert("hello")
    await second.wait(text="hello")
    await first.wait(others=[second.id], unsynced=0)
    await second.wait(others=[first.id])
    await second.destroy()
    await first.wait(others=[])


@both
async def test_o3_without_a_good_token_there_is_no_document(
    node: Node, guarded_server: Server, room: str, kind: Kind
) -> None:
    for name, token in [("none", None), ("bad", "nonsense"), ("old", guarded_server.token("ada", seconds=-60))]:
        client = await node.client(f"{name}", kind, guarded_server, room, token=token)
        found = await client.wait(connected=True, scopes=[], synced=False)
        while not found["denied"]:
            found = await client.summary()
        assert found["text"] == ""
        await client.destroy()


@both
async def test_a_socket_serves_its_other_documents_when_one_is_denied(
    node: Node, guarded_server: Server, room: str, kind: Kind
) -> None:
    await node.socket("one", kind, guarded_server)
    denied = await node.client("denied", kind, guarded_server, f"{room}-a", socket="one", token="nonsense")
    let_in = await node.client(
        "let in", kind, guarded_server, f"{room}-b", socket="one", token=guarded_server.token("ada")
    )
    await let_in.wait(synced=True, scopes=["read-write"])
    await let_in.insert("fine")
    await let_in.wait(unsynced=0, attempts=1)
    assert len((await denied.summary())["denied"]) == 1


@both
async def test_f2_an_edit_over_the_message_limit_ends_its_document_after_one_upload_and_no_other(
    node: Node, shared_server: Server, room: str, kind: Kind
) -> None:
    await node.socket("one", kind, shared_server)
    large = await node.client("large", kind, shared_server, f"{room}-large", socket="one")
    other = await node.client("other", kind, shared_server, f"{room}-other", socket="one")
    await large.wait(synced=True, unsynced=0)
    await other.wait(synced=True, unsynced=0)
    await large.insert("x" * 17_000_000)
    found = await large.wait(denied=[REFUSED], closed=[1000])
    assert found["unsynced"] > 0
    await large.insert("more")
    await other.insert("still here")
    found = await other.wait(unsynced=0)
    assert (found["attempts"], found["uploads"]) == (1, 1)
    reader = await node.client("reader", "y-websocket-3", shared_server, f"{room}-other")
    await reader.wait(text="still here")


@both
async def test_an_edit_over_the_message_limit_that_was_made_before_ends_its_document_too(
    node: Node, guarded_server: Server, room: str, kind: Kind
) -> None:
    token = guarded_server.token("ada")
    early = await node.client("early", kind, guarded_server, room, token=token, connect=False)
    await early.insert("x" * 17_000_000)
    await early.connect()
    await early.wait(denied=[REFUSED], closed=[1000])
    await early.insert("more")
    other = await node.client("other", kind, guarded_server, f"{room}-other", token=token)
    await other.wait(synced=True, unsynced=0)
    found = await early.wait(attempts=1, closes=[])
    # what the provider had queued, and its answer to the server's question, which it gives before it can hear no
    assert found["uploads"] == 2


REFUSED = "INVALID_REQUEST: a message may have at most 16777216 bytes"

BAD = {
    "a malformed update": lambda name: hocuspocus.update(name, b"\x01\x01\x07\x01\x00\x00\x00"),
    "a malformed message": lambda name: encode_string(name) + b"\x00\x02\x05\x01",
    "a malformed state vector": lambda name: hocuspocus.sync_step1(name, b"\x05"),
}


@both
@pytest.mark.parametrize("bad", BAD)
async def test_f2_what_is_wrong_with_one_document_ends_that_document_alone(
    node: Node, shared_server: Server, room: str, kind: Kind, bad: str
) -> None:
    await node.socket("one", kind, shared_server)
    guilty = await node.client("guilty", kind, shared_server, f"{room}-a", socket="one")
    innocent = await node.client("innocent", kind, shared_server, f"{room}-b", socket="one")
    await guilty.wait(synced=True)
    await innocent.wait(synced=True)
    await guilty.raw(BAD[bad](f"{room}-a"))
    await guilty.wait(synced=False, closed=[1000])
    while not (await guilty.summary())["denied"]:
        pass
    for _ in range(1200):  # it goes on talking: stock providers do
        await guilty.insert("x")
    await innocent.insert("saved")
    found = await innocent.wait(unsynced=0, synced=True)
    assert found["attempts"] == 1
    assert found["closes"] == []
    reader = await node.client("reader", "y-websocket-3", shared_server, f"{room}-b")
    await reader.wait(text="saved")


@both
async def test_f3_what_passes_ends_no_document_and_the_server_opens_it_again(
    node: Node, tmp_path: Path, room: str, kind: Kind
) -> None:
    server = Server(tmp_path, max_pending_bytes=300_000)
    server.start()
    try:
        await node.socket("one", kind, server)
        writer = await node.client("writer", kind, server, f"{room}-a", socket="one")
        neighbour = await node.client("neighbour", kind, server, f"{room}-b", socket="one")
        await writer.wait(synced=True, unsynced=0)
        await neighbour.wait(synced=True, unsynced=0)
        with nothing_can_be_committed(server):
            await neighbour.insert("x" * 200_000)
            await writer.insert("y" * 200_000)  # together more than may wait
            while "storage is too far behind" not in server.log():
                await asyncio.sleep(0.01)
        reader = await node.client("reader", "y-websocket-3", server, f"{room}-a")
        found = await writer.summary()
        await reader.wait(synced=True, hash=found["hash"])
        await neighbour.wait(unsynced=0)
        await reader.insert("heard again", 0)
        found = await reader.summary()
        found = await writer.wait(synced=True, unsynced=0, hash=found["hash"])
        assert (found["attempts"], found["closes"], found["denied"]) == (1, [], [])
        with nothing_can_be_committed(server):
            await writer.insert("not saved yet")
            await reader.wait(unsynced=0)
            assert (await writer.summary())["unsynced"] == 1
        await writer.wait(unsynced=0)
    finally:
        server.stop()


async def test_f5_a_close_of_another_provider_takes_no_saved_from_who_goes_on(tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.start()
    try:
        async with peer(server, "hocuspocus", "documents/d", token="") as client:
            await client.send(ASK)
            await client.until(lambda heard: heard.step == yjs.STEP1)
            nothing = bytes([SYNC, yjs.STEP2]) + encode_bytes(b"\0\0")
            await client.send(nothing)
            await client.until(lambda heard: heard.kind == STATUS)
            with nothing_can_be_committed(server):
                doc: pycrdt.Doc[Any] = pycrdt.Doc()
                doc.get("text", type=pycrdt.Text).insert(0, "here")
                await client.send(bytes([SYNC, yjs.UPDATE]) + encode_bytes(doc.get_update()))
                await client.send(bytes([CLOSE]) + encode_string("gone"))
                await client.send(bytes([QUERY]))
                await client.until(lambda heard: heard.step == yjs.STEP1)
                await client.send(nothing)
            await client.until(lambda heard: heard.kind == STATUS)
            await client.handled()
            assert sum(heard.kind == STATUS for heard in client.heard) == 2, "the opening and the edit"
    finally:
        server.stop()


@both
async def test_f5_a_provider_that_is_mounted_twice_is_there_once(
    node: Node, shared_server: Server, room: str, kind: Kind
) -> None:
    """The first provider's word that it goes waits in the client until the second's document is open."""
    await node.socket("one", kind, shared_server)
    url = shared_server.hocuspocus
    created = {"kind": kind, "url": url, "name": room, "socket": "one"}
    results = await asyncio.gather(
        node.ask("create", client="first", **created),
        node.ask("destroy", client="first"),
        node.ask("create", client="second", **created),
    )
    second = Client(node, "second", kind, results[2])
    witness = await node.client("witness", "y-websocket-3", shared_server, room)
    await second.wait(synced=True)
    await second.insert("here")
    await witness.wait(text="here")
    await second.wait(unsynced=0)
    await witness.insert(" and there")
    await second.wait(text="here and there")


@both
async def test_e8_who_may_only_read_is_told_so_and_changes_nothing(
    node: Node, guarded_server: Server, room: str, kind: Kind
) -> None:
    writer = await node.client("writer", kind, guarded_server, room, token=guarded_server.token("ada"))
    await writer.insert("written")
    await writer.wait(unsynced=0, synced=True)
    reader = await node.client("reader", kind, guarded_server, room, token=guarded_server.token("eve", access="read"))
    await reader.wait(text="written", scopes=["readonly"])
    await reader.insert(" and forged")
    await writer.insert("!")
    await reader.wait(connected=True)
    late = await node.client("late", "y-websocket-3", guarded_server, room, token=guarded_server.token("bob"))
    await late.wait(text="written!")


async def test_a_new_token_on_the_open_connection_changes_what_is_allowed(
    node: Node, guarded_server: Server, room: str
) -> None:
    client = await node.client(
        "client", "hocuspocus-4", guarded_server, room, token=guarded_server.token("ada", access="read")
    )
    await client.wait(synced=True, scopes=["readonly"])
    await client.send_token(guarded_server.token("ada", access="write"))
    await client.insert("now I may")
    late = await node.client("late", "y-websocket-3", guarded_server, room, token=guarded_server.token("bob"))
    await late.wait(text="now I may")


@both
async def test_a_broadcast_reaches_everybody_else_in_the_document(
    node: Node, shared_server: Server, room: str, kind: Kind
) -> None:
    sender, *others = [await node.client(f"c{n}", kind, shared_server, room) for n in range(3)]
    elsewhere = await node.client("elsewhere", kind, shared_server, f"{room}-other")
    for client in (sender, *others, elsewhere):
        await client.wait(synced=True)
    await sender.raw(encode_string(room) + b"\x06" + encode_string("hello, all"))
    for other in others:
        await other.wait(stateless=["hello, all"])
    assert (await elsewhere.summary())["stateless"] == []


@both
async def test_k3_an_unknown_message_is_skipped(node: Node, shared_server: Server, room: str, kind: Kind) -> None:
    client = await node.client("client", kind, shared_server, room)
    await client.wait(synced=True)
    await client.raw(encode_string(room) + b"\x63\x01\x02")
    await client.insert("went on")
    found = await client.wait(unsynced=0)
    assert found["attempts"] == 1


class Shouting(Hooks):
    async def stateless(self, identity: Identity, key: RoomKey, payload: str) -> str | None:
        return payload.upper()


@asynccontextmanager
async def mounted(folder: Path, hooks: Hooks) -> AsyncIterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        app = Collab(Settings(data=str(folder)), hooks=hooks)
        config = uvicorn.Config(app, lifespan="on", log_level="warning", ws="websockets-sansio")
        server = uvicorn.Server(config)
        running = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"ws://127.0.0.1:{listener.getsockname()[1]}/hocuspocus"
        finally:
            server.should_exit = True
            await running


@both
async def test_the_application_answers_stateless_messages(node: Node, tmp_path: Path, room: str, kind: Kind) -> None:
    async with mounted(tmp_path, Shouting()) as url:
        asking = await node.client("asking", kind, url, room)
        other = await node.client("other", kind, url, room)
        await asking.wait(synced=True)
        await other.wait(synced=True)
        await asking.stateless("hello")
        await asking.wait(stateless=["HELLO"])
        assert (await other.summary())["stateless"] == []
        await asking.destroy()
        await other.destroy()
