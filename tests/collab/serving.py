"""A real server in the test's event loop, under our launcher or uvicorn, and a plain client."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio
import pycrdt
import uvicorn
from websockets.asyncio.client import ClientConnection, connect

from collab import Collab
from collab.transport.launcher import serve
from collab.wire import yjs

Runner = Literal["hypercorn", "uvicorn"]


@asynccontextmanager
async def serving(app: Any, runner: Runner = "hypercorn") -> AsyncIterator[str]:
    """Serve ``app`` on a free port; yields ``127.0.0.1:port``."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = "{}:{}".format(*listener.getsockname())
    ready, stop = asyncio.Event(), asyncio.Event()
    if runner == "hypercorn":
        drain = app.drain if isinstance(app, Collab) else None
        task = asyncio.create_task(serve(app, sockets=[listener], shutdown=stop.wait, drain=drain, ready=ready.set))
        try:
            await _until(task, ready.wait)
            yield address
        finally:
            stop.set()
            await task
        return
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="websockets-sansio", lifespan="on"))
    task = asyncio.create_task(server.serve([listener]))

    async def started() -> None:
        while not server.started:
            await anyio.sleep(0.01)

    try:
        await _until(task, started)
        yield address
    finally:
        server.should_exit = True
        await task


async def _until(task: asyncio.Task[None], ready: Callable[[], Awaitable[object]]) -> None:
    """Wait until the server is ready; raises its error if it fails before that."""
    waiting = asyncio.ensure_future(ready())
    await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        waiting.cancel()
        await task


class Editor:
    """A y-websocket client with one text, ``t``."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
        self.text = self.doc.get("t", type=pycrdt.Text)
        self.presence: list[bytes] = []

    async def sync(self) -> None:
        """Exchange SyncStep1 and SyncStep2 in both directions."""
        await self.socket.send(yjs.sync_step1(self.doc.get_state()))
        await self.until(lambda message: isinstance(message, yjs.SyncStep2))

    async def type(self, text: str) -> None:
        before = self.doc.get_state()
        self.text += text
        await self.socket.send(yjs.update(self.doc.get_update(before)))

    async def until(self, wanted: Callable[[yjs.Message], bool]) -> None:
        """Read until a message is as wanted."""
        with anyio.fail_after(40):
            while True:
                message = yjs.decode(await self._receive())
                match message:
                    case yjs.SyncStep2(update=update) | yjs.Update(update=update):
                        self.doc.apply_update(update)
                    case yjs.SyncStep1(state_vector=state_vector):
                        await self.socket.send(yjs.sync_step2(self.doc.get_update(state_vector)))
                    case yjs.AwarenessUpdate(payload=payload):
                        self.presence.append(payload)
                    case _:
                        pass
                if wanted(message):
                    return

    async def until_text(self, text: str) -> None:
        """Read until the text is ``text``."""
        if str(self.text) != text:
            await self.until(lambda _: str(self.text) == text)

    async def _receive(self) -> bytes:
        data = await self.socket.recv()
        assert isinstance(data, bytes)
        return data


@asynccontextmanager
async def editor(address: str, name: str = "d", prefix: str = "", **options: Any) -> AsyncIterator[Editor]:
    """A client that has joined and synced."""
    async with connect(f"ws://{address}{prefix}/rooms/{name}", **options) as socket:
        client = Editor(socket)
        await client.sync()
        yield client
