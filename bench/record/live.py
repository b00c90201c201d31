"""From a write to the event of a live query: time, CPU and memory, by the number of live queries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter
from typing import TypeVar

from bench.measure import Stopwatch, Window, percentile
from bench.record.clients.base import Client
from bench.record.servers import CLIENTS, OURS
from bench.result import Options, Result
from bench.servers import Running
from bench.session import Closed
from bench.waiting import until

STAGES = (100, 1_000, 10_000)
MORE = 100_000
"""Number of live queries for an additional stage of our server, in one encoding."""
TASKS = 100
"""Number of tasks that match a live query, and number of tasks that match none."""
CONNECTIONS = 20
INTERVAL = 0.010
DATABASE = "postgres"
"""Name of processes to exclude: they come and go, and hold no subscriptions."""
PATIENCE = 10.0
AClient = TypeVar("AClient", bound=Client)
TOO_LONG = 120.0
"""Timeout for subscribing, in seconds."""


async def within(work: Awaitable[object], seconds: float) -> bool:
    """Run ``work`` with a timeout. Returns whether it finished."""
    try:
        await asyncio.wait_for(work, seconds)
    except TimeoutError:
        return False
    return True


async def spread(
    clients: Sequence[AClient], names: Sequence[str], how: Callable[[AClient, Sequence[str]], Awaitable[None]]
) -> None:
    """Distribute subscriptions over the clients."""
    share = -(-len(names) // len(clients))
    await asyncio.gather(
        *(how(client, names[index * share : (index + 1) * share]) for index, client in enumerate(clients))
    )


class Writes:
    """Writes of one client, with the times of request and answer. ``n`` is unique within a run."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.n = 0
        self.sent: dict[int, float] = {}
        self.answered: dict[int, float] = {}
        self.last: dict[str, int] = {}

    async def write(self, name: str) -> int:
        """Make one write; returns when it is acknowledged."""
        self.n += 1
        n = self.n
        self.last[name] = n
        self.sent[n] = perf_counter()
        await self.client.update(name, n)
        self.answered[n] = perf_counter()
        return n

    async def paced(self, names: Sequence[str], most: int, seconds: float, seen: Callable[[int], bool]) -> list[int]:
        """Write sequentially: wait after each write until it was acknowledged and seen, and for the interval."""
        began = due = perf_counter()
        done: list[int] = []
        while len(done) < most and perf_counter() - began < seconds:
            n = await self.write(names[len(done) % len(names)])
            done.append(n)
            await until(lambda n=n: seen(n), PATIENCE, 0.0005)  # type: ignore[misc]
            due = max(due + INTERVAL, perf_counter())
            await asyncio.sleep(due - perf_counter())
        return done

    async def pressed(self, names: Sequence[str], most: int, seconds: float, at_once: int = 10) -> int:
        """Keep ``at_once`` writes in flight. Returns the number of acknowledged writes."""
        began = perf_counter()
        before = self.n

        async def go(own: Sequence[str]) -> None:
            turn = 0
            while self.n - before < most and perf_counter() - began < seconds:
                await self.write(own[turn % len(own)])
                turn += 1

        await asyncio.gather(*(go(names[lane::at_once]) for lane in range(at_once)))
        return self.n - before


def _per(cost: Window, count: int) -> float:
    return round(1e6 * cost.server / max(1, count), 1)


