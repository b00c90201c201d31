"""What one caller can take from others, on a real server: before its token, and with it."""

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
    ("size", "count"), [(10, 1100), (600_000, 12), (6_000_000, 1)], ids=["many", "large", "one huge"]
)
async def test_case_50_a_flood_before_the_token_ends_the_socket(
    server: Server, room: str, size: int, count: int
) -> None:
    async with peer(server, "hocuspocus", room) as flood:
        try:
            for _ in range(count):
                await flood.send(yjs.update(bytes(size)))
        except ConnectionClosed:
            pass
        assert await flood.closed() == 4413


async def test_case_50_too_many_documents_end_the_socket(server: Server, room: str) -> None:
    async with connect(server.hocuspocus) as socket:
        for number in range(101):
            await Peer(socket, "hocuspocus", f"{room}-{number}").send(ASK)
        assert await Peer(socket, "hocuspocus", room).closed() == 4529


async def test_case_50_many_floods_at_once_load_nothing_and_leave_no_memory_behind(server: Server, room: str) -> None:
    loads, before = await metric(server, "collab_room_loads_total"), worker_memory(server)
    highest = before

    async def flood() -> None:
        nonlocal highest
        async with peer(server, "hocuspocus", room) as one:
            for _ in range(8):
                await one.send(yjs.update(bytes(500_000)))
            await one.handled()
            highest = max(highest, worker_memory(server))

    async with anyio.create_task_group() as tasks:
        for _ in range(12):
            tasks.start_soon(flood)
    assert highest - before < 12 * 6 * 1024 * 1024 + 32 * 1024 * 1024
    assert await metric(server, "collab_room_loads_total") == loads


async def test_case_50_who_shows_no_token_in_time_is_sent_away(tmp_path: Path, room: str) -> None:
    server = Server(tmp_path, secret=SECRET, pre_auth_seconds=1)
    server.start()
    try:
        async with peer(server, "hocuspocus", room) as silent, peer(server, "hocuspocus", room) as busy:
            await busy.authenticate("nonsense")
            assert await silent.closed() == 4408
            assert await busy.closed() == 4408, "a wrong token wins no time"
        async with peer(server, "hocuspocus", room, mint()) as good:
            await anyio.sleep(2.5)
            await good.content()
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
            # a second session of ada, and no third
            async with peer(server, "hocuspocus", room, mint("ada")) as second:
                await second.content()
                with pytest.raises(InvalidStatus) as refusal:
                    async with peer(server, "y-websocket", room, mint("ada")):
                        pass
                assert refusal.value.response.status_code == 429
                async with peer(server, "hocuspocus", room) as third:
                    await third.send(bytes([AUTH, 0]) + encode_string(mint("ada")))
                    assert await third.closed() == 4529
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


async def test_case_37_a_client_that_is_sent_away_for_good_and_always_comes_back_is_made_to_wait(
    node: Node, tmp_path: Path, room: str
) -> None:
    # y-websocket 2 ignores close codes, and takes every opened connection for a success: without strikes it
    # would offer its too large document ten times a second, for ever
    server = Server(tmp_path, max_document_bytes=1024)
    server.start()
    try:
        stubborn = await node.client("stubborn", "y-websocket-2", server, room)
        await stubborn.insert("x" * 4000)
        found = await stubborn.wait(seconds=30, attempts=8)
        codes = [close["code"] for close in found["closes"]]
        assert codes[:5] == [4413] * 5
        assert set(codes[5:]) == {1006}, "refused before the socket is open"
        other = await node.client("other", "y-websocket-2", server, f"{room}-other")
        await other.wait(synced=True)
        await stubborn.destroy()
        await other.destroy()
    finally:
        server.stop()
