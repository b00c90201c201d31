"""A tunnel carries messages both ways in order, at the pace of both sides, and tells how the owner ended it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from collab.cluster import tunnel as tunnels
from collab.cluster.passes import HEADER
from collab.cluster.tunnel import Handshake, Tunnel
from collab.errors import Unavailable

Serve = Callable[[ServerConnection], Awaitable[None]]


class Client:
    """The client's side of a tunnel."""

    def __init__(self) -> None:
        self.got: list[bytes | str] = []
        self.news = asyncio.Event()
        self.held = 0
        self.busy: asyncio.Task[None] | None = None
        self.ended: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()

    def deliver(self, message: bytes | str) -> asyncio.Task[None] | None:
        self.got.append(message)
        self.news.set()
        return self.busy

    def tunnel(self) -> Tunnel:
        return Tunnel(
            deliver=self.deliver,
            hold=self.hold,
            release=self.release,
            ended=lambda code, reason: self.ended.set_result((code, reason)),
        )

    def hold(self) -> None:
        self.held += 1

    def release(self) -> None:
        self.held -= 1

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.got) < count:
                self.news.clear()
                await self.news.wait()


@asynccontextmanager
async def tunnel(
    owner: Serve, headers: list[tuple[str, str]] | None = None
) -> AsyncIterator[tuple[Tunnel, Client, list[ServerConnection]]]:
    served: list[ServerConnection] = []

    async def handle(connection: ServerConnection) -> None:
        served.append(connection)
        await owner(connection)

    async with serve(handle, "127.0.0.1", 0, compression=None, max_size=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        client = Client()
        made = client.tunnel()
        await made.open(f"http://127.0.0.1:{port}", Handshake("/rooms/d?token=t", headers or [], ("chat",)), "the pass")
        yield made, client, served
        made.close()


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def test_messages_of_both_kinds_pass_in_order() -> None:
    async with tunnel(echo) as (made, client, _):
        sent: list[bytes | str] = [b"one", "two", b"", b"x" * 3_000_000, b"last"]
        for message in sent:
            made.send(message)
        await client.until(len(sent))
    assert client.got == sent
    assert client.held == 0


async def test_an_owner_is_not_read_while_its_client_is_slow() -> None:
    async def flood(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            while True:
                await connection.send(b"x" * 100_000)

    async with tunnel(flood) as (_, client, _):
        may_read = asyncio.Event()

        async def slow() -> None:
            await may_read.wait()

        client.busy = asyncio.create_task(slow())
        await client.until(1)
        some = -1
        while some < len(client.got):  # what had arrived still comes
            some = len(client.got)
            await asyncio.sleep(0.05)
        client.busy = None
        may_read.set()
        await client.until(some + 100)


async def test_a_slow_client_does_not_make_its_owner_look_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnels, "_PING_SECONDS", 0.05)
    may_read = asyncio.Event()

    async def slow() -> None:
        await may_read.wait()

    async def flood(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            for _ in range(100):
                await connection.send(b"x" * 100_000)
            await connection.wait_closed()

    async with tunnel(flood) as (_, client, _):
        client.busy = asyncio.create_task(slow())
        await client.until(1)
        await asyncio.sleep(0.5)  # many times what a silent owner has
        client.busy = None
        may_read.set()
        await client.until(100)
        assert not client.ended.done()


async def test_an_owner_that_reads_nothing_for_a_while_but_speaks_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnels, "_PING_SECONDS", 0.2)

    async def speaks(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await asyncio.sleep(0.3)  # so that it is asked whether it lives
        for _ in range(20):
            await connection.send(b"I am busy")
            await asyncio.sleep(0.05)
        connection.transport.resume_reading()
        await connection.wait_closed()

    async with tunnel(speaks) as (_, client, _):
        await client.until(20)
        assert not client.ended.done()


async def test_an_owner_that_is_silent_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tunnels, "_PING_SECONDS", 0.05)
    over = asyncio.Event()

    async def silent(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await over.wait()

    async with tunnel(silent) as (_, client, _):
        async with asyncio.timeout(10):
            assert await client.ended == (1006, "")
        over.set()


async def test_the_owner_sees_the_client_s_handshake_and_the_pass() -> None:
    headers = [("authorization", "Bearer t"), ("host", "app.example"), ("sec-websocket-key", "k"), (HEADER, "forged")]
    async with tunnel(echo, headers) as (_, _, served):
        request = served[0].request
        assert request is not None
        assert request.path == "/rooms/d?token=t"
        assert request.headers.get_all("authorization") == ["Bearer t"]
        assert request.headers.get_all(HEADER) == ["the pass"], "a client cannot bring a pass of its own"
        assert request.headers.get_all("host") == ["app.example"]


async def test_a_client_is_not_read_while_its_owner_takes_nothing() -> None:
    may_read = asyncio.Event()

    async def stubborn(connection: ServerConnection) -> None:
        await may_read.wait()
        await echo(connection)

    async with tunnel(stubborn) as (made, client, _):
        count = 0
        while not client.held:
            made.send(b"x" * 100_000)
            count += 1
            await asyncio.sleep(0)
            assert count < 1000
        may_read.set()
        await client.until(count)
        async with asyncio.timeout(10):
            while client.held:
                await asyncio.sleep(0.001)


@pytest.mark.parametrize("code", [4403, 4503, 1012])
async def test_the_owner_s_close_code_and_reason_are_told(code: int) -> None:
    async def refuse(connection: ServerConnection) -> None:
        await connection.close(code, "because")

    async with tunnel(refuse) as (_, client, _):
        assert await asyncio.wait_for(client.ended, 10) == (code, "because")


async def test_an_owner_that_is_lost_ends_the_tunnel_as_an_abnormal_closure() -> None:
    async def die(connection: ServerConnection) -> None:
        connection.transport.abort()

    async with tunnel(die) as (_, client, _):
        assert await asyncio.wait_for(client.ended, 10) == (1006, "")


async def test_a_client_that_leaves_ends_the_tunnel_without_a_word_to_itself() -> None:
    gone = asyncio.Event()

    async def wait(connection: ServerConnection) -> None:
        await connection.wait_closed()
        gone.set()

    async with tunnel(wait) as (made, client, _):
        made.close()
        await asyncio.wait_for(gone.wait(), 10)
        assert not client.ended.done()


async def test_a_node_that_does_not_answer_or_refuses_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        await Client().tunnel().open("http://127.0.0.1:1", Handshake("/rooms/d", [], ()), "pass")

    async with serve(echo, "127.0.0.1", 0, process_request=lambda c, r: c.respond(403, "no")) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        with pytest.raises(Unavailable, match="403"):
            await Client().tunnel().open(f"http://127.0.0.1:{port}", Handshake("/rooms/d", [], ()), "pass")


async def test_who_gives_up_while_a_tunnel_opens_leaves_no_connection() -> None:
    served: list[ServerConnection] = []

    async def handle(connection: ServerConnection) -> None:
        served.append(connection)
        await connection.wait_closed()

    async with serve(handle, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        for turns in range(40):
            made = Client().tunnel()
            opening = asyncio.create_task(made.open(f"http://127.0.0.1:{port}", Handshake("/", [], ()), "the pass"))
            for _ in range(turns):
                await asyncio.sleep(0)
            opening.cancel()
            await asyncio.wait((opening,))
            if not opening.cancelled():
                made.close()
        await asyncio.sleep(0.1)
        async with asyncio.timeout(10):
            await asyncio.gather(*(connection.wait_closed() for connection in served))
    assert served


async def test_a_connection_that_is_lost_before_it_was_announced_is_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else all messages for the owner would be dropped, and nobody would ever be told."""
    disconnected: list[bool] = []

    class Lost:
        def disconnect(self) -> None:
            disconnected.append(True)

    async def connect(*_: object, **__: object) -> tuple[Lost, None]:
        return Lost(), None

    monkeypatch.setattr("collab.cluster.tunnel.ws_connect", connect)
    client = Client()
    with pytest.raises(Unavailable, match="was lost"):
        await client.tunnel().open("http://127.0.0.1:1", Handshake("/rooms/d", [], ()), "pass")
    assert disconnected == [True]
    assert not client.ended.done()
