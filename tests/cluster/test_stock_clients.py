"""Stock providers at different nodes edit together, and live through the end of the node that owns their document."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.cluster.cluster import Cluster, answers, cluster, start
from tests.e2e.node import KINDS, Client, Node

pytestmark = pytest.mark.chaos

ROOM = "documents/d1"


@pytest_asyncio.fixture
async def javascript() -> AsyncIterator[Node]:
    node = await Node.start()
    yield node
    await node.stop()


async def everybody(javascript: Node, one: Cluster) -> list[Client]:
    """One provider of each kind, at the nodes in turn, and one of each that the balancer takes anywhere."""
    clients = []
    for number, kind in enumerate(KINDS):
        path = "hocuspocus" if kind.startswith("hocuspocus") else "rooms"
        for place, url in ("one", one.nodes[number % 3].url), ("any", f"http://{one.host}"):
            clients.append(
                await javascript.client(f"{kind}-{place}", kind, f"{url.replace('http', 'ws')}/{path}", ROOM)
            )
    return clients


async def test_stock_providers_at_all_nodes_converge_and_see_each_other_after_the_owner_was_killed(
    tmp_path: Path, javascript: Node
) -> None:
    async with cluster(tmp_path, 3) as one:
        clients = await everybody(javascript, one)
        for number, client in enumerate(clients):
            await client.edit(number, 20)
        await javascript.converge(clients)
        for client in clients:
            await client.set_awareness({"name": client.name})
        for client in clients:
            await client.wait(people=len(clients))

        owner = await one.owner(ROOM)
        assert owner is not None
        owner.signal_worker(signal.SIGKILL)
        for number, client in enumerate(clients):
            await client.edit(100 + number, 20)
        await javascript.converge(clients)
        for client in clients:
            await client.wait(people=len(clients))

        await answers(owner)
        owner = await one.owner(ROOM)
        assert owner is not None
        owner.kill()
        for number, client in enumerate(clients):
            await client.edit(200 + number, 20)
        elsewhere = [client for client in clients if not client.name.endswith("-one")]
        await javascript.converge(elsewhere)
        await start(owner)
        await javascript.converge(clients)
        for client in clients:
            await client.wait(people=len(clients))
        oracle = await javascript.oracle(clients)
        assert oracle["complete"]
        assert oracle["hash"] == (await clients[0].summary())["hash"]
        assert javascript.complaints == []
