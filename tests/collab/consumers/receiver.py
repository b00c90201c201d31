"""A webhook receiver whose answers the test controls; it may be down."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
import msgspec


@dataclass(frozen=True)
class Delivery:
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        return msgspec.json.decode(self.body)["data"]  # type: ignore[no-any-return]

    @property
    def name(self) -> str:
        """The event, as ``id/version``."""
        return f"{self.event['id']}/{self.event['version']}"


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
ERROR = b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"


@dataclass
class Receiver:
    """``answer`` returns the bytes of a response; ``None`` for no response."""

    answer: Callable[[Delivery], bytes | None] = lambda delivery: OK
    came: list[Delivery] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0
    port: int = 0
    held: asyncio.Event | None = None  # delays all answers until it is set
    _server: asyncio.Server | None = None
    _connections: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/events"

    async def start(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._server = await asyncio.start_server(self._serve, sock=listener)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._connections):
            writer.transport.abort()
        with anyio.fail_after(40):
            while self._connections:
                await anyio.sleep(0.01)

    async def until(self, *names: str) -> None:
        """Wait until these events were received."""
        with anyio.fail_after(40):
            while not set(names) <= set(self.taken):
                await anyio.sleep(0.01)

    async def until_came(self, count: int) -> None:
        with anyio.fail_after(40):
            while len(self.came) < count:
                await anyio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    await self._one(reader, writer)
        finally:
            self._connections.discard(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        delivery = Delivery(headers, await reader.readexactly(int(headers["content-length"])))
        self.came.append(delivery)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if self.held is not None:
                await self.held.wait()
                if reader.at_eof():
                    raise ConnectionError
            answer = self.answer(delivery)
            if answer is None:
                await reader.read()  # until the sender disconnects
                raise ConnectionError
            if answer.startswith(b"HTTP/1.1 2"):
                self.taken.append(delivery.name)
            writer.write(answer)
            await writer.drain()
        finally:
            self.under_way -= 1
