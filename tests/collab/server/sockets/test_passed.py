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
from websockets.exceptions import ConnectionClosed

from collab.access.configuration import ApiKey
from collab.access.identity import Identity
from collab.access.rules import parse_rules
from collab.cluster.passes import HEADER
from collab.hooks import Request
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


async def over(socket: ClientConnection) -> None:
    """Wait until the document is closed: two messages say so."""
    with anyio.fail_after(10):
        while True:
            data = await socket.recv()
            assert isinstance(data, bytes)
            if data.startswith(hocuspocus.permission_denied(NAME, "")[:-1]):
                return


async def test_a_document_that_its_owner_has_ended_gives_up_its_place_and_the_next_token_is_counted() -> None:
    keys = [ApiKey(key=name[0] * 32, user_id=name, rules={"*/*": "write"}) for name in ("ada", "bob")]
    async with an_edge(keys=tuple(keys), max_sockets_per_user=1) as (world, _, socket):
        edge = world.nodes[1]
        await socket.send(hocuspocus.token(NAME, "a" * 32))
        await authenticated(socket)
        await socket.send(encode_string(NAME) + bytes([hocuspocus.SYNC, 2, 9]))  # less than it says
        await over(socket)
        async with connect(f"ws://{edge.address}/hocuspocus") as second:
            await second.send(hocuspocus.token(NAME, "a" * 32))
            await authenticated(second)
        await socket.send(hocuspocus.token(NAME, "b" * 32))
        await authenticated(socket)
        async with connect(f"ws://{edge.address}/hocuspocus") as third:
            before = edge.collab.metrics.refusals.counts.get("document", 0)
            await third.send(hocuspocus.token(NAME, "b" * 32))
            with anyio.fail_after(10):
                while edge.collab.metrics.refusals.counts.get("document", 0) == before:
                    await asyncio.sleep(0.02)
            await socket.close()
            await authenticated(third)


async def test_a_client_connects_again_if_its_token_crossed_the_end_of_its_document() -> None:
    async with an_edge() as (_, owner, socket):
        await socket.send(hocuspocus.token(NAME, ""))
        await authenticated(socket)
        (connection,) = owner.collab.sockets
        # the end, and a token that the edge passed on before it heard of that
        connection.send(hocuspocus.close(NAME, "over"))
        connection.send(hocuspocus.authenticated(NAME, "read-write"))
        with anyio.fail_after(10), pytest.raises(ConnectionClosed):
            while True:
                await socket.recv()
        assert socket.close_code == 1012


async def test_a_pass_is_never_shown_to_a_hook() -> None:
    seen: list[Request] = []

    async def authenticate(request: Request) -> Identity | None:
        seen.append(request)
        return None

    ada = Identity("default", "ada", "Ada", parse_rules({"*/*": "write"}))
    async with an_edge() as (world, owner, _):
        owner.collab.hooks.authenticate = authenticate  # type: ignore[method-assign]
        passes = world.nodes[1].cluster.passes
        nid = owner.storage.nid
        address = f"ws://{owner.address}/hocuspocus"
        for skew, whose, code in ((60, ada, 1012), (0, None, None)):
            passes._clock = lambda skew=skew: time.time() - skew  # type: ignore[misc]
            shown = passes.issue(nid, identity=whose)
            passes._clock = time.time
            async with connect(address, additional_headers={HEADER: passes.issue(nid)}) as tunnel:
                await tunnel.send(hocuspocus.token(NAME, shown))
                with anyio.fail_after(10):
                    if code is not None:
                        with pytest.raises(ConnectionClosed):
                            await tunnel.recv()
                        assert tunnel.close_code == code
                    else:
                        data = await tunnel.recv()
                        assert b"this pass names nobody" in data
        assert seen == []
        async with connect(address, additional_headers={HEADER: passes.issue(nid)}) as tunnel:
            await tunnel.send(hocuspocus.token(NAME, "what the client has"))
            with anyio.fail_after(10):
                await tunnel.recv()
        assert [request.token for request in seen] == ["what the client has"]
        assert HEADER not in seen[0].headers
