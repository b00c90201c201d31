"""Two nodes, Valkey, PostgreSQL and the balancer of compose.yaml with its own Caddyfile, as processes on this machine.

No image is built here: that needs a container engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_hex
from time import time
from typing import NamedTuple

import httpx
import pytest

from collab.access.minting import mint
from collab.server.config.settings import secret_issuer
from tests.collab.server.http.api.events import stream
from tests.docker.topology import Balancer, node
from tests.e2e.node import Node
from tests.e2e.server import Server
from tests.postgres import PostgresServer
from tests.valkey import ValkeyProcess

SECRET = "a secret of the tests, of more than 32 bytes"
TASKS = "/api/v1/collections/tasks"


class Topology(NamedTuple):
    """``url`` is that of the balancer."""

    nodes: list[Server]
    url: str

    @asynccontextmanager
    async def api(self, at: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
        """A client of the balancer, or of one node."""
        headers = {"authorization": f"Bearer {token()}"}
        async with httpx.AsyncClient(base_url=at or self.url, headers=headers, timeout=40) as client:
            yield client

    async def metric(self, name: str) -> list[float]:
        """A value of each node."""
        found = []
        async with httpx.AsyncClient() as client:
            for server in self.nodes:
                lines = (await client.get(f"{server.http}/metrics")).text.splitlines()
                found += [float(line.split()[1]) for line in lines if line.startswith(f"{name} ")]
        return found


def token() -> str:
    return mint(secret_issuer(SECRET), "ada", access={"*/*": "write"}, seconds=3600, now=time(), token_id=token_hex(8))


@pytest.fixture
def topology(tmp_path: Path, postgres: PostgresServer, redis: ValkeyProcess) -> Iterator[Topology]:
    with postgres.records() as lend:
        secrets = {"database": lend(), "redis": redis.url, "jwt_secret": SECRET}
        nodes = [node(tmp_path / name, secrets) for name in ("a", "b")]
        try:
            for server in nodes:
                server.start()
            balancer = Balancer(tmp_path, nodes)
            with balancer.serving():
                yield Topology(nodes, balancer.url)
        finally:
            for server in nodes:
                server.stop()


@pytest.fixture
async def browser() -> AsyncIterator[Node]:
    """Stock clients. They may complain of connections that were refused while a node was replaced."""
    found = await Node.start()
    yield found
    await found.stop()


async def test_editors_at_the_balancer_share_a_document_whichever_node_they_reach(
    topology: Topology, browser: Node
) -> None:
    place = topology.url.replace("http", "ws")
    clients = [
        await browser.client("ada", "y-websocket-3", f"{place}/rooms", "documents/plan", token=token()),
        await browser.client("bob", "y-websocket-3", f"{place}/rooms", "documents/plan", token=token()),
        await browser.client("cem", "hocuspocus-4", f"{place}/hocuspocus", "plan", token=token()),
        await browser.client("dia", "hocuspocus-4", f"{place}/hocuspocus", "plan", token=token()),
    ]
    for number, client in enumerate(clients):
        await client.wait(synced=True)
        await client.edit(number, 10)
    await browser.converge(clients)
    here = await topology.metric("collab_connections")
    assert len(here) == 2
    assert min(here) > 0, "the balancer uses both nodes"
    assert sorted(await topology.metric("collab_rooms"))[0] == 0, "one node owns the document"
    assert sorted(await topology.metric("collab_tunnels")) == [0, 2]
    async with asyncio.timeout(40):
        while await topology.metric("collab_nodes") != [2, 2]:  # each hears of the other in its time
            await asyncio.sleep(0.1)
    assert browser.complaints == []


async def test_the_balancer_hides_what_is_for_operators_and_other_nodes(topology: Topology) -> None:
    async with topology.api() as api:
        for path in ("/metrics", "/node"):
            assert (await api.get(path)).status_code == 404
            assert (await api.get(path.upper())).status_code == 404
        assert (await api.get("/readyz")).text == "ready\n"


async def test_events_of_each_node_pass_the_balancer_at_once(topology: Topology) -> None:
    async with topology.api() as api, stream(api, f"{TASKS}/subscribe") as events:
        for server in topology.nodes:
            async with topology.api(server.http) as direct:
                made = await direct.post(TASKS, json={"title": f"written at {server.port}"})
                assert made.status_code == 201, made.text
            told = (await events.until("event")).data["event"]
            assert (told["type"], told["id"]) == ("created", made.json()["data"]["id"])


async def test_one_node_after_the_other_is_replaced_without_an_answer_that_fails(
    topology: Topology, browser: Node
) -> None:
    place = topology.url.replace("http", "ws")
    clients = [
        await browser.client("ada", "y-websocket-3", f"{place}/rooms", "documents/plan", token=token()),
        await browser.client("bob", "hocuspocus-4", f"{place}/hocuspocus", "plan", token=token()),
    ]
    for client in clients:
        await client.wait(synced=True)
    over = asyncio.Event()
    answers: list[int] = []

    async def use() -> None:
        async with topology.api() as api:
            while not over.is_set():
                named = {"idempotency-key": token_hex(8)}  # so the balancer may repeat it
                made = await api.post(TASKS, json={"title": "t"}, headers=named)
                read = await api.get(TASKS, params={"limit": "1"})
                answers.extend([made.status_code, read.status_code])
                await asyncio.sleep(0.02)

    using = asyncio.create_task(use())
    try:
        for number, server in enumerate(topology.nodes):
            assert await asyncio.to_thread(server.stop) == 0
            await clients[number].edit(number, 10)
            await asyncio.to_thread(server.start)
            while (await topology.metric("collab_nodes")) != [2, 2]:
                await asyncio.sleep(0.05)
    finally:
        over.set()
        await using
    await browser.converge(clients)
    assert len(answers) > 20
    assert set(answers) == {200, 201}
