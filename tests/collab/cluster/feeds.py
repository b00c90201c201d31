"""Nodes of one record that only commit events and follow them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from collab.bus.base import Bus
from collab.cluster.follow import ClusterFeed
from collab.entities.entity import EntityOp, EntityState, Intent, WriteOutcome
from collab.entities.recorder import Recorder
from collab.event import EntityEvent
from collab.names import RoomKey
from collab.storage.nodes import NodeStorage

PROJECT = "acme"


class Node:
    """A recorder with a feed. It writes to entities of its own, ``<name>-<n>``."""

    def __init__(self, name: str, storage: NodeStorage, bus: Bus, **options: Any) -> None:
        self.name = name
        self.storage = storage
        self.bus = bus
        options = {"patience": 0.005, "look_seconds": 0.05, "linger": 0.05, **options}
        self.feed = ClusterFeed(storage, bus, **options)
        self.recorder = Recorder(storage, max_pending_bytes=10_000_000, feed=self.feed)
        self.seen: dict[str, list[int]] = {}
        self.own: dict[str, list[int]] = {}
        self._entities: dict[RoomKey, EntityState] = {}
        self.feed.subscribe(lambda project, event: self.seen.setdefault(project, []).append(event.position))
        self.feed.own.subscribe(lambda project, event: self.own.setdefault(project, []).append(event.position))

    async def write(self, entity: int = 0, *, project: str = PROJECT, value: Any = None) -> EntityEvent:
        """Change an entity, and return its event when its author is told."""
        key = RoomKey(project, "tasks", f"{self.name}-{entity}")
        state = self._entities.setdefault(key, EntityState(key))
        told: asyncio.Future[WriteOutcome] = asyncio.get_running_loop().create_future()
        intent = Intent(self.name, told.set_result)
        self.recorder.append(
            None,
            lambda seq: None,
            [EntityOp("write", state, self.name, 1.0, {"n": value or state.version + 1}, intent=intent)],
        )
        outcome = await told
        found = await self.storage.events(project, 0, limit=100_000, collection="tasks", entity=key.id)
        return next(event for event in found if event.version == outcome.version)


@asynccontextmanager
async def running(*nodes: Node) -> AsyncIterator[None]:
    """Run nodes inside the block."""
    async with AsyncExitStack() as stack:
        for node in nodes:
            await node.storage.open()
            stack.push_async_callback(node.storage.close)
            await node.bus.open()
            stack.push_async_callback(node.bus.close)
            node.feed.begin(await node.storage.positions())
            await stack.enter_async_context(_task(node.feed.run()))
            await stack.enter_async_context(_task(node.recorder.run()))
        yield


@asynccontextmanager
async def _task(work: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    while not condition():
        await asyncio.sleep(0.001)


def upto(newest: int, first: int = 1) -> Sequence[int]:
    """All positions up to this one."""
    return list(range(first, newest + 1))
