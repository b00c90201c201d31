from __future__ import annotations

import asyncio
import gc
import weakref
from base64 import b64encode
from typing import Any

import pytest

from collab.transport.websocket import DIRECT
from tests.collab.transport.raw import TEXT, RawClient
from tests.collab.transport.test_launcher import Receive, Send, serving

REQUEST = (
    "GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    f"Sec-WebSocket-Key: {b64encode(bytes(16)).decode()}\r\nSec-WebSocket-Version: 13\r\n\r\n"
).encode()
GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def hello(scope: Any, receive: Receive, send: Send) -> None:
    """Accept, say hello, and wait for the end."""
    await receive()
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": f"hello {scope['path']}"})
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def asked(port: int, request: bytes) -> bytes:
    """Everything that the server answers."""
    client = await RawClient.dial(port)
    await client.write(request)
    answer = await client.ended()
    client.cut()
    return answer


@pytest.mark.parametrize("cut", [1, 20, len(REQUEST) - 1])
async def test_a_request_that_comes_in_pieces_opens_a_websocket(cut: int) -> None:
    async with serving(hello) as server:
        client = await RawClient.dial(server.port)
        await client.write(REQUEST[:cut])
        await asyncio.sleep(0.01)  # so that it leaves in two packets
        await client.write(REQUEST[cut:])
        assert (await client.head()).startswith(b"HTTP/1.1 101 ")
        assert (await client.read()).payload == b"hello /socket"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Connection: Upgrade", b"Connection: Upgrade\r\nConnection: keep-alive"),
        (b"Upgrade: websocket", b"Upgrade: websocket\r\nUpgrade: h2c"),
        (b"Upgrade: websocket", b"Upgrade: h2c, websocket"),
    ],
)
async def test_lists_of_a_request_may_come_in_several_headers(old: bytes, new: bytes) -> None:
    async with serving(hello) as server:
        client = await RawClient.dial(server.port)
        await client.write(REQUEST.replace(old, new))
        assert (await client.head()).startswith(b"HTTP/1.1 101 ")
        assert (await client.read()).payload == b"hello /socket"


async def test_a_websocket_may_follow_an_answered_request() -> None:
    async with serving(hello) as server:
        client = await RawClient.dial(server.port)
        await client.write(GET)
        assert (await client.head()).startswith(b"HTTP/1.1 200 ")
        await client.exactly(len(b"4\r\nGET \r\n0\r\n\r\n"))
        await client.write(REQUEST)
        assert (await client.head()).startswith(b"HTTP/1.1 101 ")
        assert (await client.read()).payload == b"hello /socket"


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (b"Version: 13", b"Version: 8", b"426"),
        (b"Key: AAAA", b"Key: !!!!", b"400"),
        (b"Sec-WebSocket-Key:", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key:", b"400"),
        (b"Sec-WebSocket-Version:", b"Sec-WebSocket-Version: 8\r\nSec-WebSocket-Version:", b"400"),
        (b"Host: localhost\r\n", b"", b"400"),  # no valid HTTP at all
        (b"GET /socket HTTP/1.1", b"GET /socket HTTP/1.1\r\nbad", b"400"),
    ],
)
async def test_a_bad_handshake_is_answered_and_holds_no_place(old: bytes, new: bytes, status: bytes) -> None:
    async with serving(hello, rest={"connections_per_address": 1}) as server:
        for _ in range(2):
            answer = await asked(server.port, REQUEST.replace(old, new))
            while answer.startswith(b"HTTP/1.1 503 "):  # the server has not noticed yet that the last one has gone
                answer = await asked(server.port, REQUEST.replace(old, new))
            assert answer.startswith(b"HTTP/1.1 " + status)


async def test_a_crowd_that_connects_at_once_is_served() -> None:
    async with serving(hello) as server:
        clients = await asyncio.gather(*(RawClient.dial(server.port) for _ in range(100)))
        await asyncio.gather(*(client.write(REQUEST) for client in clients))
        for client in clients:
            await client.head()
            assert await client.read() == (True, TEXT, b"hello /socket")


async def test_a_connection_without_a_request_is_dropped_and_does_not_hold_up_a_stop() -> None:
    async with serving(hello, rest={"head_timeout": 0.1}) as server:
        silent = await RawClient.dial(server.port)
        assert await silent.ended() == b""
    async with serving(hello, rest={"head_timeout": 60.0, "stop_timeout": 60.0}) as server:
        silent = await RawClient.dial(server.port)
        await asyncio.sleep(0.01)
        server.stop.set()
        assert await silent.ended() == b""
        await server.task


async def test_a_closed_websocket_needs_no_garbage_collector() -> None:
    sockets: list[weakref.ref[Any]] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        sockets.append(weakref.ref(scope["extensions"][DIRECT]["listen"].__self__))
        scope["extensions"][DIRECT]["listen"](lambda message: scope)
        await hello(scope, receive, send)

    async with serving(app) as server:
        gc.disable()
        try:
            client = await RawClient.open(server.port)
            assert sockets[0]() is not None
            client.cut()
            while sockets[0]() is not None:
                await asyncio.sleep(0.01)
        finally:
            gc.enable()
