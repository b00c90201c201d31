"""How long a user whose tokens are revoked still has sessions: at the node that was told, and at others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from statistics import median
from time import perf_counter, time

import httpx
import jwt
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from bench.cluster.servers import Cluster, nodes
from bench.result import Options, Result
from collab.server.config.settings import secret_issuer

ROUNDS = 10
_SECRET = "a secret of the benchmark, of more than 32 bytes"
_KEY = "a-key-of-the-benchmark"
_CREDENTIALS = (("COLLAB_JWT_SECRET", _SECRET), ("COLLAB_API_KEY", _KEY))
_PATIENCE = 30.0
_STEP1 = b"\0\0\1\0"  # of an empty document


async def revocation(options: Options) -> list[Result]:
    """Revoke users who are at three nodes, with Redis and without. Nothing is pinned."""
    results = []
    async with nodes("collab", 3, None, environment=_CREDENTIALS) as cluster:
        for label in ("with Redis", "Redis is away"):
            if label == "Redis is away":
                await _lose_redis(cluster)
            rounds = 1 if options.quick else ROUNDS
            found = [await _round(cluster, f"{label} {number}".replace(" ", "-")) for number in range(rounds)]
            here, elsewhere = [one[0] for one in found], [each for one in found for each in one[1:]]
            numbers = {
                "here_s": round(median(here), 3),
                "elsewhere_s": round(median(elsewhere), 3),
                "elsewhere_most_s": round(max(elsewhere), 3),
                "rounds": rounds,
            }
            results.append(Result("revocation", label, numbers))
    return results


async def _round(cluster: Cluster, user: str) -> list[float]:
    """Seconds from the call, at the first node, until the session at each node ends."""
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(_session(port, user)) for port in cluster.ports]
        ends = [asyncio.create_task(_end(socket)) for socket in sockets]
        async with httpx.AsyncClient(timeout=_PATIENCE) as http:
            began = perf_counter()
            answer = await http.post(
                f"http://127.0.0.1:{cluster.ports[0]}/api/v1/revoke",
                json={"userId": user},
                headers={"authorization": f"Bearer {_KEY}"},
            )
            answer.raise_for_status()
        return [at - began for at in await asyncio.gather(*ends)]


@asynccontextmanager
async def _session(port: int, user: str) -> AsyncIterator[ClientConnection]:
    """A user in a document that this node owns, so that no other node can send the user away."""
    issuer = secret_issuer(_SECRET)
    claims = {
        "iss": issuer.issuer,
        "aud": issuer.audience,
        "sub": user,
        "exp": time() + 3600,
        "access": {"*/*": "write"},
    }
    token = jwt.encode(claims, _SECRET, algorithm="HS256")
    url = f"ws://127.0.0.1:{port}/rooms/documents/{user}-{port}"
    async with connect(url, additional_headers={"authorization": f"Bearer {token}"}, open_timeout=_PATIENCE) as socket:
        await socket.send(_STEP1)
        await socket.recv()
        yield socket


async def _end(socket: ClientConnection) -> float:
    """When the session ends."""
    async with asyncio.timeout(_PATIENCE):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed:
            return perf_counter()


async def _lose_redis(cluster: Cluster) -> None:
    """End Valkey for good, and wait until all nodes know."""
    for process in cluster.tree.root.children(recursive=True):
        if "valkey" in process.name():
            process.kill()
    deadline = perf_counter() + _PATIENCE
    async with httpx.AsyncClient(timeout=_PATIENCE) as http:
        for port in cluster.ports:
            while "collab_bus_lost 1" not in (await http.get(f"http://127.0.0.1:{port}/metrics")).text:
                if perf_counter() > deadline:
                    raise TimeoutError("a node does not notice that Redis is away")
                await asyncio.sleep(0.05)
