"""Each gap of hypercorn 0.18 on a raw socket, and the features that must still work."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import subprocess
import sys
import textwrap
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import coroutine
from typing import Any

import httpx
import psutil
import pytest
import websockets

from collab.transport.deflate import deflate
from collab.transport.launcher import PeerLimits, serve
from collab.transport.unproven import COST, IDLE, trust
from collab.transport.websocket import COST as WEBSOCKET_COST
from collab.transport.websocket import DIRECT, PeerGoneError, WebSocketLimits
from tests.collab.transport.raw import BINARY, CLOSE, PING, PONG, TEXT, RawClient, encode, head

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]

SMALL = WebSocketLimits(max_message=100_000, close_timeout=0.5)


class Serving:
    """A running launcher in this loop."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.stop = asyncio.Event()
        self.task: asyncio.Task[None]


@asynccontextmanager
async def serving(
    websocket: App | None = None, limits: WebSocketLimits = SMALL, **options: Any
) -> AsyncIterator[Serving]:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            assert websocket is not None
            await websocket(scope, receive, send)
        else:
            await http(scope, receive, send)

    async def default_http(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            body = (await receive())["body"]
            await send({"type": "http.response.start", "status": 200, "headers": [(b"x-app", b"1")]})
            await send({"type": "http.response.body", "body": scope["method"].encode() + b" " + body})
        else:
            raise RuntimeError("no lifespan here")

    http = options.pop("http", default_http)
    options.setdefault("rest", {})
    listener = socket.create_server(("127.0.0.1", 0))
    server = Serving(listener.getsockname()[1])
    server.task = asyncio.create_task(
        serve(
            app,
            sockets=[listener],
            shutdown=server.stop.wait,
            limits=PeerLimits(websocket=limits, **options.pop("rest")),
            **options,
        )
    )
    try:
        yield server
    finally:
        server.stop.set()
        async with asyncio.timeout(40):
            await server.task


async def echo(scope: Any, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(40):
        while not condition():
            await asyncio.sleep(0.005)


class Listening:
    """An application that accepts, and remembers its events."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.ended = asyncio.Event()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while True:
            self.events.append(await receive())
            if self.events[-1]["type"] == "websocket.disconnect":
                self.ended.set()
                return

    async def end(self) -> tuple[int, str]:
        async with asyncio.timeout(40):
            await self.ended.wait()
        return self.events[-1]["code"], self.events[-1]["reason"]


# what a stock client sees


@pytest.mark.parametrize("compression", [None, "deflate"])
@pytest.mark.parametrize("allowed", [False, True])
async def test_a_stock_client_gets_its_messages_back(compression: str | None, allowed: bool) -> None:
    limits = WebSocketLimits(max_message=3_000_000, compression=allowed)
    messages: list[str | bytes] = [
        "",
        "Füße",
        b"a",
        b"b" * 200,
        b"c" * 70_000,
        b"d" * 2_500_000,
        "é" * 99_999,
    ]
    async with (
        serving(echo, limits) as server,
        websockets.connect(
            f"ws://127.0.0.1:{server.port}",
            compression=compression,
            max_size=None,
        ) as client,
    ):
        for message in messages:
            await client.send(message)
            assert await client.recv() == message


async def test_http_is_served_and_connections_are_kept() -> None:
    async with serving() as server, httpx.AsyncClient(timeout=40, base_url=f"http://127.0.0.1:{server.port}") as client:
        for _ in range(3):
            response = await client.post("/", content=b"hello")
            assert (response.status_code, response.text) == (200, "POST hello")
            assert "hypercorn" not in str(response.headers)


async def test_the_application_sees_the_request() -> None:
    scopes = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        assert await receive() == {"type": "websocket.connect"}
        await send({"type": "websocket.accept", "subprotocol": "two", "headers": [(b"x-mine", b"1")]})

    async with serving(app) as server:
        client = await RawClient.open(server.port, headers=["Sec-WebSocket-Protocol: one, two", "Cookie: a=b"])
        assert b"sec-websocket-protocol: two\r\n" in client.response
        assert b"x-mine: 1\r\n" in client.response
        assert (await client.read()).close_code == 1011  # it returned without a goodbye
    (scope,) = scopes
    assert scope["path"] == "/socket"
    assert scope["raw_path"] == b"/socket"
    assert scope["query_string"] == b"a=b"
    assert scope["subprotocols"] == ["one", "two"]
    assert (b"cookie", b"a=b") in scope["headers"]
    assert scope["client"][0] == "127.0.0.1"
    assert scope["scheme"] == "ws"


# the handshake


async def test_a_refusal_before_accept_is_403() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.close", "code": 4403})

    async with serving(app) as server:
        client = await RawClient.dial(server.port)
        assert (await client.handshake()).startswith(b"HTTP/1.1 403 ")
        await client.ended()


async def test_a_refusal_may_be_a_response_of_its_own() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        headers = [(b"retry-after", b"5")]
        await send({"type": "websocket.http.response.start", "status": 503, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b"la", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"ter"})

    async with serving(app) as server:
        client = await RawClient.dial(server.port)
        response = await client.handshake()
        assert response.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 5\r\n" in response
        assert b"content-length: 5\r\n" in response
        assert await client.ended() == b"later"


async def test_a_failing_application_is_a_500_before_accept_and_a_1011_after(
    caplog: pytest.LogCaptureFixture,
) -> None:
    accept = False

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        if accept:
            await send({"type": "websocket.accept"})
        raise ZeroDivisionError

    async with serving(app) as server:
        client = await RawClient.dial(server.port)
        assert (await client.handshake()).startswith(b"HTTP/1.1 500 ")
        accept = True
        client = await RawClient.open(server.port)
        assert (await client.read()).close_code == 1011
    assert caplog.text.count("failed on a WebSocket") == 2


async def test_an_unknown_version_is_told_the_right_one() -> None:
    async with serving(echo) as server:
        client = await RawClient.dial(server.port)
        response = await client.handshake(version=8)
        assert response.startswith(b"HTTP/1.1 426 ")
        assert b"sec-websocket-version: 13\r\n" in response


async def test_http2_is_not_spoken() -> None:
    async with serving(echo) as server:
        client = await RawClient.dial(server.port)
        await client.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
        assert b"\x00\x00" not in await client.ended()
        client = await RawClient.dial(server.port)
        await client.write(
            b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
        )
        assert (await client.head()).startswith(b"HTTP/1.1 200 ")


async def test_a_client_may_not_speak_before_the_answer_but_nothing_breaks_if_it_does() -> None:
    answer = asyncio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await answer.wait()
        await echo(scope, receive, send)

    async with serving(app) as server:
        client = await RawClient.dial(server.port)
        shaking = asyncio.create_task(client.handshake())
        await asyncio.sleep(0)
        await client.send(BINARY, b"early")
        answer.set()
        assert (await shaking).startswith(b"HTTP/1.1 101 ")
        assert (await client.read()).payload == b"early"


# hole: permessage-deflate whenever it is offered


@pytest.mark.parametrize("allowed", [False, True])
async def test_a25_deflate_is_negotiated_only_if_the_operator_allows_it(allowed: bool) -> None:
    limits = WebSocketLimits(max_message=100_000, close_timeout=0.5, compression=allowed)
    offer = ["Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"]
    async with serving(echo, limits) as server:
        client = await RawClient.open(server.port, headers=offer)
        assert (b"sec-websocket-extensions" in client.response) is allowed
        if not allowed:
            await client.send(BINARY, b"", rsv1=True)
            assert (await client.read()).close_code == 1002


# hole: a limit that fragments and bombs step over


async def test_fragments_count_together() -> None:
    app = Listening()
    async with serving(app) as server:
        client = await RawClient.open(server.port)
        await client.send(BINARY, bytes(60_000), final=False)
        await client.send(0, bytes(40_000))
        await client.send(BINARY, bytes(60_000), final=False)
        await client.send(0, bytes(40_001))
        assert (await client.read()).close_code == 1009
        await client.ended()
        assert (await app.end())[0] == 1009
    assert [len(event["bytes"]) for event in app.events[:-1]] == [100_000]


async def test_an_announced_length_is_refused_before_the_bytes_come() -> None:
    async with serving(echo) as server:
        client = await RawClient.open(server.port)
        await client.write(head(0x80 | BINARY, 2**40))
        await client.write(bytes(4))
        assert (await client.read()).close_code == 1009
        await client.ended()


async def test_a_peer_that_ignores_the_goodbye_is_cut_off() -> None:
    async with serving(echo) as server:
        client = await RawClient.open(server.port)
        await client.write(head(0x80 | BINARY, 2**40))

        async def flood() -> None:
            while True:
                await client.write(bytes(65536))

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(flood(), 40)
        client.cut()


HOLDER = textwrap.dedent(
    """
    import asyncio, socket, sys, uvloop
    from collab.transport.websocket import WebSocketLimits
    from collab.transport.launcher import PeerLimits, serve

    BLOB = bytes(20_000_000)

    async def app(scope, receive, send):
        if scope["type"] != "websocket":
            raise RuntimeError
        await receive()
        await send({"type": "websocket.accept"})
        if scope["query_string"] == b"a=b" and sys.argv[1] == "blob":
            await send({"type": "websocket.send", "bytes": BLOB})
        while (await receive())["type"] != "websocket.disconnect":
            pass

    async def main():
        listener = socket.create_server(("127.0.0.1", 0))
        limits = WebSocketLimits(max_message=1_000_000, compression=True, ping_interval=0)
        await serve(
            app, sockets=[listener], shutdown=asyncio.Event().wait, limits=PeerLimits(websocket=limits),
            ready=lambda: print(listener.getsockname()[1], flush=True),
        )

    uvloop.run(main())
    """
)


@asynccontextmanager
async def process(mode: str) -> AsyncIterator[tuple[int, Callable[[], int]]]:
    """A server in its own process: its port, and a function that returns its memory in bytes."""
    with subprocess.Popen(  # noqa: ASYNC220 - starting is quick
        [sys.executable, "-c", HOLDER, mode],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=Path(__file__).parents[3],
    ) as child:
        assert child.stdout is not None
        try:
            port = int(await asyncio.to_thread(child.stdout.readline))
            yield port, lambda: psutil.Process(child.pid).memory_info().rss
        finally:
            child.kill()


async def test_bombs_and_endless_messages_take_no_memory() -> None:
    offer = ["Sec-WebSocket-Extensions: permessage-deflate"]
    bomb = b"".join(deflate(memoryview(bytes(100_000_000)), 15))
    async with process("listen") as (port, memory):
        await RawClient.open(port)
        before = memory()
        highest = before
        for _ in range(3):
            client = await RawClient.open(port, headers=offer)
            await client.send(BINARY, bomb, rsv1=True)
            assert (await client.read()).close_code == 1009
            highest = max(highest, memory())
        clients = [await RawClient.open(port) for _ in range(10)]
        for client in clients:
            await client.send(BINARY, bytes(500_000), final=False)
            for _ in range(500):
                await client.send(0, b"", final=False)
            await client.send(0, bytes(500_001), final=False)
        for client in clients:
            assert (await client.read()).close_code == 1009
            highest = max(highest, memory())
        assert highest - before < 40_000_000


# hole: nobody checks pongs


async def test_k2_a_silent_peer_is_pinged_and_then_dropped() -> None:
    app = Listening()
    async with serving(app, WebSocketLimits(ping_interval=0.05, ping_timeout=0.1)) as server:
        client = await RawClient.open(server.port)
        assert (await client.read()).opcode == PING
        assert await app.end() == (1006, "no sign of life")
        await client.ended()


async def test_k2_a_blackhole_between_the_two_is_found_by_the_server() -> None:
    """A proxy that stops forwarding without closing anything, like a network that lost a route."""
    app = Listening()
    swallowing = asyncio.Event()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if not swallowing.is_set():
                writer.write(data)

    async with serving(app, WebSocketLimits(ping_interval=0.05, ping_timeout=0.2)) as server:
        tasks: list[asyncio.Task[None]] = []

        async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", server.port)
            tasks.append(asyncio.create_task(forward(reader, up_writer)))
            await forward(up_reader, writer)
            up_writer.close()
            writer.close()

        listener = await asyncio.start_server(proxy, "127.0.0.1", 0)
        async with websockets.connect(f"ws://127.0.0.1:{listener.sockets[0].getsockname()[1]}") as client:
            for _ in range(5):
                await (await client.ping())
                await client.send(b"alive")
            await until(lambda: len(app.events) == 5)
            assert not app.ended.is_set()
            swallowing.set()
            assert (await app.end())[0] == 1006
            for task in tasks:
                task.cancel()
        listener.close()


async def test_k2_a_peer_that_answers_stays_also_if_it_sends_nothing_else() -> None:
    app = Listening()
    async with serving(app, WebSocketLimits(ping_interval=0.02, ping_timeout=0.2)) as server:
        client = await RawClient.open(server.port)
        for _ in range(5):
            assert (await client.read()).opcode == PING
            await client.send(PONG)
        assert not app.ended.is_set()


async def test_a_ping_is_answered() -> None:
    async with serving(echo) as server:
        client = await RawClient.open(server.port)
        await client.send(PING, b"are you there")
        assert await client.read() == (True, PONG, b"are you there")


async def test_the_newest_ping_is_answered_although_its_sender_reads_slowly() -> None:
    """A client that pings and is still taking in a large document must not take the server for dead."""
    size, heard = 20_000_000, asyncio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        sending = asyncio.ensure_future(send({"type": "websocket.send", "bytes": bytes(size)}))
        await receive()
        heard.set()
        await sending
        await receive()

    async with serving(app) as server:
        client = await RawClient.open(server.port)
        taken = len((await client.read()).payload)  # the rest does not fit in any buffer
        await client.send(PING, b"first")
        await client.send(PING, b"second")
        await client.send(BINARY, b"behind them")
        await heard.wait()
        pongs = []
        async with asyncio.timeout(40):
            while taken < size or b"second" not in pongs:
                frame = await client.read()
                if frame.opcode == PONG:
                    pongs.append(frame.payload)
                else:
                    taken += len(frame.payload)
        assert pongs == [b"second"]


# hole: every end is 1006


@pytest.mark.parametrize(
    ("payload", "seen"),
    [
        ((4001).to_bytes(2) + "Tschüß".encode(), (4001, "Tschüß")),
        ((1001).to_bytes(2), (1001, "")),
        (b"", (1005, "")),
    ],
)
async def test_a_clean_close_is_seen_as_the_client_meant_it(payload: bytes, seen: tuple[int, str]) -> None:
    app = Listening()
    async with serving(app) as server:
        client = await RawClient.open(server.port)
        await client.send(BINARY, b"last words")
        await client.send(CLOSE, payload)
        assert await app.end() == seen
        assert (await client.read()).close_code == seen[0]
        await client.ended()
    assert app.events[0]["bytes"] == b"last words"


async def test_a_lost_connection_is_1006() -> None:
    app = Listening()
    async with serving(app) as server:
        client = await RawClient.open(server.port)
        client.cut()
        assert await app.end() == (1006, "")


async def test_the_server_waits_for_the_answer_to_its_close_frame_but_not_for_ever() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close", "code": 4000, "reason": "enough"})
        events.append(await receive())

    events: list[Any] = []
    async with serving(app) as server:
        client = await RawClient.open(server.port)
        frame = await client.read()
        assert (frame.close_code, frame.payload[2:]) == (4000, b"enough")
        await client.send(BINARY, b"too late")
        await client.send(CLOSE, (4000).to_bytes(2))
        await client.ended()
        client = await RawClient.open(server.port)
        await client.ended()
    assert [event["type"] for event in events] == ["websocket.disconnect"] * 2
    assert [event["code"] for event in events] == [4000, 1006]


# hole: sending after the end succeeds


async def test_sending_after_the_peer_left_raises() -> None:
    sends = 0
    outcome: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        nonlocal sends
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        await send({"type": "websocket.close"})  # harmless
        try:
            for _ in range(20_000):
                sends += 1
                await send({"type": "websocket.send", "bytes": b"x"})
        except OSError as error:
            outcome.set_result(error)

    async with serving(app) as server:
        client = await RawClient.open(server.port)
        await client.send(CLOSE)
        assert isinstance(await asyncio.wait_for(outcome, 40), PeerGoneError)
        assert sends == 1


@pytest.mark.parametrize("size", [100, 10_000_000])
async def test_a_sender_that_waits_for_a_slow_reader_is_woken_when_it_leaves(size: int) -> None:
    outcome: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        try:
            while True:
                await send({"type": "websocket.send", "bytes": bytes(size)})
        except OSError as error:
            outcome.set_result(error)

    async with serving(app) as server:
        client = await RawClient.open(server.port, receive_buffer=4096)
        await client.read()
        client.cut()
        assert isinstance(await asyncio.wait_for(outcome, 40), PeerGoneError)


async def test_a_send_that_is_cancelled_halfway_ends_the_connection() -> None:
    app_task: asyncio.Future[asyncio.Future[None]] = asyncio.get_running_loop().create_future()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        event = {"type": "websocket.send", "bytes": bytes(10_000_000)}
        sending = asyncio.ensure_future(send(event))
        app_task.set_result(sending)
        await asyncio.wait([sending])
        assert (await receive())["type"] == "websocket.disconnect"

    async with serving(app) as server:
        client = await RawClient.open(server.port, receive_buffer=4096)
        assert not (await client.read()).final
        (await app_task).cancel()
        await client.ended()


# hole: a large message is copied for everyone who gets it


async def test_a_large_message_leaves_in_fragments_and_control_frames_pass_between_them() -> None:
    blob = bytes(range(256)) * 4000

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await asyncio.gather(
            send({"type": "websocket.send", "bytes": blob}),
            send({"type": "websocket.send", "bytes": b"small"}),
            send({"type": "websocket.send", "text": "é" * 50_000}),
        )
        while (await receive())["type"] == "websocket.receive":
            pass

    async with serving(app) as server:
        client = await RawClient.open(server.port, receive_buffer=4096)
        await client.send(PING, b"a")
        message, seen = await client.message()
        assert message == blob
        assert max(len(frame.payload) for frame in seen) == 65536
        assert [frame.opcode for frame in seen if frame.opcode not in (0, PONG)] == [BINARY]
        assert (await client.message())[0] == b"small"
        message, seen = await client.message()
        assert message.decode() == "é" * 50_000
        assert seen[0].opcode == TEXT


async def test_a_large_message_to_many_slow_readers_is_held_once() -> None:
    async with process("blob") as (port, memory):
        first = await RawClient.open(port, receive_buffer=4096)
        await first.read()
        before = memory()
        clients = [await RawClient.open(port, receive_buffer=4096) for _ in range(50)]
        for client in clients:
            assert (await client.read()).payload == bytes(65536)
        assert memory() - before < 20_000_000
        for client in clients:
            client.cut()


# hole: the inbox of an application that does not listen


async def test_a_flood_waits_in_the_network_while_the_application_does_not_listen() -> None:
    listen = asyncio.Event()
    app = Listening()

    async def busy(scope: Any, receive: Receive, send: Send) -> None:
        async def after() -> Any:
            await listen.wait()
            return await receive()

        await app(scope, after, send)

    listen.set()
    async with serving(busy) as server:
        client = await RawClient.open(server.port)
        listen.clear()
        sent: list[int] = []

        async def flood() -> None:
            for number in range(3000):
                await client.send(BINARY, bytes(10_000))
                sent.append(number)
            await client.send(CLOSE, (1000).to_bytes(2))

        sending = asyncio.create_task(flood())
        progress = [-1]

        def stalled() -> bool:
            progress.append(len(sent))
            return progress[-20:] == [progress[-1]] * 20

        await until(stalled)
        assert len(sent) < 3000
        assert len(app.events) <= 1
        listen.set()
        await sending
        assert await app.end() == (1000, "")
        assert len(app.events) == 3001


# messages without a task in between


class Direct:
    """An application that uses the extension: echoes what it can send at once."""

    def __init__(self) -> None:
        self.taken: list[bytes | str] = []
        self.unsent = 0
        self.events: list[Any] = []

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        extension = scope["extensions"][DIRECT]

        def take(message: bytes | str) -> None:
            self.taken.append(message)
            if message == b"fail":
                raise ZeroDivisionError
            if not extension["send"](message):
                self.unsent += 1

        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "bytes": b"go"})
        await asyncio.sleep(0.02)
        extension["listen"](take)
        while not self.events or self.events[-1]["type"] != "websocket.disconnect":
            self.events.append(await receive())


async def test_direct_messages_arrive_in_order_also_those_from_before() -> None:
    app = Direct()
    async with serving(app) as server:
        client = await RawClient.open(server.port)
        assert (await client.read()).payload == b"go"
        messages = [str(number).encode() for number in range(500)]
        kinds = [BINARY if number % 3 else TEXT for number in range(500)]
        await client.write(b"".join(map(encode, kinds, messages)))
        for kind, message in zip(kinds, messages, strict=True):
            frame = await client.read()
            assert (frame.opcode, frame.payload) == (kind, message)
        await client.send(CLOSE, (1000).to_bytes(2))
        await until(lambda: app.events)
    assert app.taken == [
        message if kind == BINARY else message.decode() for kind, message in zip(kinds, messages, strict=True)
    ]
    assert app.events[0]["code"] == 1000


async def test_a_direct_message_wakes_no_task() -> None:
    app = Direct()
    waits: list[object] = []

    @coroutine
    def counted(work: Coroutine[Any, None, None]) -> Generator[Any, None, None]:
        with suppress(StopIteration):
            while True:
                waits.append(work.send(None))
                yield waits[-1]

    async with serving(lambda *connection: counted(app(*connection))) as server:
        client = await RawClient.open(server.port)
        await client.read()
        await client.send(BINARY, b"first")
        await client.read()
        before = len(waits)
        for _ in range(20):
            await client.send(BINARY, b"next")
            await client.read()
        assert len(waits) == before
        await client.send(CLOSE, (1000).to_bytes(2))
        await until(lambda: app.events)
    assert len(app.taken) == 21


async def test_direct_sending_says_no_instead_of_waiting_for_a_slow_reader() -> None:
    app = Direct()
    async with serving(app) as server:
        client = await RawClient.open(server.port, receive_buffer=4096)
        for _ in range(200):
            await client.send(BINARY, bytes(50_000))
        await until(lambda: len(app.taken) == 200)
        assert 0 < app.unsent < 200
        client.cut()
        await until(lambda: app.events)


async def test_a_failure_with_a_direct_message_ends_only_this_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(Direct()) as server:
        good = await RawClient.open(server.port)
        await good.read()
        bad = await RawClient.open(server.port)
        await bad.read()
        await bad.send(BINARY, b"fail")
        assert (await bad.read()).close_code == 1011
        await good.send(BINARY, b"fine")
        assert (await good.read()).payload == b"fine"
    assert "ZeroDivisionError" in caplog.text


# hole: stopping


async def test_stopping_takes_nobody_in_then_drains_then_ends_what_is_left() -> None:
    told: list[str] = []
    drained = asyncio.Event()
    app = Listening()

    async def lifespan(scope: Any, receive: Receive, send: Send) -> None:
        while True:
            kind = (await receive())["type"]
            told.append(kind)
            await send({"type": kind + ".complete"})
            if kind == "lifespan.shutdown":
                return

    async def drain() -> None:
        told.append("drain")
        with pytest.raises(ConnectionError):
            await RawClient.dial(server.port)
        told.append("refused")
        await drained.wait()

    async with serving(app, http=lifespan, drain=drain) as server:
        client = await RawClient.open(server.port)
        server.stop.set()
        await until(lambda: "refused" in told)
        await client.send(BINARY, b"still served")
        await until(lambda: app.events)
        drained.set()
        assert (await client.read()).close_code == 1012
        await client.send(CLOSE, (1012).to_bytes(2))
        async with asyncio.timeout(40):
            await server.task
    assert told == ["lifespan.startup", "drain", "refused", "lifespan.shutdown"]
    assert (await app.end())[0] == 1012


async def test_an_application_that_does_not_end_is_cancelled() -> None:
    cancelled = asyncio.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with serving(app, rest={"stop_timeout": 0.2}) as server:
        await RawClient.open(server.port)
        server.stop.set()
        async with asyncio.timeout(40):
            await server.task
    assert cancelled.is_set()


async def test_a_request_that_does_not_end_is_cancelled_and_no_error_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun = asyncio.Event()

    async def http(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("no lifespan here")
        begun.set()
        await asyncio.Event().wait()

    async with serving(http=http, rest={"stop_timeout": 0.2}) as server:
        client = await RawClient.dial(server.port)
        await client.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await begun.wait()
        server.stop.set()
        async with asyncio.timeout(40):
            await server.task
    assert not [record for record in caplog.records if record.name == "asyncio"]


async def test_a_failed_startup_is_raised() -> None:
    async def lifespan(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no storage"})

    with pytest.raises(Exception, match="no storage"):
        async with serving(http=lifespan):
            pass


# hole: peers that take their time


async def test_a_slow_head_is_not_waited_for() -> None:
    async with serving(rest={"head_timeout": 0.2}) as server:
        client = await RawClient.dial(server.port)
        await client.write(b"GET / HTTP/1.1\r\nHost: a\r\n")
        await client.ended()


async def test_a_slow_body_is_not_waited_for() -> None:
    async with serving(rest={"stall_timeout": 0.2}) as server:
        client = await RawClient.dial(server.port)
        await client.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
        await client.ended()


async def test_a_response_that_nobody_takes_is_given_up() -> None:
    ended = asyncio.Event()

    async def http(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("no lifespan here")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            for _ in range(1000):
                await send({"type": "http.response.body", "body": bytes(100_000), "more_body": True})
        finally:
            ended.set()

    async with serving(http=http, rest={"stall_timeout": 0.2}) as server:
        client = await RawClient.dial(server.port, receive_buffer=4096)
        await client.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await client.head()
        async with asyncio.timeout(40):
            await ended.wait()


async def test_a_head_without_end_is_refused() -> None:
    async with serving() as server:
        client = await RawClient.dial(server.port)
        await client.write(b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000)
        assert (await client.head()).startswith(b"HTTP/1.1 431 ")


async def test_access_is_logged_without_the_query(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with serving(echo, access_log=logging.getLogger("access")) as server:
        await RawClient.open(server.port)
        async with httpx.AsyncClient(timeout=40) as client:
            await client.get(f"http://127.0.0.1:{server.port}/page?token=secret")
    lines = [record.getMessage() for record in caplog.records if record.name == "access"]
    assert len(lines) == 2
    assert '"GET /socket 1.1" 101' in lines[0]
    assert "a=b" not in str(lines)
    assert "secret" not in str(lines)


async def test_a_trickling_body_is_dropped() -> None:
    async with serving(rest={"stall_timeout": 0.3, "body_rate": 1000.0}) as server:
        client = await RawClient.dial(server.port)
        await client.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
        with pytest.raises((EOFError, ConnectionError)):
            while True:
                await client.write(b"a")
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await client.exactly(1)


# hole: one address, or clients without a credential, that take everything


async def test_one_address_has_half_of_the_connections_and_what_is_over_is_told_to_come_back() -> None:
    async with serving(rest={"connections": 8}) as server:
        idle = [await RawClient.dial(server.port) for _ in range(4)]
        await asyncio.sleep(0.05)
        late = await RawClient.dial(server.port)
        assert (await late.head()).startswith(b"HTTP/1.1 503 ")
        await late.ended()
        idle.pop().cut()
        await asyncio.sleep(0.05)
        again = await RawClient.dial(server.port)
        await again.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await again.head()).startswith(b"HTTP/1.1 200 ")


async def test_a_proxy_of_ours_has_as_many_connections_as_there_are() -> None:
    async with serving(rest={"connections": 8, "connections_per_address": 2, "proxies": ["127.0.0.0/8"]}) as server:
        idle = [await RawClient.dial(server.port) for _ in range(7)]
        await idle[6].write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await idle[6].head()).startswith(b"HTTP/1.1 200 ")


async def test_connections_without_a_websocket_are_counted_by_address() -> None:
    async with serving(Listening(), rest={"connections_per_address": 2}) as server:
        sockets = [await RawClient.open(server.port) for _ in range(5)]
        idle = [await RawClient.dial(server.port) for _ in range(2)]
        await asyncio.sleep(0.05)
        assert (await (await RawClient.dial(server.port)).head()).startswith(b"HTTP/1.1 503 ")
        assert len(sockets + idle) == 7


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
async def test_who_leaves_during_the_handshake_holds_no_place(reset: bool) -> None:
    never = WebSocketLimits(ping_interval=1000.0)  # only the end of the connection itself can tell
    async with serving(Listening(), never, rest={"connections": 2}) as server:  # and half of them for one address
        for _ in range(5):
            sock = socket.create_connection(("127.0.0.1", server.port))
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.sendall(HANDSHAKE)
            sock.close()
            async with asyncio.timeout(10):
                while not (await answer(server.port)).startswith(b"HTTP/1.1 200 "):
                    await asyncio.sleep(0.01)


HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + b64encode(bytes(16)) + b"\r\n\r\n"
)


async def answer(port: int) -> bytes:
    client = await RawClient.dial(port)
    await client.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    return await client.head()


class Trusting(Direct):
    """Trusts a client that sends the password."""

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        extension = scope["extensions"][DIRECT]

        def take(message: bytes | str) -> None:
            self.taken.append(message)
            if message == b"password":
                extension["trust"]()

        await receive()
        await send({"type": "websocket.accept"})
        extension["listen"](take)
        while not self.events or self.events[-1]["type"] != "websocket.disconnect":
            self.events.append(await receive())


UNTRUSTED = WebSocketLimits(max_message=5_000_000, close_timeout=0.5, untrusted=1000)


async def test_what_a_client_sends_before_it_is_trusted_waits_and_is_not_lost() -> None:
    app = Trusting()
    async with serving(app, UNTRUSTED) as server:
        client = await RawClient.open(server.port)
        await client.send(BINARY, b"password")
        await client.send(BINARY, b"x" * 50_000)
        await client.send(BINARY, b"end")
        await until(lambda: len(app.taken) == 3)
        other = await RawClient.open(server.port)
        await other.send(BINARY, b"wrong")
        await other.send(BINARY, b"y" * 50_000)
        await until(lambda: len(app.taken) == 4)
        await other.send(CLOSE, (1000).to_bytes(2))
        await asyncio.sleep(0.05)
        other.cut()
        await client.send(BINARY, b"still here")
        await until(lambda: len(app.taken) == 5)
    assert app.taken == [b"password", b"x" * 50_000, b"end", b"wrong", b"still here"]


async def test_a_client_that_is_trusted_before_it_is_accepted_may_send_as_much_as_others() -> None:
    class Knowing(Direct):
        async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
            scope["extensions"][DIRECT]["trust"]()
            await super().__call__(scope, receive, send)

    app = Knowing()
    async with serving(app, UNTRUSTED) as server:
        client = await RawClient.open(server.port)
        await client.send(BINARY, b"x" * 50_000)
        await until(lambda: app.taken == [b"x" * 50_000])


async def test_clients_that_are_not_trusted_share_a_budget_and_those_that_are_do_not() -> None:
    app = Trusting()
    rest = {"unproven": 200_000, "unproven_per_address": 150_000}
    async with serving(app, UNTRUSTED, rest=rest) as server:
        client = await RawClient.open(server.port)
        await client.send(BINARY, b"password")
        await until(lambda: app.taken)
        strangers = [await RawClient.open(server.port) for _ in range(5)]
        refused = await RawClient.dial(server.port)
        assert (await refused.handshake()).startswith(b"HTTP/1.1 503 ")
        await strangers[0].send(BINARY, b"z" * 60_000)
        seen = await strangers[0].read()
        assert (seen.opcode, seen.close_code) == (CLOSE, 1013)
        await strangers[0].ended()
        for stranger in strangers[1:]:
            stranger.cut()
        await client.send(BINARY, b"x" * 1_000_000)
        await until(lambda: len(app.taken) == 2)
        async with asyncio.timeout(40):
            while not (await (await RawClient.dial(server.port)).handshake()).startswith(b"HTTP/1.1 101 "):
                await asyncio.sleep(0.05)


async def test_silent_connections_and_slow_bodies_of_strangers_end_and_a_trusted_one_stays() -> None:
    async def http(scope: Any, receive: Receive, send: Send) -> None:
        if scope["path"] == "/known":
            trust(scope)
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async with serving(http=http, rest={"unproven": 2 * COST + 2 * IDLE}) as server:
        known = await RawClient.dial(server.port)
        await known.write(b"GET /known HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await known.head()).startswith(b"HTTP/1.1 200 ")
        strangers = [await RawClient.dial(server.port) for _ in range(5)]
        for stranger in strangers[:2]:
            await stranger.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 100_000)
        for stranger in strangers[:2]:
            await stranger.ended()
        strangers += [await RawClient.dial(server.port) for _ in range(4)]
        await strangers[2].ended()
        await strangers[8].write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await strangers[8].head()).startswith(b"HTTP/1.1 200 ")
        await known.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await known.head()).startswith(b"HTTP/1.1 200 ")


async def test_who_comes_over_http_is_answered_while_websockets_of_strangers_hold_all_memory() -> None:
    budget = 32 * WEBSOCKET_COST
    async with serving(Trusting(), UNTRUSTED, rest={"unproven": budget, "unproven_per_address": budget}) as server:
        strangers = [await RawClient.open(server.port) for _ in range(32)]
        client = await RawClient.dial(server.port)
        assert (await client.handshake()).startswith(b"HTTP/1.1 503 ")
        for stranger in strangers:
            stranger.cut()
