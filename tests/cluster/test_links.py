"""A link does what it says: passes bytes on, or delays, holds, swallows or refuses them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from collab.cluster.passes import Passes
from tests.cluster.links import Link, Proxy, Route, sender_of

PATIENCE = 20


class Client:
    """A connection that is closed at the end of :func:`echo_behind`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def says(self, text: bytes) -> None:
        self.writer.write(text)
        await self.writer.drain()

    async def hears(self, text: bytes) -> bool:
        async with asyncio.timeout(PATIENCE):
            return await self.reader.readexactly(len(text)) == text

    async def is_cut(self) -> bool:
        async with asyncio.timeout(PATIENCE):
            try:
                return not await self.reader.read(1)
            except OSError:
                return True


@asynccontextmanager
async def echo_behind(link: Link) -> AsyncIterator[Callable[[], Awaitable[Client]]]:
    """Connects to a server that sends back what it gets, through a proxy and ``link``."""
    writers: list[asyncio.StreamWriter] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with suppress(OSError):
            while data := await reader.read(100):
                writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def route(head: bytes) -> Sequence[Route]:
        return [(link, port)]

    async def connect() -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writers.append(writer)
        return Client(reader, writer)

    proxy = Proxy(route)
    await proxy.start()
    yield connect
    await proxy.stop()
    server.close()
    for writer in writers:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def test_a_link_passes_bytes_and_the_end_of_a_connection_on() -> None:
    link = Link("l")
    async with echo_behind(link) as connect:
        client = await connect()
        await client.says(b"one")
        assert await client.hears(b"one")
        assert len(link) == 1
        client.writer.write_eof()
        assert await client.is_cut()


async def test_a_link_that_is_cut_resets_what_is_open_and_refuses_what_comes_until_it_is_healed() -> None:
    link = Link("l")
    async with echo_behind(link) as connect:
        client = await connect()
        await client.says(b"one")
        assert await client.hears(b"one")
        link.cut()
        assert await client.is_cut()
        assert await (await connect()).is_cut()
        link.heal()
        client = await connect()
        await client.says(b"two")
        assert await client.hears(b"two")


@pytest.mark.parametrize("direction", ["there", "back"])
async def test_what_is_held_arrives_after_the_link_is_healed(direction: str) -> None:
    link = Link("l")
    async with echo_behind(link) as connect:
        client = await connect()
        link.hold(direction)  # type: ignore[arg-type]
        await client.says(b"one")
        hearing = asyncio.create_task(client.hears(b"one"))
        await asyncio.sleep(0.05)
        assert not hearing.done()
        link.heal()
        assert await hearing


@pytest.mark.parametrize("direction", ["there", "back"])
async def test_a_connection_that_lost_bytes_is_reset_when_the_link_is_healed_and_others_live_on(direction: str) -> None:
    link = Link("l")
    async with echo_behind(link) as connect:
        client, quiet = await connect(), await connect()
        await quiet.says(b"zero")
        assert await quiet.hears(b"zero")
        link.swallow(direction)  # type: ignore[arg-type]
        await client.says(b"one")
        hearing = asyncio.create_task(client.is_cut())
        await asyncio.sleep(0.05)
        assert not hearing.done(), "a half-open connection tells nothing"
        link.heal()
        assert await hearing
        await quiet.says(b"two")
        assert await quiet.hears(b"two")


async def test_a_delay_slows_each_direction() -> None:
    link = Link("l")
    async with echo_behind(link) as connect:
        client = await connect()
        link.delay = 0.05
        began = asyncio.get_running_loop().time()
        await client.says(b"one")
        assert await client.hears(b"one")
        assert asyncio.get_running_loop().time() - began >= 0.1


def test_the_sender_of_a_request_is_read_from_its_pass() -> None:
    shown = Passes(bytes(32), 7).issue(3, address="10.0.0.1")
    head = f"GET /rooms/a HTTP/1.1\r\nHost: x\r\nCollab-Node: {shown}\r\n\r\n".encode()
    assert sender_of(head) == 7
    assert sender_of(b"GET /rooms/a HTTP/1.1\r\nHost: x\r\n\r\n") is None
