"""Cost of live queries inside the server, without sockets and storage.

An empty storage answers immediately; the measurement covers everything between it and the sockets. CPU time of
one thread, the best of many rounds: other work on the machine can only increase it. Memory is
resident, with a watcher each. Each measurement runs in its own process.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from time import process_time
from typing import Any

import psutil

from bench.result import Options, Result
from collab.entities.feed import Feed
from collab.errors import CollabError
from collab.event import EntityEvent
from collab.names import RoomKey
from collab.query.aggregate import Aggregation
from collab.query.include import KeysQuery
from collab.query.query import And, Compare, Condition, IndexPaths, Order, Query
from collab.realtime.matching.live_queries import LiveQueries
from collab.storage.base import EntityRow, FoundContents, FoundEach, FoundGroups, FoundRows
from collab.wire.realtime.values import Step

SUBSCRIPTIONS = (100, 1_000, 10_000, 100_000)
MATCHING = (1, 10, 100, 1_000)
EVENTS = 1_000
ROUNDS = 30
NEWEST = (Order(("createdAt",), descending=True),)


class Watcher:
    """Counts what it receives, and keeps nothing."""

    __slots__ = ("told",)

    def __init__(self) -> None:
        self.told = 0

    def reset(self, rows: list[dict[str, Any]], versions: list[int]) -> None:
        """All rows."""

    def steps(self, steps: Sequence[Step]) -> None:
        """Count a change."""
        self.told += 1

    def failed(self, error: CollabError) -> None:
        """It is closed."""


def task(number: int, user: str) -> dict[str, Any]:
    """An entity of about 300 bytes of JSON."""
    return {
        "id": f"task_{number}",
        "title": f"Call the customer about order number {number}",
        "status": "pending",
        "assignedTo": user,
        "priority": number % 5,
        "labels": ["sales", "north"],
        "done": False,
        "createdAt": f"2026-01-01T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}.000Z",
        "updatedAt": "2026-01-02T00:00:00.000Z",
    }


def event(position: int, data: dict[str, Any], version: int = 2) -> EntityEvent:
    """A change of its title."""
    return EntityEvent(
        position=position,
        type="updated",
        collection="tasks",
        id=data["id"],
        version=version,
        data=data,
        changes={"title": {"from": "Call", "to": data["title"]}},
        user_id="somebody",
        at=data["updatedAt"],
    )


def pending(user: str) -> Condition:
    """The pending tasks of one user, as on the first page of a task list."""
    return And((Compare(("status",), "eq", "pending"), Compare(("assignedTo",), "eq", user)))


class Open:
    """Live queries over given rows, at most ten each."""

    def __init__(self, rows: int = 0) -> None:
        self.rows = rows
        self.made = 0
        self.feed = Feed()
        self.live = LiveQueries(
            self.find, self.aggregate, self.feed, find_each=self.find_each, find_contents=self.find_contents
        )
        self.watchers: list[Watcher] = []

    async def find_each(self, project: str, collection: str, asked: KeysQuery) -> FoundEach:
        raise NotImplementedError

    async def find_contents(
        self, project: str, collection: str, ids: Sequence[str], paths: IndexPaths
    ) -> FoundContents:
        raise NotImplementedError

    async def find(self, project: str, collection: str, query: Query) -> FoundRows:
        """Return new rows for each query."""
        data = [task(self.made + index, "somebody") for index in range(self.rows)]
        self.made += self.rows
        key = RoomKey(project, collection, "")
        return FoundRows(
            [EntityRow(key._replace(id=row["id"]), 1, row, False, b"", 0) for row in data], self.feed.position(project)
        )

    async def aggregate(self, project: str, collection: str, aggregation: Aggregation) -> FoundGroups:
        """Return no groups."""
        return FoundGroups([], self.feed.position(project))

    async def watch(self, queries: Sequence[Query]) -> None:
        """Open live queries, a thousand at a time."""
        for start in range(0, len(queries), 1_000):
            watchers = [Watcher() for _ in queries[start : start + 1_000]]
            self.watchers += watchers
            opening = zip(queries[start : start + 1_000], watchers, strict=True)
            await asyncio.gather(*(self.live.open("p", "tasks", query, watcher) for query, watcher in opening))

    def told(self) -> int:
        """Total number of calls to watchers."""
        return sum(watcher.told for watcher in self.watchers)

    def cost(self, events: Sequence[EntityEvent], rounds: int) -> float:
        """CPU seconds per event."""
        best = float("inf")
        for _ in range(rounds):
            started = process_time()
            for one in events:
                self.feed.publish("p", one)
            best = min(best, process_time() - started)
        return best / len(events)


def resident() -> int:
    """Resident bytes of this process."""
    gc.collect()
    return int(psutil.Process().memory_info().rss)


async def nothing_matches(sizes: Sequence[int], rounds: int) -> list[Result]:
    """Watch every user's pending tasks; send events that match no query. Sizes alternate, to spread disturbances."""
    opened: dict[int, Open] = {}
    memory = {}
    for count in sizes:
        before = resident()
        opened[count] = Open()
        await opened[count].watch([Query(pending(f"user_{n}"), NEWEST, limit=10) for n in range(count)])
        memory[count] = (resident() - before) / count
    events = [event(n + 1, task(n, f"nobody_{n}")) for n in range(EVENTS)]
    costs = dict.fromkeys(sizes, float("inf"))
    for _ in range(rounds):
        for count, one in opened.items():
            costs[count] = min(costs[count], one.cost(events, rounds=1))
    assert not any(one.told() for one in opened.values())
    results = [
        Result("matching", f"{count:,} queries, none of which matches", {"event_us": round(costs[count] * 1e6, 2)})
        for count in sizes
    ]
    results[-1].numbers["memory_kb"] = round(memory[sizes[-1]] / 1e3, 2)  # for smaller numbers the page size dominates
    for one in opened.values():
        await one.live.close()
    return results


