"""Limits on how much one caller can take from others, on a real server, before its token and with it."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from pathlib import Path

import anyio
import psutil
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from collab.wire import yjs
from presence.lib0 import encode_string
from tests.e2e.guarded import (
    ACTOR,
    CURSOR,
    SECRET,
    metric,
    mint,
)
from tests.e2e.node import Node
from tests.e2e.peer import (
    ASK,
    AUTH,
    AUTHENTICATED,
    Peer,
    peer,
    presence,
)
from tests.e2e.server import Server


@pytest.fixture
def server(guarded_server: Server) -> Server:
    return guarded_server


def worker_memory(server: Server) -> int:
    """Bytes held by the server and its children."""
    assert server.process is not None
    main = psutil.Process(server.process.pid)
    return sum(process.memory_info().rss for process in (main, *main.children(recursive=True)))


# case 50: before the token


@pytest.mark.parametrize(
    ("size", "count", "code"),
    [(10, 1100, 4413), (600_000, 12, 4408), (6_000_000, 1, 4408)],
    ids=["many", "large", "one huge"],
)
async def test_o4_a_flood_before_the_token_is_not_read_and_ends_the_socket(
    server: Server, room: str, size: int, count: int, code: int
) -> None:
    async with peer(server, "hocuspocus", room) as flood:
        try:
            for _ in range(count):
                await flood.send(yjs.update(bytes(size)))
        except ConnectionClosed:
            pass
        assert await flood.closed() == code


async def test_f4_too_many_documents_end_the_socket(server: Server, room: str) -> None:
    async with connect(server.hocuspocus) as socket:
        for number in range(101):
            await Peer(socket, "hocuspocus", f"{room}-{number}").send(ASK)
        assert await Peer(socket, "hocuspocus", room).closed() == 4529


async def test_o4_many_floods_at_once_load_nothing_and_leave_no_memory_behind(server: Server, room: str) -> None:
    loads, before = await metric(server, "collab_room_loads_total"), worker_memory(server)
    highest = before

    async def flood() -> None:
        nonlocal highest
        async with peer(server, "hocuspocus", room) as one:
            with suppress(ConnectionClosed):
                for _ in range(8):
                    await one.send(yjs.update(bytes(500_000)))
            highest = max(highest, worker_memory(server))
            assert await one.closed() == 4408

    async with anyio.create_task_group() as tasks:
        for _ in range(12):
            tasks.start_soon(flood)
    assert highest - before < 32 * 1024 * 1024
    assert await metric(server, "collab_room_loads_total") == loads


async def test_who_shows_no_token_in_time_is_sent_away(tmp_path: Path, room: str) -> None:
    server = Server(tmp_path, secret=SECRET, pre_auth_seconds=3)
    server.start()
    try:
        async with (
            peer(server, "hocuspocus", room, mint()) as good,
            peer(server, "hocuspocus", room) as silent,
            peer(server, "hocuspocus", room) as busy,
        ):
            await busy.authenticate("nonsense")
            assert await silent.closed() == 4408
            assert await busy.closed() == 4408, "a wrong token wins no time"
            await good.content()  # it came before them, and is there after them
    finally:
        server.stop()


# numbers


async def test_who_asks_for_more_than_the_limits_is_named_the_limit_and_nobody_else_suffers(
    tmp_path: Path, room: str
) -> None:
    limits = {"messages_per_second": 20, "max_sockets_per_address": 6, "max_sockets_per_user": 2}
    server = Server(tmp_path, secret=SECRET, **limits)
    server.start()
    try:
        async with peer(server, "y-websocket", room, mint("ada")) as neighbour:
            async with peer(server, "y-websocket", room, mint("bob")) as loud:
                with suppress(ConnectionClosed):
                    for clock in range(400):
                        await loud.send(presence(ACTOR, clock, CURSOR))
                assert await loud.closed() == 4529
            await neighbour.content()
            # a second session of ada, and no third: where documents share a socket it waits for a place (F3)
            async with peer(server, "hocuspocus", room) as third:
                async with peer(server, "hocuspocus", room, mint("ada")) as second:
                    await second.content()
                    with pytest.raises(InvalidStatus) as refusal:
                        async with peer(server, "y-websocket", room, mint("ada")):
                            pass
                    assert refusal.value.response.status_code == 429
                    await third.send(bytes([AUTH, 0]) + encode_string(mint("ada")))
                    await second.content()
                    await third.handled()
                    assert not [heard for heard in third.heard if heard.kind == AUTH]
                await third.until(lambda heard: heard.kind == AUTH and heard.body[0] == AUTHENTICATED)
                await third.content()
            # what ended is given back
            async with peer(server, "y-websocket", room, mint("ada")) as again:
                await again.content()
            # sockets of one address, before any token
            async with AsyncExitStack() as stack:
                with pytest.raises(InvalidStatus) as refusal:
                    for _ in range(7):
                        await stack.enter_async_context(peer(server, "hocuspocus", room))
                assert refusal.value.response.status_code == 429
                assert refusal.value.response.headers["retry-after"]
            await neighbour.content()
    finally:
        server.stop()


async def test_a_y_websocket_provider_uploads_what_is_over_the_message_limit_once(
    node: Node, server: Server, room: str
) -> None:
    large = await node.client("large", "y-websocket-3", server, room, token=server.token("ada"), connect=False)
    await large.insert("x" * 17_000_000)
    await large.connect()
    found = await large.wait(closed=[4413], connected=False)
    assert (found["attempts"], found["uploads"]) == (1, 1)


async def test_a_client_that_is_sent_away_for_good_and_always_comes_back_is_made_to_wait(
    node: Node, tmp_path: Path, room: str
) -> None:
    # y-websocket 2 ignores close codes, and takes every opened connection for a success: without strikes it
    # would offer its too large document ten times a second, for ever
    server = Server(tmp_path, max_document_bytes=1024)
    server.start()
    try:
        stubborn = await node.client("stubborn", "y-websocket-2", server, room)
        await stubborn.insert("x" * 4000)
        found = await stubborn.wait(attempts=8)
        codes = [close["code"] for close in found["closes"]]
        assert codes[:5] == [4413] * 5
        assert set(codes[5:]) == {1006}, "refused before the socket is open"
        other = await node.client("other", "y-websocket-2", server, f"{room}-other")
        await other.wait(synced=True)
        await stubborn.destroy()
        await other.destroy()
    finally:
        server.stop()
