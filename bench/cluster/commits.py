"""Durable acknowledged writes of applications, at one node and at two."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter

from bench.cluster.servers import Cluster, nodes
from bench.measure import Stopwatch, percentile
from bench.record.clients.collab import Collab
from bench.record.writing import write_in_turn
from bench.result import Options, Result

WRITERS = (1, 10, 100)
PLACES: dict[str, tuple[Sequence[int], Sequence[int]]] = {
    "at one node": ((0,), (0,)),
    "at two nodes": ((0, 1), (0, 1)),
    "through another node": ((0,), (1,)),
}
"""The nodes at which entities are created, which then own them, and those at which they are updated."""


async def commits(options: Options) -> list[Result]:
    """Each writer has a connection and a task of its own, and waits for each answer. Nothing is pinned but the load."""
    seconds = min(options.seconds, 4.0)
    results = []
    for label, (owners, places) in PLACES.items():
        async with nodes("collab", 2, None, path=lambda room: "/realtime") as cluster:
            for writers in (1, 3) if options.quick else WRITERS:
                result = Result(f"commits {writers}", label)
                for kind, indexes in (("create", owners), ("update", places)):
                    await _measure(cluster, kind, indexes, writers, seconds, result)
                results.append(result)
    return results


async def _measure(
    cluster: Cluster, kind: str, indexes: Sequence[int], writers: int, seconds: float, result: Result
) -> None:
    place = cluster.at(*indexes)
    clients = [Collab("json") for _ in range(writers)]
    for client in clients:
        await client.connect(place.url(""))
    took: list[float] = []
    watch = Stopwatch(cluster.tree, None)
    stop = perf_counter() + seconds
    await asyncio.gather(
        *(write_in_turn(client, f"w{writers}-{index}", kind, stop, took) for index, client in enumerate(clients))
    )
    cost = watch.stop()
    for client in clients:
        client.close()
    took.sort()
    count = max(1, len(took))
    result.invalid = result.invalid or cost.objections()[0]
    result.numbers |= {
        f"{kind}s_per_s": round(len(took) / cost.seconds, 1),
        f"{kind}_p50_ms": round(percentile(took, 50), 2),
        f"{kind}_p99_ms": round(percentile(took, 99), 2),
        f"{kind}_cpu_us": round(1e6 * cost.server / count, 1),
        f"{kind}_own_us": round(1e6 * cost.own / count, 1),
    }
