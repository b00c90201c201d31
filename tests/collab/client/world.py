"""A real server behind a TCP proxy that tests can cut, and helpers to wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio

from collab import Collab, Settings
from collab.client import LumenizeClient
from tests.collab.serving import serving

QUICK = {"initial_delay": 20, "max_delay": 100}
"""Options of a client that reconnects quickly."""


class Cable:
    """A TCP proxy. ``target`` is ``host:port``, or ``None`` to refuse connections."""

    def __init__(self) -> None:
        self.target: str | None = None
        self.address = ""
        self.answers = True  # whether data from the server passes
        self.requests = True  # whether data from the client passes
        self.connections = 0
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def cut(self) -> None:
        """Break all connections."""
        for task, writer in list(self._open.items()):
            writer.transport.abort()
            task.cancel()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        try:
            if self.target is None:
                return
            host, port = self.target.rsplit(":", 1)
            there, away = await asyncio.open_connection(host, int(port))
            self.connections += 1
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._pump, reader, away, lambda: self.requests)
                    await self._pump(there, writer, lambda: self.answers)
                    tasks.cancel_scope.cancel()
            finally:
                away.transport.abort()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            del self._open[task]
            writer.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passes: Callable[[], bool]
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if passes():
                    writer.write(data)
                    await writer.drain()
            writer.close()


@asynccontextmanager
async def cable() -> AsyncIterator[Cable]:
    made = Cable()
    server = await asyncio.start_server(made.carry, "127.0.0.1", 0)
    made.address = "{}:{}".format(*server.sockets[0].getsockname())
    try:
        yield made
    finally:
        server.close()
        made.cut()
        await until(lambda: not made._open)


@asynccontextmanager
async def behind(made: Cable, folder: Path, **settings: Any) -> AsyncIterator[Collab]:
    """A server behind the proxy."""
    app = Collab(Settings(data=str(folder), **settings))
    async with serving(app) as address:
        made.target = address
        try:
            yield app
        finally:
            made.target = None


@asynccontextmanager
async def world(folder: Path, **settings: Any) -> AsyncIterator[tuple[Cable, Collab]]:
    """A server behind a proxy."""
    async with cable() as made, behind(made, folder, **settings) as app:
        yield made, app


def client(address: str, websocket: dict[str, Any] | None = None, **credentials: Any) -> LumenizeClient:
    return LumenizeClient(url=f"http://{address}", websocket={**QUICK, **(websocket or {})}, **credentials)


async def until(condition: Callable[[], object], seconds: float = 40) -> None:
    """Wait for a condition."""
    with anyio.fail_after(seconds):
        while not condition():
            await anyio.sleep(0.005)
