"""Harm a cluster again and again while people write on all its nodes; then compare it with what they were told.

    python -m tests.cluster.lab --kills 200 --freezes 100 --databases 50 --outages 20 --cuts 100 --minutes 120

Servers, PostgreSQL and Valkey are real processes, and each two of them have a link of their own, which can be cut,
delayed, or deaf in one direction. Every few faults everybody rests, and the checker looks: every acknowledged entry is
once in its document, read at every node and after a cold start; only the owner of a room wrote to it; everybody sees
everybody, and nobody who has gone. Times of recovery are printed beside their goals.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import cycle, islice
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import pycrdt
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from tests.chaos.deliveries import Deliveries, deliveries
from tests.chaos.writer import ROOT
from tests.cluster import checker
from tests.cluster.applications import Team
from tests.cluster.cluster import PATIENCE, Cluster, Node, cluster, start, until
from tests.cluster.crowd import Crowd
from tests.cluster.faults import KINDS, Fault, Faults, Tally
from tests.e2e.peer import peer

FAULTS_A_ROUND = 8
"""After so many, new people write new documents, so that these stay small."""
_ROOMS = 2
_CLUSTERS = 10
"""So many clusters may draw a complaint, before the run gives up."""


def plan(counts: dict[str, int], random: Random) -> list[Fault]:
    """So many faults of each kind, in random order."""
    faults = [fault for kind, count in counts.items() for fault in islice(cycle(KINDS[kind]), count)]
    random.shuffle(faults)
    return faults


class Lab:
    """One cluster, and all that is done to it."""

    def __init__(
        self, cluster: Cluster, hook: Deliveries, seed: int, tell: Callable[[str], None] = lambda text: None
    ) -> None:
        self.tally = Tally()
        self._cluster = cluster
        self._hook = hook
        self._team: Team | None = None
        self._random = Random(seed)
        self._tell = tell
        self._rounds = 0

    @property
    def nodes(self) -> Sequence[Node]:
        """The servers."""
        return self._cluster.nodes

    @asynccontextmanager
    async def applications(self, folder: Path) -> AsyncIterator[None]:
        """Applications work inside the block, and are checked after each round, too."""
        self._team = Team(self._cluster, self._random, folder)
        async with self._team.connected():
            yield

    @asynccontextmanager
    async def round(self, *, cold: bool = True, outage_seconds: float = 3.0) -> AsyncIterator[Faults]:
        """New people write new documents inside the block; after it everything is checked, also after a cold start.

        ``outage_seconds``: for how long Redis is away when it is killed or frozen.
        """
        self._rounds += 1
        crowd = Crowd(self._cluster, [f"r{self._rounds}/d{number}" for number in range(_ROOMS)], self._random)
        async with crowd.connected():
            await self._recover(crowd)
            yield Faults(self._cluster, crowd, self._random, self.tally, outage_seconds=outage_seconds)
            await self._check(crowd)
        if cold:  # nobody is there who could bring lost entries back
            await self._start_anew()
            self.tally.complaints += checker.documents(crowd.writers, await self._read_all(crowd))
        self.tally.acknowledged += crowd.saved

    async def suffer(self, faults: Faults, fault: Fault) -> None:
        """Do one thing, and wait until everybody has what everybody wrote until then."""
        name = fault.__name__
        began = monotonic()
        await fault(faults)
        self.tally.faults[name] += 1
        seconds = await self._recover(faults.crowd)
        self.tally.seconds["converged after healing"].append(seconds)
        self._tell(f"{name} took {monotonic() - began:.1f} s, {seconds:.1f} s of it to converge")

    async def _recover(self, crowd: Crowd) -> float:
        made = crowd.made()
        lacking: list[str] = []

        def converged() -> bool:
            lacking[:] = crowd.lacking(made)
            return not lacking

        try:
            return await until(converged, "convergence", pause=0.05)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; these lack something: {lacking}") from None

    async def _check(self, crowd: Crowd) -> None:
        """Let everybody rest, and look at everything."""
        complaints = self.tally.complaints
        crowd.writing(False)
        await self._recover(crowd)
        with suppress(TimeoutError):
            await until(lambda: not crowd.unseen(), "seeing each other", 15)
        complaints += crowd.unseen()
        complaints += checker.documents(crowd.writers, await self._read_all(crowd))
        commits = await self._cluster.fetch("SELECT room, nid, owner FROM lab.commits ORDER BY number")
        await self._cluster.fetch("DELETE FROM lab.commits")
        self.tally.commits += len(commits)
        complaints += checker.tenures((row["room"], row["nid"], row["owner"]) for row in commits)
        if self._team is not None:
            complaints += await self._team.check(self._hook)
            self.tally.writes = sum(one.saved for one in self._team.writers)
            self.tally.heard, self.tally.missed = self._team.heard, self._team.missed
        for node in self._cluster.nodes:
            complaints += checker.tidy(node.new_log(), node.name)

    async def _start_anew(self) -> None:
        nodes = self._cluster.nodes
        for node, status in zip(
            nodes, await asyncio.gather(*(asyncio.to_thread(node.stop) for node in nodes)), strict=True
        ):
            if status != 0:
                self.tally.complaints.append(f"node {node.name} ended with status {status} after SIGTERM")
        await asyncio.gather(*(start(node) for node in nodes))

    async def _read_all(self, crowd: Crowd) -> list[tuple[str, str, list[str]]]:
        found = []
        for node in self._cluster.nodes:
            for room in crowd.rooms:
                found.append((f"node {node.name}", room, await _read(node, room)))
                self.tally.read += 1
        found += [(one.name, one.room, list(one.entries)) for one in crowd.everybody]
        return found


async def _read(node: Node, room: str) -> list[str]:
    """The entries of a document as somebody new reads them at a node. Waits for a restarting node."""
    deadline = monotonic() + PATIENCE
    while True:
        try:
            async with peer(node, "y-websocket", room) as reader:
                doc: pycrdt.Doc[Any] = pycrdt.Doc()
                doc.apply_update(await reader.content())
                return list(doc.get(ROOT, type=pycrdt.Array))
        except (OSError, ConnectionClosed, InvalidHandshake, InvalidMessage, TimeoutError) as error:
            if monotonic() > deadline:
                raise TimeoutError(f"{room} cannot be read at node {node.name}: {error!r}") from error
            await asyncio.sleep(0.1)


@asynccontextmanager
async def laboratory(
    folder: Path, nodes: int, seed: int, tell: Callable[[str], None] = lambda text: None
) -> AsyncIterator[Lab]:
    """A cluster and a receiver of its webhook for the time of the block."""
    async with (
        deliveries() as hook,
        cluster(folder, nodes, seed=seed, webhooks=hook.setting, content_event_seconds=0.3) as one,
    ):
        yield Lab(one, hook, seed, tell)


async def run(
    folder: Path,
    counts: dict[str, int],
    *,
    nodes: int,
    seed: int,
    minutes: float,
    outage_seconds: float,
    tell: Callable[[str], None] = lambda text: None,
) -> Tally:
    """Everything that ``counts`` says, in random order, or as much of it as there is time for.

    After a complaint a new cluster goes on, because the state of the old one is no longer known.
    """
    faults = plan(counts, Random(seed))
    ends = monotonic() + 60 * minutes
    tally = Tally()
    for number in range(_CLUSTERS):
        if not faults or monotonic() >= ends:
            break
        of_this = folder / f"cluster-{number}"
        of_this.mkdir()
        async with laboratory(of_this, nodes, seed + number, tell) as lab:
            try:
                async with lab.applications(of_this):
                    while faults and monotonic() < ends and not lab.tally.complaints:
                        now, faults = faults[:FAULTS_A_ROUND], faults[FAULTS_A_ROUND:]
                        async with lab.round(outage_seconds=outage_seconds) as what:
                            for fault in now:
                                if monotonic() < ends:
                                    await lab.suffer(what, fault)
                        tell(f"{lab.tally}\n  {len(faults)} faults are left")
            except Exception as error:
                lab.tally.complaints.append(repr(error) if not isinstance(error, ExceptionGroup) else _told(error))
            if lab.tally.complaints:
                tell("\n".join(lab.tally.complaints))
                for node in lab.nodes:
                    tell(f"--- the log of node {node.name}:\n{node.log()[-6000:]}")
            tally.add(lab.tally)
    return tally


def _told(group: ExceptionGroup[Exception]) -> str:
    return "; ".join(_told(one) if isinstance(one, ExceptionGroup) else repr(one) for one in group.exceptions)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run faults from the command line. Returns 0 if nothing is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for kind, faults in KINDS.items():
        names = ", ".join(sorted({fault.__name__ for fault in faults}))
        parser.add_argument(f"--{kind}", type=int, default=0, help=f"how many of these: {names}")
    parser.add_argument("--nodes", type=int, default=3, choices=(2, 3, 4))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60.0, help="the longest time that it may take")
    parser.add_argument("--outage-seconds", type=float, default=3.0, help="how long Redis is away each time")
    options = parser.parse_args(arguments)
    counts = {kind: getattr(options, kind) for kind in KINDS}
    if not any(counts.values()):
        parser.error("say how many faults of some kind there are to be, like --kills 10")
    began = monotonic()

    def tell(text: str) -> None:
        print(f"[{(monotonic() - began) / 60:5.1f} min] {text}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        tally = asyncio.run(
            run(
                Path(folder),
                counts,
                nodes=options.nodes,
                seed=options.seed,
                minutes=options.minutes,
                outage_seconds=options.outage_seconds,
                tell=tell,
            )
        )
    print(f"seed {options.seed}: {tally}")
    for complaint in tally.complaints:
        print(complaint)
    return 1 if tally.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
