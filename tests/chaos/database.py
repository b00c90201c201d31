"""Harm PostgreSQL again and again while applications and editors write; then compare the record with what was said.

    python -m tests.chaos.database --kills 50 --cuts 300

The database is killed, frozen, full, read-only, out of connections, locked, or limited to statements of a millisecond;
a proxy cuts its connections in the middle of commits. After each fault: every acknowledged write is there, none was
made twice, versions and positions have no holes, no client lost its connection, and live queries show what a query
finds. Meanwhile each request is answered in bounded time, `/readyz` says 503, and afterwards 200.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import asyncpg
import httpx
from websockets.asyncio.client import ClientConnection

from collab.client import LumenizeClient, Rows
from tests.chaos.applications import MADE, SHARED, Application, FieldEditor
from tests.chaos.deliveries import Deliveries, Name, deliveries
from tests.chaos.durability import start
from tests.chaos.proxy import CUTS, CuttingProxy
from tests.chaos.record import ENTITIES, Crowd, audit, chaotic, content_told, known
from tests.e2e.server import Server
from tests.postgres import PostgresProcess

LONGEST = 75.0
"""Seconds within which every request is answered: thirty for a connection, thirty for a statement, and some."""
PATIENCE = 120.0
ROLE = "collab"
KILLS = (signal.SIGKILL, signal.SIGQUIT, signal.SIGINT)
LIMITS = {
    "statements of a millisecond": ("statement_timeout = '1ms'", "RESET statement_timeout"),
    "read-only": ("default_transaction_read_only = on", "RESET default_transaction_read_only"),
}
RIGHTS = {
    "locked": ("NOLOGIN", "LOGIN"),
    "no connections": ("CONNECTION LIMIT 0", "CONNECTION LIMIT -1"),
}


@dataclass
class Tally:
    """Results of all faults."""

    faults: Counter[str] = field(default_factory=Counter)
    acknowledged: int = 0
    edits: int = 0
    events: int = 0
    requests: int = 0
    refused: int = 0
    longest: float = 0.0
    unready: int = 0
    complaints: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{dict(self.faults)}: {self.acknowledged} writes and {self.edits} edits acknowledged, {self.events} "
            f"events; /readyz said 503 {self.unready} times; {self.refused} of {self.requests} requests refused for "
            f"the moment, the longest took {self.longest:.1f} s; {len(self.complaints)} complaints"
        )


class SteadyEditor(FieldEditor):
    """An editor whose every edit is saved in the end, on one connection."""

    async def _refused(self, socket: ClientConnection) -> None:
        raise AssertionError(f"the server does not save what {self.name} wrote")


class SteadyCrowd(Crowd):
    """Writers that keep their connections. Applications wait for each answer: a refused write keeps its place."""

    def __init__(self) -> None:
        super().__init__()
        self.applications = [
            Application(f"a{number}", f"t{number % ENTITIES}", at_once=1, pause=0.02) for number in range(12)
        ]
        self.editors = [SteadyEditor(f"e{number}", f"{SHARED}/t{number % ENTITIES}") for number in range(4)]
        self.writers = [*self.applications, *self.editors]

    @asynccontextmanager
    async def connected(self, server: Server, lost: list[str]) -> AsyncIterator[None]:
        """Run all writers inside the block; ``lost`` gets the names of those whose connection ended."""
        realtime = f"ws://{server.host}:{server.port}/realtime"
        tasks = [
            asyncio.create_task(
                one.live(realtime if isinstance(one, Application) else server.hocuspocus), name=one.name
            )
            for one in self.writers
        ]
        for task in tasks:
            task.add_done_callback(lambda task: lost.append(f"{task.get_name()} lost its connection"))
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def resume(self) -> None:
        """Make new writes again."""
        for writer in self.writers:
            writer.writing = True


class Visitor:
    """Makes one request after the other over HTTP, and watches ``/readyz``."""

    def __init__(self, server: Server, tally: Tally) -> None:
        self._server = server
        self._tally = tally
        self.ready = True
        self._number = 0

    async def visit(self) -> None:
        """Until cancelled."""
        async with httpx.AsyncClient(base_url=self._server.http, timeout=LONGEST) as http, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch(http))
            for _ in range(2):
                tasks.create_task(self._write(http))
            tasks.create_task(self._read(http))

    async def _watch(self, http: httpx.AsyncClient) -> None:
        while True:
            self.ready = (await http.get("/readyz")).status_code == 200
            self._tally.unready += not self.ready
            await asyncio.sleep(0.02)

    async def _write(self, http: httpx.AsyncClient) -> None:
        while True:
            self._number += 1
            await self._ask(http, "POST", "/api/v1/collections/visits", json={"number": self._number})
            await asyncio.sleep(0.05)

    async def _read(self, http: httpx.AsyncClient) -> None:
        while True:
            await self._ask(http, "GET", f"/api/v1/collections/{MADE}", params={"limit": 5})
            await asyncio.sleep(0.05)

    async def _ask(self, http: httpx.AsyncClient, method: str, path: str, **body: Any) -> None:
        began = monotonic()
        try:
            status = (await http.request(method, path, **body)).status_code
        except httpx.TimeoutException:
            self._tally.complaints.append(f"{method} {path} had no answer in {LONGEST:.0f} s")
            return
        self._tally.longest = max(self._tally.longest, monotonic() - began)
        self._tally.requests += 1
        self._tally.refused += status in (429, 503)
        if status not in (200, 201, 429, 503):
            self._tally.complaints.append(f"{method} {path} was answered with {status}")


class World:
    """A server, its database behind a proxy, and everybody who uses it."""

    def __init__(self, process: PostgresProcess, proxy: CuttingProxy, server: Server, hook: Deliveries) -> None:
        self.process = process
        self.proxy = proxy
        self.server = server
        self.tally = Tally()
        self.visitor = Visitor(server, self.tally)
        self._hook = hook
        self._crowd = SteadyCrowd()
        self._witness = LumenizeClient(url=server.http)
        self._rows: dict[str, Rows] = {}

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """Everybody writes inside the block; at the end webhooks and the log are checked, too."""
        async with httpx.AsyncClient(timeout=PATIENCE) as http:
            for number in range(ENTITIES):
                answer = await http.post(f"{self.server.http}/api/v1/collections/{SHARED}", json={"id": f"t{number}"})
                assert answer.status_code == 201, answer.text
        lost: list[str] = []
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._witness)
            self._witness.on_disconnect(lambda: lost.append("the subscriber lost its connection"))
            for collection in (SHARED, MADE):
                await self._watch(collection)
            visiting = asyncio.create_task(self.visitor.visit())
            stack.callback(visiting.cancel)
            async with self._crowd.connected(self.server, lost):
                yield
                if visiting.done():
                    visiting.result()
                visiting.cancel()
                await asyncio.wait((visiting,))
                await self.compare("at the end")
                self.tally.complaints += lost
                # what the visitor had begun is committed by now, or soon; the crowd must rest, or there is always more
                self._crowd.rest()
                await until(lambda: self._hook.has(self._happened()), "telling the webhook")
                self.tally.complaints += self._hook.audit(self._happened())
                lost.clear()
        self.tally.complaints += told_once(self.server.log())

    def _happened(self) -> list[Name]:
        return [(one.collection, one.id, event[1]) for one in known(self.server) for event in one.events]

    async def _watch(self, collection: str) -> None:
        def shown(rows: Rows) -> None:
            self._rows[collection] = rows

        await self._witness.collection(collection).subscribe(_query(collection), shown).ready()

    async def progress(self, writes: int = 40) -> None:
        """Wait until so many more writes and edits were acknowledged."""
        before = self._crowd.saved
        await until(lambda: self._crowd.saved >= before + writes, "an acknowledgement")

    async def compare(self, after: str) -> None:
        """Let everybody rest, and compare the record with what was acknowledged and shown."""
        self._crowd.rest()
        await until(lambda: self._crowd.settled, f"saving the rest ({after})")
        docs = await content_told(self.server, PATIENCE)
        entities = known(self.server)
        self.tally.complaints += [f"{after}: {text}" for text in audit(self._crowd, entities, docs)]
        for collection in (SHARED, MADE):
            found = await self._witness.collection(collection).find_many(_query(collection))
            with suppress(TimeoutError):
                await until(lambda: self._rows[collection] == found, "a live query")  # noqa: B023 - awaited here
            if self._rows[collection] != found:
                self.tally.complaints.append(f"{after}: the live query of {collection} is not what a query finds")
        self.tally.acknowledged = sum(one.saved for one in self._crowd.applications)
        self.tally.edits = sum(one.saved for one in self._crowd.editors)
        self.tally.events = sum(len(one.events) for one in entities)
        self._crowd.resume()

    async def suffer(self, name: str, *, unready: bool, lift: Callable[[], Any], seconds: float) -> None:
        """A fault has begun: await 503 if ``unready``, then ``seconds``; ``lift`` it, and await that all is well."""
        self.tally.faults[name] += 1
        if unready:
            await until(lambda: not self.visitor.ready, f"503 of /readyz ({name})")
        await asyncio.sleep(seconds)
        await asyncio.to_thread(lift)
        await self.progress()
        await until(lambda: self.visitor.ready, f"200 of /readyz ({name})")

    async def kill(self, how: signal.Signals, seconds: float) -> None:
        """End the database, and start it again."""
        await asyncio.to_thread(self.process.stop, how)
        await self.suffer(how.name, unready=True, lift=self.process.start, seconds=seconds)

    async def freeze(self, seconds: float) -> None:
        """Stop the database's processes for a while."""
        frozen = self.process.frozen()
        frozen.__enter__()
        await self.suffer(
            "frozen",
            unready=seconds > 5,
            lift=lambda: frozen.__exit__(None, None, None),
            seconds=max(0.0, seconds - 5),
        )

    async def limit(self, name: str, seconds: float) -> None:
        """Change what the server's role may do, for a while. Connections that exist are ended."""
        if name in LIMITS:
            on, off = (f"ALTER ROLE {ROLE} {'' if text.startswith('RESET') else 'SET '}{text}" for text in LIMITS[name])
        else:
            on, off = (f"ALTER ROLE {ROLE} {text}" for text in RIGHTS[name])
        await self._execute(on)
        await self._execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'")
        lift = asyncio.get_running_loop()
        await self.suffer(
            name,
            unready=True,
            lift=lambda: asyncio.run_coroutine_threadsafe(self._execute(off), lift).result(),
            seconds=seconds,
        )

    async def fill(self, disk: Path, seconds: float) -> None:
        """Fill the database's disk for a while."""
        filler = disk / "filler"

        def fill() -> None:
            with filler.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(4096))

        await asyncio.to_thread(fill)

        def lift() -> None:
            filler.unlink()
            if self.process.process is None or self.process.process.poll() is not None:  # it ended itself
                self.process.start()

        await self.suffer("disk full", unready=True, lift=lift, seconds=seconds)

    async def cut(self, number: int, random: Random) -> None:
        """Cut this many connections in the middle of commits, one after the other."""
        for _ in range(number):
            self.proxy.cut_next(random.choice(CUTS))
            before = self.proxy.made.total()
            await until(lambda before=before: self.proxy.made.total() > before, "a cut")  # type: ignore[misc]
            self.tally.faults["cuts"] += 1
            if random.random() < 0.8:
                await self.progress(random.randint(1, 20))

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.process.url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


