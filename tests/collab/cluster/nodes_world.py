"""Servers that answer each other on real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import anyio

from collab import Collab, Settings
from collab.bus.memory import MemoryBus, MemoryHub
from collab.cluster.node import ClusterNode
from collab.errors import Unavailable
from collab.names import parse_name
from collab.storage.memory import MemoryStorage
from collab.storage.memory_record import MemoryRecord
from collab.storage.nodes import Fenced, NodeStorage
from collab.transport.launcher import serve

KEY = b"k" * 32


class Book:
    """Where nodes are."""

    def __init__(self) -> None:
        self.urls: dict[int, str] = {}

    async def url_of(self, nid: int) -> str:
        if nid not in self.urls:
            raise Unavailable("this node is gone")
        return self.urls[nid]


class Road:
    """The way to a node: a proxy that can be cut."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._open = True
        self._writers: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def leading(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            self.cut()

    def cut(self) -> None:
        """Reset all connections, and refuse new ones until :meth:`mend`."""
        self._open = False
        self.reset()

    def reset(self) -> None:
        """Reset all connections."""
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        self._open = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._open:
            writer.transport.abort()
            return
        there = await asyncio.open_connection("127.0.0.1", self._target)
        writers = {writer, there[1]}
        self._writers |= writers
        await asyncio.gather(_pass(reader, there[1]), _pass(there[0], writer))
        self._writers -= writers


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


@dataclass
class World:
    """Servers on one record, as nodes of a cluster that reach each other on loopback."""

    record: MemoryRecord
    options: dict[str, Any]
    bus: MemoryHub = field(default_factory=MemoryHub)
    nodes: list[Node] = field(default_factory=list)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def add(self, **options: Any) -> Node:
        """Start another node."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        road = Road(port)
        url = await self.stack.enter_async_context(road.leading())
        given = {"port": port, "node_url": url, **self.options, **options}
        provider = given.pop("tracer_provider", None)
        if "database" in given:
            collab = Collab(Settings(**given), tracer_provider=provider)
        else:
            settings = Settings(**{"database": "postgresql://h/d", "redis": "redis://unused", **given})
            with patch("collab.bus.redis.RedisBus", lambda url: MemoryBus(self.bus)):
                storage = MemoryStorage(record=self.record, opens="join", url=url)
                collab = Collab(settings, storage=storage, tracer_provider=provider)
        node = Node(collab, port, road)
        await self.stack.enter_async_context(node.lifespan())
        self.nodes.append(node)
        return node

    async def know(self) -> None:
        """Let all nodes see who lives."""
        for node in self.nodes:
            with suppress(Fenced):
                await node.storage.beat()
                await node.cluster.membership.look()

    async def kill(self, node: Node) -> None:
        """A node is lost: nobody reaches it, and it is declared dead."""
        node.road.cut()
        await self.declare_dead(node)

    async def declare_dead(self, node: Node) -> None:
        other = next(one for one in self.nodes if one is not node)
        dead = False
        while not dead:
            beats = {row.nid: row.beats for row in await other.storage.nodes()}
            dead = await other.storage.declare_dead(node.storage.nid, beats[node.storage.nid])
        await self.know()


class Node:
    """One server."""

    def __init__(self, collab: Collab, port: int, road: Road) -> None:
        self.collab = collab
        self.address = f"127.0.0.1:{port}"
        self.road = road
        self._port = port
        self._stop = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    @property
    def storage(self) -> NodeStorage:
        """Its storage."""
        return self.cluster._nodes

    @property
    def cluster(self) -> ClusterNode:
        """Its part of the cluster."""
        assert self.collab._node is not None
        return self.collab._node

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        ready = asyncio.Event()
        listener = socket.create_server(("127.0.0.1", self._port))
        self._running = asyncio.create_task(
            serve(self.collab, sockets=[listener], shutdown=self._stop.wait, drain=self.collab.drain, ready=ready.set)
        )
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait((self._running, waiting), return_when=asyncio.FIRST_COMPLETED)
        if self._running.done():
            waiting.cancel()
            await self._running
        try:
            yield
        finally:
            await self.stop()

    async def stop(self) -> None:
        """Stop in good order."""
        self._stop.set()
        assert self._running is not None
        await asyncio.wait((self._running,))

    async def owns(self, name: str, project: str = "default") -> bool:
        """Make this node the owner of a room, unless another one is."""
        return await self.storage.acquire(parse_name(project, name)) == self.storage.nid

    async def opens(self, name: str, project: str = "default") -> None:
        """Open a room here, which stays open while the test runs, unless another node asks for it."""
        await self.collab._registry.open(parse_name(project, name))

    def has_open(self, name: str) -> bool:
        """Whether the room is open here."""
        return parse_name("default", name) in self.collab._registry.rooms


@asynccontextmanager
async def cluster(count: int = 2, **options: Any) -> AsyncIterator[World]:
    """Nodes on memory twins; with ``database`` and ``redis`` in ``options``, on these."""
    world = World(MemoryRecord(), options)
    async with world.stack:
        for _ in range(count):
            await world.add()
        await world.know()
        yield world


async def until(wanted: Callable[[], object]) -> None:
    """Wait for a condition."""
    with anyio.fail_after(30):
        while not wanted():
            await asyncio.sleep(0.005)
