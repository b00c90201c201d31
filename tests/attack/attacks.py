"""The attacks. Each is a function that runs until it is cancelled.

Add one by writing a function and naming it in :data:`ATTACKS`; the runner needs nothing else.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pycrdt
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from collab.gate.encode import encode_update
from collab.wire import yjs
from presence.lib0 import encode_string, encode_uint
from tests.attack.target import Target

Attack = Callable[[Target], Coroutine[Any, Any, None]]
_DOCUMENTS = count(random.randrange(10**9))


@dataclass(frozen=True)
class Row:
    """An attack and its description."""

    name: str
    about: str
    run: Attack


def text(client: int, length: int) -> bytes:
    """An update: a text of ``size`` characters, by one client."""
    return b"".join((b"\1\1", encode_uint(client), b"\0\4\1\1t", encode_string("x" * length), b"\0"))


def every_second(client: int, length: int, *, falling: bool, shuffled: bool = False) -> bytes:
    """An update that deletes every second of so many characters."""
    clocks = list(range(1, length, 2))
    if falling:
        clocks.reverse()
    if shuffled:
        random.shuffle(clocks)
    return encode_update(b"", (), [(client, clock, 1) for clock in clocks])


def siblings(first: int, clients: int, key: str = "k") -> bytes:
    """An update: so many clients write one key of a map, none having seen the others."""
    out = [encode_uint(clients)]
    for client in range(first, first + clients):
        out += (
            b"\1",
            encode_uint(client),
            b"\0",
            bytes((8 | 32, 1)),
            encode_string("m"),
            encode_string(key),
            b"\1\x7e",
        )
    return b"".join((*out, b"\0"))


def many_clients(clients: int) -> bytes:
    """An update: a text to which so many clients added a character each."""
    out = [encode_uint(clients)]
    for client in range(clients):
        out += (b"\1", encode_uint(2**31 + client), b"\0\4\1\1t\1x")
    return b"".join((*out, b"\0"))


@asynccontextmanager
async def _socket(target: Target, name: str, user: str = "mallory", access: str = "write") -> Any:
    """A y-websocket connection; only a background task reads from it."""
    url = f"{target.rooms}/{name}?token={target.token(user, access=access, project='attacker')}"
    async with connect(url, max_size=None, open_timeout=60) as socket:
        reading = asyncio.create_task(_read(socket))
        try:
            yield socket
        finally:
            reading.cancel()


async def _read(socket: ClientConnection) -> None:
    with suppress(ConnectionClosed):
        async for _ in socket:
            pass


async def _for_ever(work: Callable[[], Awaitable[None]]) -> None:
    """Repeat, even after refusals."""
    while True:
        with suppress(OSError, ConnectionClosed, InvalidHandshake, httpx.HTTPError, TimeoutError):
            await work()
        await asyncio.sleep(0.05)


def _writing(updates: Callable[[], Iterator[bytes]]) -> Attack:
    """Write updates into new documents, one after the other, and wait until each is applied."""

    async def attack(target: Target) -> None:
        async def work() -> None:
            async with _socket(target, f"docs/a{next(_DOCUMENTS)}") as socket:
                for update in updates():
                    await socket.send(yjs.update(update))
                    await (await socket.ping())

        await _for_ever(work)

    return attack


def _reading(prepare: bytes, message: Callable[[], bytes], *, sessions: int = 1) -> Attack:
    """Send one message again and again from sessions that may not write."""

    async def attack(target: Target) -> None:
        name = f"docs/a{next(_DOCUMENTS)}"
        async with _socket(target, name, "owner") as owner:
            await owner.send(yjs.update(prepare))
            await (await owner.ping())

            async def work() -> None:
                async with _socket(target, name, "mallory", "read") as socket:
                    while True:
                        await socket.send(message())
                        await asyncio.sleep(0)

            await asyncio.gather(*(_for_ever(work) for _ in range(sessions)))

    return attack


def _reversed_deletions(length: int) -> Callable[[], Iterator[bytes]]:
    def updates() -> Iterator[bytes]:
        yield text(7, length)
        yield every_second(7, length, falling=True)

    return updates


def _in_small_messages() -> Iterator[bytes]:
    yield text(7, 200_000)
    for end in range(199_999, 400, -400):
        yield encode_update(b"", (), [(7, clock, 1) for clock in range(end, end - 400, -2)])


def _shuffled() -> Iterator[bytes]:
    yield text(7, 100_000)
    yield every_second(7, 100_000, falling=False, shuffled=True)


def _siblings_slowly() -> Iterator[bytes]:
    for first in range(1, 40_000, 500):
        yield siblings(first, 500)


async def _anonymous_sockets(target: Target) -> None:
    """Endless large messages from unauthenticated clients."""
    head = b"\x82\xff" + (16 * 2**20).to_bytes(8, "big") + b"\0\0\0\0"

    async def one(path: str) -> None:
        reader, writer = await asyncio.open_connection(target.host, target.port)
        try:
            writer.write(
                f"GET {path} HTTP/1.1\r\nHost: {target.address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            await reader.readuntil(b"\r\n\r\n")
            writer.write(head)
            for _ in range(255):
                writer.write(bytes(65536))
                await writer.drain()
            await reader.read()
        finally:
            writer.close()

    async def many() -> None:
        paths = ("/hocuspocus", "/realtime") * 30
        await asyncio.gather(*(one(path) for path in paths), return_exceptions=True)

    await _for_ever(many)


def _requests(
    method: str,
    path: str,
    body: object,
    sessions: int,
    prepare: Callable[[httpx.AsyncClient], Awaitable[None]],
) -> Attack:
    """The same HTTP request from many clients at once."""

    async def attack(target: Target) -> None:
        headers = {"Authorization": f"Bearer {target.token('mallory', project='attacker')}"}
        limits = httpx.Limits(max_connections=sessions)
        async with httpx.AsyncClient(base_url=target.http, headers=headers, timeout=40, limits=limits) as client:
            await prepare(client)

            async def work() -> None:
                await client.request(method, path, json=body)

            await asyncio.gather(*(_for_ever(work) for _ in range(sessions)))

    return attack


async def _large_map(client: httpx.AsyncClient) -> None:
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    values = doc.get("m", type=pycrdt.Map)
    with doc.transaction():
        for n in range(100_000):
            values[f"k{n}"] = n
    await client.post("/rooms/docs/large", content=doc.get_update())


async def _rows(client: httpx.AsyncClient) -> None:
    for n in range(300):
        await client.post("/api/v1/collections/rows", json={"id": f"r{n}", **{f"f{m}": "y" * 100 for m in range(20)}})


_CLIENTS = 20_000


def _question() -> bytes:
    clocks = [encode_uint(2**31 + n) + encode_uint(random.randrange(2)) for n in range(_CLIENTS)]
    return yjs.sync_step1(encode_uint(_CLIENTS) + b"".join(clocks))


_QUERY = {"where": {"OR": [{f"f{n % 20}": {"contains": f"z{n}"}} for n in range(50)]}}

ATTACKS: tuple[Row, ...] = (
    Row(
        "deletions",
        "50,000 deletions that split one text, from its end to its beginning",
        _writing(_reversed_deletions(100_000)),
    ),
    Row(
        "deletions-fast",
        "15,000 of them, again and again: less than what ends a worker",
        _writing(_reversed_deletions(30_000)),
    ),
    Row("deletions-shuffled", "50,000 of them in no order", _writing(_shuffled)),
    Row("deletions-small", "500 messages of 200 of them each", _writing(_in_small_messages)),
    Row("siblings", "40,000 clients write one key of a map at once", _writing(lambda: iter((siblings(1, 40_000),)))),
    Row("siblings-slowly", "the same, 500 at a time", _writing(_siblings_slowly)),
    Row(
        "questions",
        "a reader asks what a document of 20,000 clients has",
        _reading(many_clients(_CLIENTS), lambda: b"\0\0\1\0"),
    ),
    Row(
        "questions-long", "the same with a state vector of 20,000 clients", _reading(many_clients(_CLIENTS), _question)
    ),
    Row(
        "refused-updates",
        "a reader sends 200,000 deletions",
        _reading(text(7, 400_000), lambda: yjs.sync_step2(every_second(7, 400_000, falling=False))),
    ),
    Row("anonymous", "60 sockets without credential, each in the middle of 16 MiB", _anonymous_sockets),
    Row(
        "reads",
        "60 requests at once for a map of 100,000 keys",
        _requests("GET", "/rooms/docs/large", None, 60, _large_map),
    ),
    Row(
        "queries",
        "12 queries at once of 50 conditions",
        _requests("POST", "/api/v1/collections/rows/count", _QUERY, 12, _rows),
    ),
)


if __name__ == "__main__":  # in its own process, so that the attacker's CPU use does not slow the measurement
    _name, _port = sys.argv[1:]
    _target = Target(Path())
    _target.port = int(_port)
    asyncio.run(next(row.run for row in ATTACKS if row.name == _name)(_target))