def _query(collection: str) -> dict[str, Any]:
    return {"order_by": {"updatedAt": "desc"}, "limit": 20} if collection == MADE else {"order_by": {"id": "asc"}}


def told_once(text: str) -> list[str]:
    """Complaints about a server's log: each loss of the database is told once, and so is its return."""
    lines = text.splitlines()
    lost = sum("storage is away" in line or "storage does not answer" in line for line in lines)
    back = sum("storage answers again" in line for line in lines)
    complaints = (
        [] if lost == back else [f"the log tells {lost} times that the database is away, {back} that it is back"]
    )
    if any("Traceback" in line for line in lines):
        complaints.append("there is a traceback in the log")
    return complaints


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition."""
    deadline = monotonic() + PATIENCE
    while not condition():
        if monotonic() > deadline:
            raise TimeoutError(f"{what} did not happen within {PATIENCE:.0f} s")
        await asyncio.sleep(0.005)


@asynccontextmanager
async def world(folder: Path, disk: Path | None = None) -> AsyncIterator[World]:
    """Everything, started; the database's files are in ``disk`` if one is given."""
    process = PostgresProcess(disk)
    async with AsyncExitStack() as stack:
        stack.callback(process.remove)
        await asyncio.to_thread(process.start)
        connection = await asyncpg.connect(process.url)
        await connection.execute(f"CREATE ROLE {ROLE} LOGIN; GRANT CREATE ON DATABASE postgres TO {ROLE}")
        await connection.close()
        proxy = stack.enter_context(CuttingProxy(process.port))
        hook = await stack.enter_async_context(deliveries())
        server = chaotic(folder, hook, f"postgresql://{ROLE}@127.0.0.1:{proxy.port}/postgres")
        await start(server)
        stack.callback(server.stop)
        yield World(process, proxy, server, hook)


