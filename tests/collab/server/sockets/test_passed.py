"""Documents of a Hocuspocus socket that another node owns, over real sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pycrdt
import pytest
from websockets.asyncio.client import ClientConnection, connect

from collab.access.configuration import ApiKey
from collab.wire import hocuspocus, yjs
from presence.lib0 import encode_string
from tests.collab.cluster.nodes_world import Node, World, cluster

NAME = "notes/n"


@asynccontextmanager
async def an_edge(**options: Any) -> AsyncIterator[tuple[World, Node, ClientConnection]]:
    """Two nodes, of which the first owns the document; with a socket to the other one."""
    async with cluster(**options) as world:
        owner, edge = world.nodes
        assert await owner.owns(NAME)
        async with connect(f"ws://{edge.address}/hocuspocus") as socket:
            yield world, owner, socket


def update(text: str) -> bytes:
    """An edit, as a provider sends it."""
    doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    content = doc.get("content", type=pycrdt.Text)
    content += text
    return encode_string(NAME) + yjs.update(doc.get_update())


async def authenticated(socket: ClientConnection) -> None:
    with anyio.fail_after(10):
        while True:
            data = await socket.recv()
            assert isinstance(data, bytes)
            if hocuspocus.read_head(data)[1] == hocuspocus.AUTH:
                assert data == hocuspocus.authenticated(NAME, "read-write")
                return


async def stored(node: Node, text: str) -> None:
    with anyio.fail_after(10):
        while await node.collab.room(NAME).text("content") != text:
            await asyncio.sleep(0.02)


CLOSE = encode_string(NAME) + bytes([hocuspocus.CLOSE])
"""As a provider sends it."""


@pytest.mark.parametrize("early", [False, True], ids=["open", "opening"])
async def test_edits_after_the_close_of_a_destroyed_provider_reach_the_owner(early: bool) -> None:
    async with an_edge() as (_, owner, socket):
        # a provider is destroyed; its close is sent after the token of the provider that replaced it
        await socket.send(hocuspocus.token(NAME, ""))
        await socket.send(hocuspocus.token(NAME, ""))
        if early:
            await socket.send(CLOSE)
            await authenticated(socket)
        else:
            await authenticated(socket)
            await socket.send(CLOSE)
        await socket.send(update("kept"))
        await stored(owner, "kept")


async def test_a_user_with_too_many_sessions_gets_his_document_when_one_ends() -> None:
    key = ApiKey(key="k" * 32, user_id="ada", rules={"*/*": "write"})
    async with an_edge(keys=(key,), max_sockets_per_user=1) as (world, _, socket):
        await socket.send(hocuspocus.token(NAME, "k" * 32))
        await authenticated(socket)
        edge = world.nodes[1].collab
        async with connect(f"ws://{world.nodes[1].address}/hocuspocus") as second:
            await second.send(hocuspocus.token(NAME, "k" * 32))
            with anyio.fail_after(10):
                while not edge.metrics.refusals.counts:
                    await asyncio.sleep(0.02)
            await socket.close()
            await authenticated(second)


async def test_an_operator_learns_once_why_an_owner_refuses_an_edge(caplog: pytest.LogCaptureFixture) -> None:
    async with an_edge() as (world, _, socket):
        edge = world.nodes[1].cluster
        edge.passes._clock = lambda: time.time() - 60  # one of the two has a wrong clock
        await socket.send(hocuspocus.token(NAME, ""))
        with anyio.fail_after(10):
            while "cannot be served there" not in caplog.text:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)  # it goes on trying
        told = [record.getMessage() for record in caplog.records if "cannot be served there" in record.getMessage()]
        assert len(told) == 1
        assert "do the clocks of the nodes agree?" in told[0]
        assert "eyJ" not in told[0], "no part of a pass"
        edge.passes._clock = time.time
        await authenticated(socket)
        assert "can be served there again" in caplog.text
