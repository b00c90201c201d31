"""Servers that answer each other on real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from collab import Collab, Settings
from collab.errors import Unavailable
from collab.names import parse_name
from collab.storage.memory import MemoryStorage
from collab.storage.memory_record import MemoryRecord
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


@dataclass
class World:
    """Servers on one record, as nodes of a cluster that reach each other on loopback."""

    record: MemoryRecord
    options: dict[str, Any]
    nodes: list[Node] = field(default_factory=list)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def add(self, **options: Any) -> Node:
        """Start another node."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        settings = Settings(
            **{
                "database": "postgresql://h/d",
                "redis": "redis://unused",
                "port": port,
                **self.options,
                **options,
            }
        )
        storage = MemoryStorage(record=self.record, opens="join", url=f"http://127.0.0.1:{port}")
        node = Node(Collab(settings, storage=storage), storage, port)
        await self.stack.enter_async_context(node.lifespan())
        self.nodes.append(node)
        return node


class Node:
    """One server."""

    def __init__(self, collab: Collab, storage: MemoryStorage, port: int) -> None:
        self.collab = collab
        self.storage = storage
        self.address = f"127.0.0.1:{port}"
        self._port = port
        self._stop = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

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
        self._stop.set()
        assert self._running is not None
        await asyncio.wait((self._running,))

    async def owns(self, name: str, project: str = "default") -> bool:
        """Make this node the owner of a room, unless another one is."""
        return await self.storage.acquire(parse_name(project, name)) == self.storage.nid


@asynccontextmanager
async def cluster(count: int = 2, **options: Any) -> AsyncIterator[World]:
    world = World(MemoryRecord(), options)
    async with world.stack:
        for _ in range(count):
            await world.add()
        for node in world.nodes:
            await node.collab._node.membership.look()  # type: ignore[union-attr]
        yield world