class Scene:
    """A server, a writer, and clients with live queries."""

    def __init__(self, server: Running, options: Options) -> None:
        make = CLIENTS[server.server.name]
        self.server = server
        self.options = options
        self.writer = make()
        self.clients = [make() for _ in range(CONNECTIONS)]
        tasks = 20 if options.quick else TASKS
        self.matched = [f"k{i}" for i in range(tasks)]
        self.unmatched = [f"none{i}" for i in range(tasks)]
        self.writes = Writes(self.writer)
        self.queries = 0

    async def begin(self) -> None:
        """Connect, create the tasks, and warm up."""
        for client in (self.writer, *self.clients):
            await client.connect(self.server.url(""))
        for name in (*self.matched, *self.unmatched):
            await self.writer.create(name)
        await self.writes.pressed(self.unmatched, 50 if self.options.quick else 1500, self.options.seconds)

    def seen(self, n: int) -> bool:
        """Whether any client received a write."""
        return any(n in client.seen for client in self.clients)

    async def stage(self, queries: int, result: Result) -> None:
        """Add live queries up to a number; measure writes that match one of them, and writes that match none."""
        quick, seconds = self.options.quick, self.options.seconds
        numbers = result.numbers
        before = self.server.tree.rss(apart_from=DATABASE)
        watch = Stopwatch(self.server.tree, self.options.core)
        added = [f"k{i}" for i in range(self.queries, queries)]
        done = await within(spread(self.clients, added, lambda client, keys: client.subscribe(keys)), TOO_LONG)
        cost = watch.stop()
        if not done:
            result.invalid = f"subscribing took longer than {TOO_LONG:.0f} s"
            return
        self.queries = queries
        await asyncio.sleep(0.1 if quick else 1.5)
        numbers["subscribe_us"] = _per(cost, len(added))
        numbers["memory_kb"] = round((self.server.tree.rss(apart_from=DATABASE) - before) / 1e3 / len(added), 2)
        watch.start()
        await asyncio.sleep(0.1 if quick else 1.5)
        numbers["idle_percent"] = watch.stop().shares()["cpu_percent"]

        told = await self.writes.paced(self.matched, 20 if quick else 400, seconds, self.seen)
        arrived = {n: at for client in self.clients for n, at in client.seen.items()}
        sent, answered = self.writes.sent, self.writes.answered
        now = perf_counter()
        events = sorted((arrived.get(n, now) - sent[n]) * 1000 for n in told)
        answers = sorted((answered[n] - sent[n]) * 1000 for n in told)

        most = 50 if quick else 2000
        watch.start()
        matched = await self.writes.pressed(self.matched, most, seconds)
        # a server may skip a value in favour of a newer one, but not the last
        last = [self.writes.last[name] for name in self.matched if name in self.writes.last]
        await until(lambda: all(map(self.seen, last)), PATIENCE, 0.005)
        loud = watch.stop()
        watch.start()
        unmatched = await self.writes.pressed(self.unmatched, most, seconds)
        silent = watch.stop()
        result.numbers |= {
            "writes": len(told),
            "event_p50_ms": round(percentile(events, 50), 2),
            "event_p99_ms": round(percentile(events, 99), 2),
            "answer_p50_ms": round(percentile(answers, 50), 2),
            "answer_p99_ms": round(percentile(answers, 99), 2),
            "matched_us": _per(loud, matched),
            "unmatched_us": _per(silent, unmatched),
            "unmatched_per_s": round(unmatched / silent.seconds),
            "generator_percent": max(loud.shares()["generator_percent"], silent.shares()["generator_percent"]),
            "others_percent": max(loud.shares()["others_percent"], silent.shares()["others_percent"]),
        }
        missing = sum(not self.seen(n) for n in (*told, *last))
        if missing:
            result.notes.append(f"{missing} events never arrived")
        for window in (loud, silent):
            invalid, notes = window.objections()
            result.invalid = result.invalid or invalid
            result.notes += [note for note in notes if note != "saturated" and note not in result.notes]
        if ended := [client.ended for client in (self.writer, *self.clients) if client.ended]:
            result.invalid = f"connections ended: {ended[0]}"

    def end(self) -> None:
        """Leave."""
        for client in (self.writer, *self.clients):
            client.close()


async def live(server: Running, options: Options) -> list[Result]:
    """Stage by stage."""
    name = server.server.name
    scene = Scene(server, options)
    await scene.begin()
    stages = (100, 200) if options.quick else (*STAGES, MORE) if name == OURS[0] else STAGES
    results: list[Result] = []
    for queries in stages:
        results.append(Result(f"live {queries}", name))
        try:
            await scene.stage(queries, results[-1])
        except (Closed, RuntimeError) as error:  # keep the results of earlier stages
            results[-1].invalid = f"{type(error).__name__}: {error}"
        if results[-1].invalid:
            break
    scene.end()
    return results