async def faults(
    one: World, *, kills: int, cuts: int, seed: int, disk: Path | None, report: Callable[[Tally], None]
) -> Tally:
    """Everything that can happen, in random order, ``kills`` times; and ``cuts`` cuts in between."""
    random = Random(seed)
    plan: list[str] = ["kill", "freeze", *LIMITS, *RIGHTS, *(["disk"] if disk is not None else [])]
    async with one.busy():
        await one.progress()
        left = cuts
        for number in range(kills):
            await one.kill(KILLS[number % len(KILLS)], random.uniform(0, 1.5))
            chosen = plan[number % len(plan)]
            if chosen == "freeze":
                # one is longer than a statement may take
                await one.freeze(40.0 if number == plan.index("freeze") else random.uniform(0.5, 8))
            elif chosen == "disk":
                assert disk is not None
                await one.fill(disk, random.uniform(0, 2))
            elif chosen != "kill":
                await one.limit(chosen, random.uniform(0, 2))
            some = left // (kills - number)
            await one.cut(some, random)
            left -= some
            await one.compare(f"fault {number}")
            report(one.tally)
            if one.tally.complaints:
                print(one.server.log()[-10_000:])
                break
    return one.tally


@contextmanager
def small_disk() -> Iterator[Path | None]:
    """A disk of 400 MB in memory, if this user may mount one; else ``None``."""
    with tempfile.TemporaryDirectory() as folder:
        mount = ["mount", "-t", "tmpfs", "-o", "size=400m,mode=755", "tmpfs", folder]
        try:
            mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
        except FileNotFoundError:
            mounted = False
        if not mounted:
            yield None
            return
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run faults from the command line. Returns 0 if nothing is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--cuts", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)

    async def scenario(folder: Path, disk: Path | None) -> Tally:
        async with world(folder, disk) as one:
            return await faults(
                one,
                kills=options.kills,
                cuts=options.cuts,
                seed=options.seed,
                disk=disk,
                report=lambda tally: print(tally, flush=True),
            )

    with tempfile.TemporaryDirectory() as folder, small_disk() as disk:
        if disk is None:
            print("the disk is never full: this user may not mount a small one")
        tally = asyncio.run(scenario(Path(folder), disk))
    print(tally)
    for complaint in tally.complaints:
        print(complaint)
    return 1 if tally.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
