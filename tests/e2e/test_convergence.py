"""Stock clients of both protocols write at the same time, go away, come back, and end up equal."""

from __future__ import annotations

from random import Random

import pytest

from tests.e2e.node import KINDS, Client, Node
from tests.e2e.server import Server

FIVE = [*KINDS, "y-websocket-3"]


async def five(node: Node, server: Server, room: str, **how: object) -> list[Client]:
    return [await node.client(f"{room} {n}", kind, server, room, **how) for n, kind in enumerate(FIVE)]


async def fresh(node: Node, server: Server, room: str, kind: str) -> Client:
    return await node.client(f"{room} fresh {kind}", kind, server, room)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
async def test_what_one_client_writes_another_reads(node: Node, shared_server: Server, room: str, kind: str) -> None:
    writer = await node.client("writer", kind, shared_server, room)  # type: ignore[arg-type]
    reader = await node.client("reader", kind, shared_server, room)  # type: ignore[arg-type]
    await writer.wait(synced=True)
    await reader.wait(synced=True)
    await writer.insert("Grüße 漢字 😀")
    await reader.wait(text="Grüße 漢字 😀")
    await writer.wait(unsynced=0)


async def random_history(node: Node, server: Server, room: str, seed: int, rich: bool, steps: int) -> list[Client]:
    """Five clients edit at random and lose their connections at random. Ends with all of them connected."""
    random = Random(seed)
    clients = await five(node, server, room, rich=rich)
    away: set[Client] = set()
    for step in range(steps):
        client = random.choice(clients)
        await client.edit(seed=seed * 1000 + step, count=random.randint(1, 8))
        chance = random.random()
        if client in away:
            if chance < 0.4:
                await client.connect()
                away.discard(client)
        elif chance < 0.15:
            await client.disconnect()
            away.add(client)
        elif chance < 0.25:
            await client.terminate()
    for client in away:
        await client.connect()
    return clients


@pytest.mark.parametrize("seed", range(4))
async def test_o1_five_clients_of_mixed_protocols_are_equal_to_each_other_and_to_yjs(
    node: Node, shared_server: Server, room: str, seed: int
) -> None:
    rich = seed % 2 == 0
    clients = await random_history(node, shared_server, room, seed, rich, steps=60)
    found = await node.converge(clients)
    joiners = [await fresh(node, shared_server, room, kind) for kind in KINDS]
    assert await node.converge([*clients, *joiners]) == found
    alone = await node.oracle(clients, seed)
    assert alone["complete"]
    assert alone["state"] == await clients[0].state()
    assert alone["hash"] == found
    if not rich:
        exact = {(await client.summary())["exactHash"] for client in (*clients, *joiners)}
        assert exact == {alone["exactHash"]}


@pytest.mark.parametrize("seed", range(100, 102))
async def test_documents_are_the_same_after_a_restart_and_live_clients_duplicate_nothing(
    node: Node, server: Server, room: str, seed: int
) -> None:
    clients = await random_history(node, server, room, seed, rich=False, steps=30)
    found = await node.converge(clients)
    assert server.stop() == 0
    await clients[0].edit(seed, count=20)
    server.start()
    now = await node.converge(clients)
    assert now != found
    joiners = [await fresh(node, server, room, kind) for kind in KINDS]
    assert await node.converge([*clients, *joiners]) == now
    assert (await node.oracle(clients, seed))["hash"] == now


async def test_a_server_that_is_killed_brings_back_what_it_acknowledged(node: Node, server: Server, room: str) -> None:
    writer = await node.client("writer", "hocuspocus-4", server, room)
    for seed in range(3):
        await writer.edit(seed, count=20)
        before = await writer.wait(unsynced=0, synced=True)
        await writer.disconnect()
        server.kill()
        server.start()
        reader = await fresh(node, server, room, "y-websocket-3")
        await reader.wait(synced=True, hash=before["hash"])
        await reader.destroy()
        await writer.connect()
        await writer.wait(synced=True, unsynced=0)


async def test_s2_edits_of_a_client_that_was_away_reach_the_others_and_the_log(
    node: Node, server: Server, room: str
) -> None:
    clients = await five(node, server, room)
    await node.converge(clients)
    for number, client in enumerate(clients):
        await client.disconnect()
        await client.edit(number, count=30)
    for client in reversed(clients):
        await client.connect()
    found = await node.converge(clients)
    server.kill()
    server.start()
    joiner = await fresh(node, server, room, "hocuspocus-3")
    await joiner.wait(synced=True, hash=found)
