"""What can happen to a cluster. Each fault is ended again by its function, which measures how the clients recover."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from statistics import median
from time import monotonic

from tests.cluster.cluster import Cluster, Node, answers, start, until
from tests.cluster.crowd import ANY, Crowd
from tests.cluster.links import BOTH, Link

GOALS = {
    "next acknowledgement, worker killed": 3.0,
    "next acknowledgement, node killed": 8.0,
    "next acknowledgement, worker frozen": 8.0,
    "next acknowledgement, node terminated": 1.0,
    "presence of a killed node gone": 10.0,
    "presence of a frozen node gone": 10.0,
    "converged after healing": 5.0,
}
"""Seconds in which each recovery should be over. They are reported, not asserted: other programs run beside."""

_LONGEST = 12.0  # seconds to wait for what is too late anyway


@dataclass
class Tally:
    """What happened so far."""

    faults: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    acknowledged: int = 0
    read: int = 0
    commits: int = 0
    writes: int = 0
    heard: int = 0
    missed: int = 0
    complaints: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Count what happened to another cluster, too."""
        self.faults += other.faults
        for name, seconds in other.seconds.items():
            self.seconds[name] += seconds
        self.acknowledged += other.acknowledged
        self.read += other.read
        self.commits += other.commits
        self.writes += other.writes
        self.heard += other.heard
        self.missed += other.missed
        self.complaints += other.complaints

    def __str__(self) -> str:
        lines = [
            f"{self.faults.total()} faults, {self.acknowledged} entries acknowledged, {self.commits} commits, "
            f"{self.read} documents read, {self.writes} writes of applications and field editors acknowledged, "
            f"{self.heard} events heard, {self.missed} times some may be missing, {len(self.complaints)} complaints"
        ]
        for name, seconds in sorted(self.seconds.items()):
            late = sum(one > GOALS[name] for one in seconds) if name in GOALS else 0
            goal = f", goal {GOALS[name]:g}, missed {late} times" if name in GOALS else ""
            lines.append(f"  {name}: median {median(seconds):.1f} s, most {max(seconds):.1f} s of {len(seconds)}{goal}")
        return "\n".join(lines)


