"""Nodes in one process, in virtual time: whatever fails, in whatever order, nothing is lost, doubled or out of order.

Storage and bus are the twins in memory, everything else is what a server runs. Clients edit documents through any
node; what fails is drawn from a seed. At the end everything heals, and then all must agree.

``python -m tests.cluster.simulation --histories 10000`` runs many.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from random import Random
from time import monotonic, time
from typing import Any

import pycrdt

from collab.bus.memory import MemoryBus, MemoryHub
from collab.cluster.follow import ClusterFeed
from collab.cluster.membership import Membership
from collab.cluster.ownership import NodeOwnership
from collab.entities.entity import EntityOp
from collab.entities.recorder import Recorder
from collab.errors import CollabError, Elsewhere, Unavailable
from collab.event import EntityEvent
from collab.gate.structs import encode_state_vector
from collab.hooks import Hooks
from collab.metrics import Metrics
from collab.names import RoomKey
from collab.rooms.authorization import Authorization
from collab.rooms.blackbox import NoBlackBox
from collab.rooms.live.ring import RoomOptions
from collab.rooms.live.room import Room
from collab.rooms.registry import Registry
from collab.sandbox.client import Sandbox
from collab.sandbox.messages import Compacted
from collab.sandbox.work import compact
from collab.storage.base import Append, CommitId, Committed, Fact, StorageError
from collab.storage.memory import MemoryStorage
from collab.storage.memory_record import MemoryRecord
from collab.storage.nodes import Fenced
from collab.turns import TurnOwner
from tests.cluster import virtual_time

PROJECT = "acme"
KEYS = [RoomKey(PROJECT, "documents", name) for name in ("d1", "d2", "d3")]
NODES = 3
CLIENTS = 3
STEPS = 12
_SETTLED_SECONDS = 120.0
_ROOT = "entries"

FAULTS = (
    "kill",
    "stop",
    "freeze",
    "thaw",
    "cut bus",
    "heal bus",
    "forget",
    "cut link",
    "heal links",
    "lose answer",
    "slow commits",
)


class Storage(MemoryStorage):
    """The storage of one node, behind a network: slow, frozen, and sometimes without an answer."""

    def __init__(self, world: World) -> None:
        super().__init__(record=world.record, opens="join", url="http://node")
        self.shared = world.record
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.loses = 0
        self.slow = 0
        self._chance = world.chance
        self._violations = world.violations

    async def _travel(self) -> None:
        await asyncio.sleep(self._chance.choice((0.0, 0.001, 0.003, 0.02)))
        await self.thawed.wait()

    async def commit(
        self, batch: Sequence[Append], facts: Sequence[Fact] = (), *, commit_id: CommitId | None = None
    ) -> Committed:
        await self._travel()
        if self.slow:
            self.slow -= 1
            await asyncio.sleep(self._chance.uniform(1.0, 9.0))
        committed = await super().commit(batch, facts, commit_id=commit_id)
        for key in {*(entry.key for entry in batch), *(fact.entity.key for fact in facts)}:
            owner = self.shared.nodes._owners.get(key)
            if owner != self.nid:
                self._violations.append(f"node {self.nid} wrote to {key}, which node {owner} owns")
        await self._travel()
        if self.loses:
            self.loses -= 1
            raise StorageError("the answer was lost")
        return committed

    async def acquire(self, key: RoomKey) -> int:
        await self._travel()
        owner = await super().acquire(key)
        await self._travel()
        return owner

    async def release(self, keys: Sequence[RoomKey]) -> None:
        await self._travel()
        await super().release(keys)
        await self._travel()

    async def load(self, key: RoomKey) -> Any:
        await self._travel()
        return await super().load(key)

    async def beat(self) -> None:
        await self._travel()
        await super().beat()

    async def nodes(self) -> Any:
        await self._travel()
        return await super().nodes()

    async def declare_dead(self, nid: int, beats: int) -> bool:
        await self._travel()
        return await super().declare_dead(nid, beats)

    async def events(self, project: str, after: int, **options: Any) -> Sequence[EntityEvent]:
        await self._travel()
        return await super().events(project, after, **options)

    async def positions(self, projects: Sequence[str] | None = None) -> Any:
        await self._travel()
        return await super().positions(projects)


class InProcess(Sandbox):
    """Compacts in this process, because a child would live in another time."""

    def __init__(self, chance: Random) -> None:
        super().__init__()
        self._chance = chance

    @asynccontextmanager
    async def background(self, owner: TurnOwner) -> AsyncIterator[Any]:
        yield self

    async def compact(
        self,
        snapshot: bytes | None,
        updates: Sequence[bytes],
        seconds: float,
        index: bytes | None = None,
        mapped: Collection[str] = (),
        *,
        keep_deleted: bool = False,
    ) -> Compacted:
        await asyncio.sleep(self._chance.choice((0.01, 0.5, 3.0)))
        return compact(snapshot, index, updates, mapped, keep_deleted=keep_deleted)


class Node:
    """One server: everything but sockets."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.storage = Storage(world)
        self.bus: MemoryBus = world.hub.bus()
        self.membership = Membership(self.storage, f"node {len(world.nodes)}")
        self.ownership = NodeOwnership(self.storage, clock=asyncio.get_running_loop().time)
        self.feed = ClusterFeed(self.storage, self.bus)
        self.recorder = Recorder(self.storage, max_pending_bytes=1 << 24, feed=self.feed)
        hooks = Hooks()
        self.registry = Registry(
            self.storage,
            self.recorder,
            InProcess(world.chance),
            hooks,
            Authorization(hooks, lambda collection: {}, self.storage.children),
            options=RoomOptions(),
            metrics=Metrics(),
            blackbox=NoBlackBox(),
            pending_bytes=1 << 24,
            idle_seconds=0.0,
            ownership=self.ownership,
        )
        self.alive = False
        self.seen: list[EntityEvent] = []
        self.followed_from = 0
        self._tasks: list[asyncio.Task[Any]] = []

    async def start(self) -> None:
        await self.storage.open()
        await self.bus.open()
        self.feed.begin(await self.storage.positions())
        self.feed.subscribe(self._hear)
        self._tasks = [
            asyncio.create_task(work)
            for work in (
                self._live(),
                self.feed.run(),
                self.recorder.run(),
                self.registry.maintain(),
            )
        ]
        self.alive = True
        await self.feed.follow(PROJECT)
        self.followed_from = self.seen[0].position - 1 if self.seen else self.feed.position(PROJECT)

    def _hear(self, project: str, event: EntityEvent) -> None:
        if self.alive:  # else nobody is connected any more
            self.seen.append(event)

    async def _live(self) -> None:
        try:
            await self.membership.run()
        except Fenced:
            self.world.replace(self)

    def kill(self) -> None:
        """SIGKILL: nothing more happens, and nobody is told."""
        self.alive = False
        for task in self._tasks:
            task.cancel()
        self.registry._tasks.cancel()
        self.storage.thawed.clear()

    async def stop(self) -> None:
        """SIGTERM."""
        self.alive = False
        await self.registry.drain()
        try:
            async with asyncio.timeout(2.0):
                await self.recorder.flush()
                await self.storage.leave()
        except (StorageError, TimeoutError):
            pass
        self.kill()