async def rows_are_held(count: int) -> list[Result]:
    """Measure memory with ten rows in each window."""
    opened = Open(rows=10)
    empty = resident()
    await opened.watch([Query(pending(f"user_{number}"), NEWEST, limit=10) for number in range(count)])
    memory = (resident() - empty) / count
    await opened.live.close()
    return [
        Result("matching", f"{count:,} queries with ten rows of 300 bytes each", {"memory_kb": round(memory / 1e3, 2)})
    ]


async def some_match(counts: Sequence[int], rounds: int) -> list[Result]:
    """Change a row in many windows: of different queries, and of one shared query."""
    results = []
    for count in counts:
        for kind in ("different", "shared"):
            opened = Open()
            limits = [10 + (number if kind == "different" else 0) for number in range(count)]
            await opened.watch([Query(pending("me"), NEWEST, limit=limit) for limit in limits])
            versions = iter(range(1, 1_000_000))
            best = float("inf")
            for _ in range(rounds):
                events = [
                    event(version, {**task(1, "me"), "title": f"{version}"}, version)
                    for version, _ in zip(versions, range(max(1, EVENTS // count)), strict=False)
                ]
                best = min(best, opened.cost(events, rounds=1))
            assert opened.told() >= count * rounds
            numbers = {"event_us": round(best * 1e6, 2), "watcher_us": round(best * 1e6 / count, 3)}
            label = f"watchers of {'one query' if kind == 'shared' else 'a query each'}, all match: {count:,}"
            results.append(Result("matching", label, numbers))
            await opened.live.close()
    return results


async def no_equality_term(count: int, rounds: int) -> list[Result]:
    """Queries without an equality term are matched one by one."""
    opened = Open()
    await opened.watch([Query(Compare(("priority",), "gte", 5 + number), NEWEST, 10) for number in range(count)])
    events = [event(number + 1, task(number, "somebody")) for number in range(EVENTS // 10)]
    cost = opened.cost(events, rounds)
    assert not opened.told()
    await opened.live.close()
    label = f"{count:,} queries without an equality term, none matches"
    return [Result("matching", label, {"event_us": round(cost * 1e6, 2)})]


def measured(index: int, quick: bool) -> list[Result]:
    """One measurement."""
    rounds = 2 if quick else ROUNDS
    measurements = (
        lambda: nothing_matches((100, 1_000) if quick else SUBSCRIPTIONS, rounds),
        lambda: rows_are_held(200 if quick else 10_000),
        lambda: some_match((1, 10) if quick else MATCHING, rounds),
        lambda: no_equality_term(100 if quick else 1_000, rounds),
    )
    return asyncio.run(measurements[index]())


async def matching(options: Options) -> list[Result]:
    """Run all measurements, one after the other."""
    with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes:
        futures = [processes.submit(measured, index, options.quick) for index in range(4)]
        return [result for future in futures for result in future.result()]