class Faults:
    """Faults of one cluster under one crowd."""

    def __init__(
        self, cluster: Cluster, crowd: Crowd, random: Random, tally: Tally, *, outage_seconds: float = 3.0
    ) -> None:
        self.crowd = crowd
        self._outage_seconds = outage_seconds
        self._cluster = cluster
        self._random = random
        self._tally = tally

    # processes

    async def kill_worker(self) -> None:
        """SIGKILL the worker of the owner of a room; its supervisor starts another."""
        room, owner = await self._owned()
        before = self.crowd.made()
        owner.signal_worker(signal.SIGKILL)
        await self._next_acknowledgement("worker killed", room, before)
        await answers(owner)

    async def kill_node(self) -> None:
        """SIGKILL the owner of a room, supervisor and worker; start it again once nobody sees its clients any more."""
        room, owner = await self._owned()
        before = self.crowd.made()
        workers = owner.workers
        owner.kill()
        for worker in workers:
            worker.kill()
        began = monotonic()
        await self._next_acknowledgement("node killed", room, before)
        await self._gone("killed", owner, began)
        await self._start(owner)

    async def terminate_node(self) -> None:
        """SIGTERM the owner of a room, and start it again."""
        room, owner = await self._owned()
        before = self.crowd.made()
        stopping = asyncio.create_task(asyncio.to_thread(owner.stop))
        await self._next_acknowledgement("node terminated", room, before)
        status = await stopping
        if status != 0:
            self._tally.complaints.append(f"node {owner.name} ended with status {status} after SIGTERM")
        await self._start(owner)

    async def freeze_worker(self) -> None:
        """SIGSTOP the worker of the owner of a room for longer than a node may be silent."""
        room, owner = await self._owned()
        before = self.crowd.made()
        began = monotonic()
        ends = began + self._random.uniform(6, 10)
        owner.signal_worker(signal.SIGSTOP)
        try:
            await self._next_acknowledgement("worker frozen", room, before)
            await self._gone("frozen", owner, began)
            await asyncio.sleep(max(0.0, ends - monotonic()))
        finally:
            owner.signal_worker(signal.SIGCONT)
        await self._wait_for(owner)

    # what all nodes use

    async def kill_database(self) -> None:
        """End PostgreSQL, cleanly or not, and start it again."""
        how = self._random.choice((signal.SIGKILL, signal.SIGQUIT, signal.SIGINT))
        await asyncio.to_thread(self._cluster.postgres.stop, how)
        await asyncio.sleep(self._random.uniform(0, 3))
        await asyncio.to_thread(self._cluster.postgres.start)

    async def freeze_database(self) -> None:
        """Stop the processes of PostgreSQL for a while."""
        frozen = self._cluster.postgres.frozen()
        await asyncio.to_thread(frozen.__enter__)
        try:
            await asyncio.sleep(self._random.uniform(1, 8))
        finally:
            await asyncio.to_thread(frozen.__exit__, None, None, None)

    async def kill_redis(self) -> None:
        """End Redis, and start an empty one."""
        self._cluster.valkey.kill()
        await self._saves_go_on("Redis was killed")
        await asyncio.sleep(self._outage_seconds)
        await asyncio.to_thread(self._cluster.valkey.start)

    async def freeze_redis(self) -> None:
        """Stop Redis; its sockets stay open."""
        self._cluster.valkey.freeze()
        try:
            await self._saves_go_on("Redis was frozen")
            await asyncio.sleep(self._outage_seconds)
        finally:
            self._cluster.valkey.thaw()

    async def flush_redis(self) -> None:
        """Delete everything that Redis has, several times."""
        for _ in range(5):
            await asyncio.to_thread(self._cluster.valkey.flush)
            await asyncio.sleep(0.2)

    # links

    async def cut_nodes(self) -> None:
        """Two nodes do not reach each other at all."""
        await self._faulty(self._between(), lambda link: link.cut())

    async def hold_nodes(self) -> None:
        """Nothing arrives in one direction between two nodes; TCP repeats it in the end."""
        direction = self._random.choice(BOTH)
        await self._faulty(self._between(), lambda link: link.hold(direction))

    async def swallow_nodes(self) -> None:
        """What is sent in one direction between two nodes is lost, and their connections in the end."""
        direction = self._random.choice(BOTH)
        await self._faulty(self._between(), lambda link: link.swallow(direction))

    async def delay_nodes(self) -> None:
        """All nodes are far from each other."""
        links = [link for node in self._cluster.nodes for link in node.to_nodes.values()]

        def delay(link: Link) -> None:
            link.delay = 0.1

        await self._faulty(links, delay)

    async def cut_from_database(self) -> None:
        """One node does not reach PostgreSQL, so others declare it dead; or it is not for long enough for that."""
        link = self._random.choice(self._cluster.nodes).to_database
        await self._faulty([link], lambda link: link.cut())

    async def hold_from_database(self) -> None:
        """One node does not hear from PostgreSQL, or PostgreSQL not from it."""
        link = self._random.choice(self._cluster.nodes).to_database
        direction = self._random.choice(BOTH)
        await self._faulty([link], lambda link: link.hold(direction))

    async def cut_from_redis(self) -> None:
        """One node does not reach Redis."""
        link = self._random.choice(self._cluster.nodes).to_redis
        await self._faulty([link], lambda link: link.cut())

    async def lose_clients(self) -> None:
        """A node's clients vanish without a word, and cannot come back to it for a while."""
        link = self._random.choice(self._cluster.nodes).link
        await self._faulty([link], lambda link: link.swallow(*BOTH))

    async def reset_everything(self) -> None:
        """All connections break at once."""
        for node in self._cluster.nodes:
            for link in node.links:
                link.reset()

    # parts of faults

    async def _owned(self) -> tuple[str, Node]:
        """A room, and the node that owns it. Waits until somebody does."""
        room = self._random.choice(self.crowd.rooms)
        deadline = monotonic() + 30
        while (owner := await self._cluster.owner(room)) is None:
            if monotonic() > deadline:
                raise TimeoutError(f"nobody owns {room}")
            await asyncio.sleep(0.02)
        return room, owner

    async def _next_acknowledgement(self, what: str, room: str, before: Mapping[str, int]) -> None:
        """Measure until something was acknowledged that was written after the fault."""
        self._note(
            f"next acknowledgement, {what}",
            await until(lambda: self.crowd.newly_saved(room, before), f"an acknowledgement ({what})"),
        )

    async def _gone(self, what: str, node: Node, began: float) -> None:
        """Measure until those at the other nodes do not see the clients of this one any more."""
        gone = {name for name, place in self.crowd.place.items() if place == node.name}
        others = [one for one in self.crowd.visitors if self.crowd.place[one.name] not in (node.name, ANY)]
        with suppress(TimeoutError):
            await until(
                lambda: all(one.present and not one.others & gone for one in others), "leaving of clients", _LONGEST
            )
        self._note(f"presence of a {what} node gone", monotonic() - began)

    async def _saves_go_on(self, when: str) -> None:
        """Editors do not need Redis."""
        for room in self.crowd.rooms:
            before = self.crowd.made()
            await until(lambda: self.crowd.newly_saved(room, before), f"an acknowledgement while {when}")  # noqa: B023

    async def _faulty(self, links: Sequence[Link], fault: Callable[[Link], None]) -> None:
        for link in links:
            fault(link)
        await asyncio.sleep(self._random.uniform(2, 9))
        for link in links:
            link.heal()

    def _between(self) -> Sequence[Link]:
        """The links between two nodes: of connections that one opens, and of those that the other opens."""
        one, other = self._random.sample(self._cluster.nodes, 2)
        links = [one.to_nodes[other.name], other.to_nodes[one.name]]
        return links if self._random.random() < 0.7 else links[:1]

    async def _start(self, node: Node) -> None:
        await start(node)
        await answers(node)

    async def _wait_for(self, node: Node) -> None:
        """Wait until a node serves whose worker may have to end first."""
        await until(lambda: len(node.workers) == 1, f"a worker of node {node.name}")
        await answers(node)

    def _note(self, what: str, seconds: float) -> None:
        self._tally.seconds[what].append(seconds)


Fault = Callable[[Faults], Awaitable[None]]

KINDS: dict[str, Sequence[Fault]] = {
    "kills": (Faults.kill_worker, Faults.kill_node, Faults.kill_worker, Faults.terminate_node),
    "freezes": (Faults.freeze_worker,),
    "databases": (Faults.kill_database, Faults.freeze_database),
    "outages": (Faults.kill_redis, Faults.freeze_redis, Faults.flush_redis),
    "cuts": (
        Faults.cut_nodes,
        Faults.swallow_nodes,
        Faults.hold_nodes,
        Faults.cut_from_database,
        Faults.lose_clients,
        Faults.hold_from_database,
        Faults.cut_from_redis,
        Faults.reset_everything,
        Faults.delay_nodes,
    ),
}
"""By the option of the command that says how many."""
