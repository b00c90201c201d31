"""Kill the server again and again under load, and compare what it acknowledged with what it has afterwards.

    python -m tests.chaos.durability --rounds 200 --database postgres

Each round twenty writers write until a random number of entries was acknowledged; then the whole server, or only
its worker, is killed with SIGKILL. Before any writer, who could bring lost entries back, may connect again, the
documents are read over HTTP: every acknowledged entry must be there, each entry once. Now and then the server is
killed once more while it compacts what was written.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import httpx
import psutil
import pycrdt

from tests.chaos.databases import add_option, chosen, count
from tests.chaos.writer import ROOT, Writer, audit
from tests.e2e.server import Server

ROOMS = 4
WRITERS = 20
PATIENCE = 30.0


@dataclass
class Tally:
    """Results of all rounds."""

    rounds: int = 0
    acknowledged: int = 0
    in_flight: int = 0
    snapshots: int = 0
    complaints: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.rounds} kills, {self.acknowledged} entries acknowledged, "
            f"{self.in_flight} written and not yet acknowledged when the kill came, "
            f"{len(self.complaints)} complaints"
        )


def crowd() -> list[Writer]:
    """Twenty writers in four rooms; together about 400 entries a second."""
    return [Writer(f"w{number}", f"documents/room-{number % ROOMS}") for number in range(WRITERS)]


def chaotic(folder: Path, database: str | None = None) -> Server:
    """A server that evicts and compacts rooms as soon as they are empty."""
    return Server(folder, room_idle_seconds=0.1, **({} if database is None else {"database": database}))


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition."""
    deadline = monotonic() + PATIENCE
    while not condition():
        if monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {PATIENCE:.0f} s")
        await asyncio.sleep(0.001)


async def acknowledged(writers: list[Writer], entries: int) -> None:
    """Wait until all writers together have ``count`` acknowledged entries."""
    await until(lambda: sum(writer.saved for writer in writers) >= entries, "an acknowledgement")


def unacknowledged(writers: list[Writer]) -> int:
    """How many entries the writers have written and have no acknowledgement for."""
    return sum(writer.made - writer.saved for writer in writers)


@asynccontextmanager
async def at_work(server: Server, writers: list[Writer]) -> AsyncIterator[None]:
    """Run writers inside the block; afterwards their connections have ended."""
    tasks = [asyncio.create_task(writer.live(server.hocuspocus)) for writer in writers]
    try:
        yield
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def stored(server: Server) -> dict[str, list[str]]:
    """Read each room as a new client. Waits for a restarting server."""
    found = {}
    async with httpx.AsyncClient(timeout=PATIENCE) as http:
        for number in range(ROOMS):
            room = f"documents/room-{number}"
            async with asyncio.timeout(PATIENCE):
                while True:
                    with contextlib.suppress(httpx.TransportError):
                        answer = await http.get(f"{server.http}/rooms/{room}?format=update")
                        if answer.status_code == 200:
                            break
                    await asyncio.sleep(0.02)
            doc: pycrdt.Doc[Any] = pycrdt.Doc()
            doc.apply_update(answer.content)
            found[room] = list(doc.get(ROOT, type=pycrdt.Array))
    return found


def kill_worker(server: Server) -> None:
    """Kill the worker; its supervisor starts another."""
    assert server.process is not None
    for child in psutil.Process(server.process.pid).children():
        child.kill()


async def start(server: Server) -> None:
    """Start the server; the killed process may still hold the port for a moment."""
    deadline = monotonic() + PATIENCE
    while True:
        try:
            await asyncio.to_thread(server.start)
            return
        except RuntimeError:
            if monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


async def kill_rounds(
    server: Server, rounds: int, seed: int, report: Callable[[Tally], None] = lambda tally: None
) -> Tally:
    """Kill a started server ``rounds`` times, and check at the end that nothing is missing."""
    random = Random(seed)
    writers = crowd()
    tally = Tally()
    for number in range(rounds):
        before = sum(writer.saved for writer in writers)
        wanted = before + int(random.expovariate(1 / 100))
        async with at_work(server, writers):
            await acknowledged(writers, wanted)
            await asyncio.sleep(random.uniform(0, 0.02))
            await until(lambda: unacknowledged(writers) > 0, "an entry that waits for its acknowledgement")
            tally.in_flight += unacknowledged(writers)
            if random.random() < 0.3:
                kill_worker(server)
            else:
                server.kill()
                if random.random() < 0.1:
                    await start(server)
                    server.kill()
                await start(server)
        tally.complaints += [f"round {number}: {text}" for text in audit(writers, await stored(server))]
        tally.rounds += 1
        tally.acknowledged = sum(writer.saved for writer in writers)
        report(tally)
        if tally.complaints:
            return tally
        if random.random() < 0.25:
            # the rooms are empty, so they are evicted and compacted; kill the server during that
            await asyncio.sleep(random.uniform(0.8, 3.0))
            server.kill()
            await start(server)
    tally.complaints += await heal(server, writers)
    tally.snapshots = count(server, "count(*) FROM snapshots")
    return tally


async def heal(server: Server, writers: list[Writer]) -> list[str]:
    """Reconnect everybody: then all clients and the server have every entry exactly once."""
    for writer in writers:
        writer.writing = False
    async with at_work(server, writers):
        await until(lambda: all(writer.saved == writer.made for writer in writers), "saving the rest")
        expected = {
            room: sum(writer.made for writer in writers if writer.room == room)
            for room in {writer.room for writer in writers}
        }
        await until(lambda: all(len(writer.entries) == expected[writer.room] for writer in writers), "convergence")
        found = await stored(server)
        server.stop()
    complaints = audit(writers, found)
    for writer in writers:
        if list(writer.entries) != found[writer.room]:
            complaints.append(f"{writer.name} and the server have different documents")
    return complaints


def main() -> int:
    """Run rounds from the command line. Returns 0 if nothing was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    add_option(parser)
    options = parser.parse_args()

    def report(tally: Tally) -> None:
        if tally.rounds % 10 == 0:
            print(tally, flush=True)

    async def scenario() -> Tally:
        with tempfile.TemporaryDirectory() as folder, chosen(options.database) as database:
            server = chaotic(Path(folder), database)
            await start(server)
            try:
                return await kill_rounds(server, options.rounds, options.seed, report)
            finally:
                server.stop()

    tally = asyncio.run(scenario())
    print(tally)
    for complaint in tally.complaints:
        print(complaint)
    return 1 if tally.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
