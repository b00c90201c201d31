"""TCP links with faults: delayed, cut, stuck, or deaf in one direction."""

from __future__ import annotations

import asyncio
import json
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Literal

from collab.cluster.passes import HEADER

Direction = Literal["there", "back"]
BOTH: tuple[Direction, Direction] = ("there", "back")

_HEAD = 64 * 1024


class Link:
    """The connections between two processes, and what is wrong with them. They begin ``there`` and answer ``back``.

    ``delay`` is the time in seconds that bytes take in each direction.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.delay = 0.0
        self.is_cut = False
        self._stuck: set[Direction] = set()
        self._deaf: set[Direction] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._connections: set[_Connection] = set()

    def __len__(self) -> int:
        return len(self._connections)

    def cut(self) -> None:
        """Reset all connections and refuse new ones."""
        self.is_cut = True
        self.reset()

    def reset(self) -> None:
        """Reset all connections."""
        for connection in list(self._connections):
            connection.abort()

    def hold(self, *directions: Direction) -> None:
        """Deliver nothing in these directions, not even the end of a connection, until :meth:`heal`."""
        self._stuck.update(directions)
        self._flows.clear()

    def swallow(self, *directions: Direction) -> None:
        """Lose what is sent in these directions. Connections that lost something are reset by :meth:`heal`."""
        self._deaf.update(directions)

    def heal(self) -> None:
        """Undo all of this."""
        self.is_cut = False
        self.delay = 0.0
        self._stuck.clear()
        self._deaf.clear()
        self._flows.set()
        for connection in list(self._connections):
            if connection.lost:
                connection.abort()

    async def join(self, connection: _Connection) -> None:
        """Pass the bytes of a connection on until it ends."""
        if self.is_cut:
            connection.abort()
            return
        self._connections.add(connection)
        try:
            await asyncio.gather(*(self._pass(connection, direction) for direction in BOTH))
        finally:
            self._connections.discard(connection)
            connection.abort()

    async def _pass(self, connection: _Connection, direction: Direction) -> None:
        reader, writer = connection.ends(direction)
        with suppress(OSError):
            if connection.head and direction == "there":
                writer.write(connection.head)
            while True:
                try:
                    data = await reader.read(65536)
                except OSError:
                    await self._passable(direction)
                    if direction in self._deaf:
                        connection.lost = True
                        return
                    connection.abort()
                    return
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self._passable(direction)
                if direction in self._deaf:
                    connection.lost = True
                    if not data:
                        return
                elif not data:
                    writer.write_eof()
                    return
                else:
                    writer.write(data)
                    await writer.drain()

    async def _passable(self, direction: Direction) -> None:
        while direction in self._stuck:
            await self._flows.wait()


class _Connection:
    """One connection on both sides of a link; ``head`` are its first bytes, if they were read already."""

    def __init__(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        head: bytes,
    ) -> None:
        self.lost = False
        self.head = head
        self._client = client
        self._server = server

    def ends(self, direction: Direction) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Where bytes in this direction come from, and where they go."""
        if direction == "there":
            return self._client[0], self._server[1]
        return self._server[0], self._client[1]

    def abort(self) -> None:
        for _, writer in (self._client, self._server):
            writer.transport.abort()


Route = tuple[Link, int]
"""A link, and the port behind it."""


class Proxy:
    """Listens on ``port`` and passes each connection on by the first of its routes that can be reached.

    ``route`` is told the first bytes of a connection if ``reads``: those of an HTTP request up to its body.
    """

    def __init__(self, route: Callable[[bytes], Awaitable[Sequence[Route]]], *, reads: bool = False) -> None:
        self.port = 0
        self._route = route
        self._reads = reads
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await _head(reader) if self._reads else b""
            for link, port in await self._route(head):
                if link.is_cut:
                    continue
                try:
                    server = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    continue
                await link.join(_Connection((reader, writer), server, head))
                return
        except (OSError, EOFError):
            pass
        finally:
            writer.transport.abort()


async def _head(reader: asyncio.StreamReader) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head and len(head) < _HEAD:
        data = await reader.read(_HEAD)
        if not data:
            break
        head += data
    return head


def sender_of(head: bytes) -> int | None:
    """The node that sent this HTTP request; ``None`` if it shows no pass. Its signature is not checked."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == HEADER.encode():
            payload = value.strip().split(b".")[1]
            return int(json.loads(urlsafe_b64decode(payload + b"=" * (-len(payload) % 4)))["from"])
    return None
