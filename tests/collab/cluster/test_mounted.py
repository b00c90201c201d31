"""A `Collab` that an application mounts is a node like any other, reached at the URL of the mount."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pycrdt
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from websockets.asyncio.client import connect

from collab import Collab, Settings
from collab.wire import yjs
from tests.postgres import PostgresServer
from tests.valkey import ValkeyProcess


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    with postgres.records() as lend:
        yield lend()


@asynccontextmanager
async def mounted(database: str, redis: str) -> AsyncIterator[tuple[Collab, str]]:
    """An application under uvicorn that mounts a node at ``/api/collab``; with the mount's URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/api/collab"
    collab = Collab(Settings(database=database, redis=redis, node_url=url))
    app = Starlette(routes=[Mount("/api/collab", collab)], lifespan=collab.lifespan)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="websockets-sansio"))
    task = asyncio.create_task(server.serve([listener]))
    async with asyncio.timeout(40):
        while not server.started:
            await asyncio.sleep(0.01)
    try:
        yield collab, url
    finally:
        server.should_exit = True
        await task


async def test_two_applications_share_documents_and_entities(database: str, redis: ValkeyProcess) -> None:
    async with AsyncExitStack() as stack:
        one, first = await stack.enter_async_context(mounted(database, redis.url))
        two, second = await stack.enter_async_context(mounted(database, redis.url))
        async with one.room("notes/n").edit(user="ada") as doc:
            content = doc.get("content", type=pycrdt.Text)
            content += "written at the first"
        # the first owns the document, and a client that reaches the second one is passed on
        async with connect(f"{second.replace('http', 'ws')}/rooms/notes/n") as client, asyncio.timeout(40):
            await client.send(yjs.sync_step1(b"\0"))
            while True:
                data = await client.recv()
                if isinstance(data, bytes) and b"written at the first" in data:
                    break
            assert b"\ncollab_tunnels 1.0\n" in two.metrics.render()
        assert await two.room("notes/n").text("content") == "written at the first"
        async with httpx.AsyncClient(timeout=40) as http:
            assert (await http.get(f"{second}/rooms/notes/n?format=text")).text == "written at the first"
            assert (await http.get(f"{first}/readyz")).status_code == 200
