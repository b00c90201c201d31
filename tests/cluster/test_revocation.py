"""A revoked user is sent away at all nodes: by announcement, and within a few looks at the record without Redis."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from collab.wire import hocuspocus
from tests.cluster.cluster import PATIENCE, Cluster, Node, cluster

pytestmark = pytest.mark.chaos

SECRET = "a secret of the tests, of more than 32 bytes"
KEY = "a-key-of-the-tests"
REVOKED = 4401
MOST_BEATS = 10
STEP1 = b"\0\0\1\0"  # of an empty document


@asynccontextmanager
async def present(node: Node, user: str) -> AsyncIterator[Sequence[ClientConnection]]:
    """The sockets of a user who is at a node with each protocol, in a document that it owns."""
    document = f"documents/{user}-{node.name}"
    token = node.token(user)
    at = node.url.replace("http", "ws", 1)
    bearer = {"authorization": f"Bearer {token}"}
    async with (
        connect(f"{at}/rooms/{document}", additional_headers=bearer) as yjs,
        connect(f"{at}/hocuspocus") as provider,
        connect(f"{at}/realtime") as session,
    ):
        await yjs.send(STEP1)
        await provider.send(hocuspocus.token(document, token))
        await session.send(json.dumps({"type": "hello", "token": token}))
        for socket in (yjs, provider, session):
            async with asyncio.timeout(PATIENCE):
                first = await socket.recv()
            assert b"permission" not in first if isinstance(first, bytes) else '"welcome"' in first
        yield yjs, provider, session


async def closed(socket: ClientConnection) -> int | None:
    """Read until the end. Returns the close code; of a document of a provider, that of its refusal."""
    async with asyncio.timeout(PATIENCE):
        try:
            while True:
                data = await socket.recv()
                if isinstance(data, bytes) and b"AUTHENTICATION_FAILED" in data:
                    return REVOKED
        except ConnectionClosed:
            return socket.close_code


async def beats(one: Cluster) -> Sequence[int]:
    """How often each node has beaten: once a second, when it also looks at what was announced."""
    return [row["n"] for row in await one.fetch("SELECT n FROM collab.beats ORDER BY nid")]


async def revoke_everywhere(one: Cluster, user: str) -> None:
    """All sessions of a user end, at nodes that look at the record only so often."""
    async with AsyncExitStack() as stack:
        sockets = [socket for node in one.nodes for socket in await stack.enter_async_context(present(node, user))]
        before = await beats(one)
        async with httpx.AsyncClient(timeout=PATIENCE) as http:
            answer = await http.post(
                f"{one.nodes[0].url}/api/v1/revoke",
                json={"userId": user},
                headers={"authorization": f"Bearer {KEY}"},
            )
        assert answer.status_code == 200, answer.text
        assert await asyncio.gather(*map(closed, sockets)) == [REVOKED] * len(sockets)
        after = await beats(one)
    assert max(now - then for now, then in zip(after, before, strict=True)) <= MOST_BEATS


async def test_a_revocation_ends_the_sessions_at_all_nodes_also_while_redis_is_away(tmp_path: Path) -> None:
    async with cluster(tmp_path, 3, jwt_secret=SECRET, api_key=KEY) as one:
        for node in one.nodes:
            node.secret = SECRET
        await revoke_everywhere(one, "ada")
        for node in one.nodes:
            node.to_redis.cut()
        async with httpx.AsyncClient(timeout=PATIENCE) as http:
            for node in one.nodes:
                while "collab_bus_lost 1" not in (await http.get(f"{node.url}/metrics")).text:
                    await asyncio.sleep(0.02)
        await revoke_everywhere(one, "bob")
        async with httpx.AsyncClient(timeout=PATIENCE) as http:
            for node in one.nodes:
                refused = await http.get(
                    f"{node.url}/api/v1/collections/tasks", headers={"authorization": f"Bearer {node.token('bob')}"}
                )
                assert refused.status_code == 401