class Client:
    """One who edits a document, through a node that may change with each attempt."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.name = f"c{number}"
        self.key = world.chance.choice(KEYS)
        self.doc: pycrdt.Doc[Any] = pycrdt.Doc()
        self.entries = self.doc.get(_ROOT, type=pycrdt.Array)
        self.made = 0
        self.saved: set[str] = set()

    async def live(self) -> None:
        while True:
            await asyncio.sleep(self.world.chance.uniform(0.05, 1.0))
            if self.world.writing:
                self.entries.append(f"{self.name}:{self.made}")
                self.made += 1
            elif self.is_saved:
                continue
            try:
                async with asyncio.timeout(5.0):
                    await self._sync()
            except (CollabError, TimeoutError):
                pass

    @property
    def mine(self) -> set[str]:
        return {f"{self.name}:{number}" for number in range(self.made)}

    @property
    def is_saved(self) -> bool:
        return self.saved >= self.mine

    async def _sync(self) -> None:
        """Send what the owner lacks, get what it has, and wait until it is saved."""
        owner, room = await self.world.find(self.key)
        try:
            sent = set(self.mine)
            update = self.doc.get_update(encode_state_vector(room.gate.state))
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

            def committed() -> None:
                if not done.done():
                    done.set_result(None)

            room.edit(update, self.name, monotonic(), committed)
            if not room.broken and owner.registry.rooms.get(self.key) is room:
                owner.registry.note(
                    room, EntityOp("write", room.bridge.main, self.name, time(), {self.name: self.made})
                )
            self.doc.apply_update(room.diff(self.doc.get_state()))
            await done
            if owner.alive:  # else the answer never leaves
                self.saved |= sent
        finally:
            owner.registry.release(room)


class World:
    """The record, the bus, the nodes and the clients of one history."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.record = MemoryRecord()
        self.hub = MemoryHub(
            seed=seed,
            loss=self.chance.choice((0.0, 0.1, 0.5)),
            delay=lambda chance: chance.choice((0.0, 0.001, 0.01, 0.2)),
        )
        self.nodes: list[Node] = []
        self.clients = [Client(self, number) for number in range(CLIENTS)]
        self.cuts: set[tuple[Node, Node]] = set()
        self.writing = True
        self.violations: list[str] = []
        self.did: Counter[str] = Counter()
        self._starting: list[asyncio.Task[None]] = []

    @property
    def living(self) -> list[Node]:
        return [node for node in self.nodes if node.alive]

    def add(self) -> None:
        """Start a node, some time later."""
        self._starting.append(asyncio.create_task(self._add()))

    async def _add(self) -> None:
        await asyncio.sleep(self.chance.uniform(0.1, 2.0))
        node = Node(self)
        self.nodes.append(node)
        await node.start()

    def replace(self, node: Node) -> None:
        """A node was declared dead: its process ends, and its supervisor starts another one."""
        if node.alive:
            node.kill()
            self.add()

    async def find(self, key: RoomKey) -> tuple[Node, Room]:
        """The owner of a room, through some node, and the room, held. Raises :class:`Unavailable`."""
        living = self.living
        if not living:
            raise Unavailable("no server answers")
        edge = self.chance.choice(living)
        try:
            room = await edge.registry.open(key)
            owner = edge
        except Elsewhere as elsewhere:
            found = next((node for node in living if node.storage.nid == elsewhere.nid), None)
            await asyncio.sleep(0.001)
            if found is None or not found.alive or (edge, found) in self.cuts:
                edge.ownership.forget(key)
                raise
            try:
                room = await found.registry.open(key)
            except Elsewhere:
                edge.ownership.forget(key)
                raise
            owner = found
        room.hold()
        if not owner.alive:
            owner.registry.release(room)
            raise Unavailable("the owner was lost")
        return owner, room

    def fail(self, fault: str) -> None:
        """Do one fault to a node that is drawn."""
        self.did[fault] += 1
        living = self.living
        node = self.chance.choice(living) if living else None
        if node is None:
            self.add()
        elif fault == "kill":
            node.kill()
            self.add()
        elif fault == "stop":
            self._starting.append(asyncio.create_task(node.stop()))
            self.add()
        elif fault == "freeze":
            node.storage.thawed.clear()
        elif fault == "thaw":
            node.storage.thawed.set()
        elif fault == "cut bus":
            self.hub.cut(node.bus)
        elif fault == "heal bus":
            self.hub.heal()
        elif fault == "forget":
            self.hub.forget()
        elif fault == "cut link":
            self.cuts |= {(node, other) for other in living}
        elif fault == "heal links":
            self.cuts.clear()
        elif fault == "lose answer":
            node.storage.loses += 1
        elif fault == "slow commits":
            node.storage.slow += 2

    async def run(self, steps: int = STEPS) -> None:
        """Live through a history, heal, and check."""
        for _ in range(NODES):
            self.add()
        lives = [asyncio.create_task(client.live()) for client in self.clients]
        for _ in range(steps):
            await asyncio.sleep(self.chance.choice((0.01, 0.3, 1.0, 3.0, 6.0)))
            self.fail(self.chance.choice(FAULTS))
        self._heal()
        await self._settle()
        for task in [*lives, *self._starting]:
            task.cancel()
        await asyncio.gather(*lives, *self._starting, return_exceptions=True)
        await self._check()
        for node in self.nodes:
            node.kill()

    def _heal(self) -> None:
        self.writing = False
        self.hub.heal()
        self.hub.loss = 0.0
        self.cuts.clear()
        for node in self.living:
            node.storage.loses = node.storage.slow = 0
            node.storage.thawed.set()
        if len(self.living) < 2:
            self.add()
            self.add()

    async def _settle(self) -> None:
        async with asyncio.timeout(_SETTLED_SECONDS):
            while not self._is_settled() and not self.violations:
                await asyncio.sleep(0.1)
            await asyncio.sleep(3.0)

    def _is_settled(self) -> bool:
        newest = self.record.spans[PROJECT].newest if PROJECT in self.record.spans else 0
        return (
            all(client.is_saved for client in self.clients)
            and len(self.living) > 1
            and all(node.feed.position(PROJECT) == newest for node in self.living)
        )

    async def _check(self) -> None:
        assert not self.violations, self.violations[0]
        reader = MemoryStorage(record=self.record, opens="to read")
        await reader.open()
        for key in KEYS:
            record = await reader.load(key)
            doc: pycrdt.Doc[Any] = pycrdt.Doc()
            if record is not None:
                rows = [row.update for row in record.rows]
                for update in [record.snapshot.update, *rows] if record.snapshot is not None else rows:
                    doc.apply_update(update)
                again = [update for update, times in Counter(rows).items() if times > 1]
                assert not again, f"{key}: {len(again)} rows of the log are there twice"
            found = Counter(doc.get(_ROOT, type=pycrdt.Array))
            made = {entry for client in self.clients if client.key == key for entry in client.mine}
            assert found == dict.fromkeys(made, 1), f"{key}: lost {made - found.keys()}, {found.most_common(1)}"
        events = list(await reader.events(PROJECT, 0, limit=1_000_000))
        assert [event.position for event in events] == [*range(1, len(events) + 1)]
        versions: defaultdict[str, list[int]] = defaultdict(list)
        for event in events:
            versions[event.id].append(event.version)
        for name, those in versions.items():
            assert those == [*range(1, len(those) + 1)], f"versions of {name}: {those}"
        told = {event.position: (event.id, event.version) for event in events}
        for node in self.nodes:
            positions = [event.position for event in node.seen]
            first = node.followed_from + 1
            assert positions == [*range(first, first + len(positions))], f"node {node.storage.nid} saw {positions}"
            assert all(told[event.position] == (event.id, event.version) for event in node.seen)


def simulate(seed: int, steps: int = STEPS) -> Counter[str]:
    """Run one history. Raises :class:`AssertionError`. Returns how often each fault happened."""
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    world = World(seed)
    try:
        virtual_time.run(world.run(steps))
    finally:
        logging.disable(level)
    return world.did


def main() -> int:
    """Run many histories, and name the seeds that fail."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--histories", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1, help="of the first history")
    parser.add_argument("--steps", type=int, default=STEPS)
    asked = parser.parse_args()
    failed: list[int] = []
    did: Counter[str] = Counter()
    began = monotonic()
    for seed in range(asked.seed, asked.seed + asked.histories):
        try:
            did += simulate(seed, asked.steps)
        except Exception as error:
            failed.append(seed)
            print(f"\nseed {seed}: {type(error).__name__}: {error}")
        if sys.stderr.isatty() or not seed % 100:
            print(f"\r{seed - asked.seed + 1}/{asked.histories}, {len(failed)} failed", end="", file=sys.stderr)
    print(f"\n{asked.histories} histories in {monotonic() - began:.0f} s, {len(failed)} failed: {failed[:20]}")
    print(", ".join(f"{fault} {count}" for fault, count in did.most_common()))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
