"""A transaction is made at one node, whichever nodes its documents are at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from collab.errors import CollabError, Conflict, IdempotencyKeyReused
from collab.names import RoomKey
from tests.collab.cluster.nodes_world import Node, World, cluster

NAMES = ("a", "b", "c")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with cluster(3) as found:
        yield found


@pytest.fixture
def short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collab.cluster.calls.FIND_SECONDS", 0.3)


async def spread(world: World) -> None:
    """Create one task at each node."""
    for node, name in zip(world.nodes, NAMES, strict=True):
        await node.opens(f"tasks/{name}")
        await node.collab.collection("tasks").create({"n": 0}, id=name)


async def add(node: Node, n: int, request: str | None = None) -> list[int]:
    transaction = node.collab.transaction(user="ann")
    for name in NAMES:
        transaction.update("tasks", name, {"n": n})
    return [written.version for written in await transaction.commit(request=request)]


async def values(world: World) -> list[int]:
    found = await world.nodes[0].collab.collection("tasks").find_many({"orderBy": {"id": "asc"}})
    return [row["n"] for row in found.rows]


async def test_documents_that_nobody_needs_come_together(world: World) -> None:
    await spread(world)
    for n, node in enumerate((world.nodes[2], world.nodes[0], world.nodes[1]), 1):
        assert await add(node, n) == [n + 1] * 3
        assert await values(world) == [n] * 3


@pytest.mark.parametrize("used", [0, 1, 2])
@pytest.mark.parametrize("asked", [0, 1, 2])
async def test_it_is_made_where_a_document_is_in_use(world: World, used: int, asked: int) -> None:
    await spread(world)
    owner = world.nodes[used]
    async with owner.collab._registry.hold(RoomKey("default", "tasks", NAMES[used])) as room:
        assert await add(world.nodes[asked], 1) == [2, 2, 2]
        assert room is owner.collab._registry.rooms[room.key]
        assert room.read_field("fields", None, "n") == 1
        assert all(owner.has_open(f"tasks/{name}") for name in NAMES)


@pytest.mark.parametrize("asked", [0, 1, 2])
async def test_it_is_made_however_long_the_way_to_its_node_takes(
    world: World, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    await spread(world)
    monkeypatch.setattr("collab.cluster.calls.FIND_SECONDS", 0.0)
    async with world.nodes[1].collab._registry.hold(RoomKey("default", "tasks", "b")):
        assert await add(world.nodes[asked], 1) == [2, 2, 2]


@pytest.mark.usefixtures("short_patience")
async def test_documents_in_use_at_different_nodes_are_a_conflict_that_changes_nothing(world: World) -> None:
    await spread(world)
    async with AsyncExitStack() as stack:
        for node, name in zip(world.nodes, NAMES, strict=True):
            await stack.enter_async_context(node.collab._registry.hold(RoomKey("default", "tasks", name)))
        for node in world.nodes:
            with pytest.raises(Conflict) as met:
                await add(node, 1)
            assert met.value.details == {"reason": "TRANSACTION_ACROSS_NODES"}
            assert not met.value.retryable
    assert await values(world) == [0, 0, 0]
    assert await add(world.nodes[0], 1) == [2, 2, 2]


async def test_a39_a_name_counts_at_all_nodes(world: World) -> None:
    await spread(world)
    answers = await asyncio.gather(*(add(node, 1, "once") for node in world.nodes), return_exceptions=True)
    again = [await add(node, 1, "once") for node in world.nodes]
    assert again == [[2, 2, 2]] * 3
    assert all(answer == [2, 2, 2] or (isinstance(answer, CollabError) and answer.retryable) for answer in answers)
    with pytest.raises(IdempotencyKeyReused):
        await add(world.nodes[1], 2, "once")


async def test_transactions_of_all_nodes_on_the_same_entities_are_each_made_wholly(world: World) -> None:
    await spread(world)

    async def work(node: Node, base: int) -> int:
        made = 0
        for n in range(5):
            try:
                await add(node, base + n)
                made += 1
            except CollabError:
                pass
            found = await values(world)
            assert len(set(found)) == 1, found
        return made

    made = await asyncio.gather(*(work(node, 100 * (number + 1)) for number, node in enumerate(world.nodes)))
    assert sum(made) >= 5
    row = await world.nodes[0].collab.collection("tasks").find_by_id("a")
    assert row.version == 1 + sum(made)


async def test_whoever_is_answered_has_got_the_events(world: World) -> None:
    await spread(world)
    async with world.nodes[0].collab._registry.hold(RoomKey("default", "tasks", "a")):
        asking = world.nodes[2].collab.hub
        stop = await asking.feed.follow("default")
        heard: list[str] = []
        asking.feed.subscribe(lambda project, event: heard.append(event.id))
        await add(world.nodes[2], 1)
        assert heard == ["a", "b", "c"]
        stop()
