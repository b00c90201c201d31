"""Typing in documents that this node, or another one, has."""

from __future__ import annotations

import asyncio
from functools import partial

from bench.cluster.servers import Cluster, about_collab, about_hocuspocus, collab, hocuspocus, nodes
from bench.framing import HocuspocusFraming
from bench.measure import Stopwatch
from bench.result import Options, Result
from bench.scenarios.typing import Shape, steady
from bench.session import Session

PAIRS = Shape(20, 2, 5.0, watched=1)
BOTH_WATCHED = Shape(20, 2, 5.0, watched=2)
OVERLOAD = Shape(40, 2, 50.0, watched=1, drain=30.0)
BYSTANDERS = (0, 1, 2, 4)
WORKERS = (1, 2, 4)


async def _own(cluster: Cluster, index: int, rooms: int) -> list[Session]:
    """Open the rooms of a load at a node, which owns them from then on. The sessions only listen."""
    place = cluster.at(index)
    sessions = [place.session(f"bench-{room}") for room in range(rooms)]
    for session, url in sessions:
        await session.connect(url)
    return [session for session, _ in sessions]


async def distance(options: Options) -> list[Result]:
    """The same load at the owner of its documents, and at another node, with one more reader at the owner."""
    results = []
    for label, index in (("at the owner", 0), ("through another node", 1)):
        async with nodes("collab", 2, options.core) as cluster:
            readers = await _own(cluster, 0, PAIRS.rooms)
            result = await steady("distance", PAIRS, cluster.at(index), options)
            for reader in readers:
                reader.close()
        result.server = label
        results.append(result)
    return results


async def bystanders(options: Options) -> list[Result]:
    """The same load at one node, while others live that have none of its documents."""
    results = []
    for others in (0, 1) if options.quick else BYSTANDERS:
        async with nodes("collab", 1 + others, options.core) as cluster:
            await asyncio.sleep(0.5 if options.quick else 3.0)
            watch = Stopwatch(cluster.tree, options.core)
            await asyncio.sleep(options.seconds)
            idle = watch.stop()
            result = await steady(f"bystanders {others}", PAIRS, cluster.at(0), options)
        figures = result.numbers
        idle_us = 1e6 * idle.own / idle.seconds * options.seconds / max(1.0, figures["edits_done"])
        figures["idle_own_percent"] = round(100 * idle.own / idle.seconds, 2)
        figures["net_per_edit_us"] = round(figures["own_per_edit_us"] - idle_us, 1)
        results.append(result)
    return results


async def workers(options: Options) -> list[Result]:
    """More edits than one worker takes, at one machine with more and more workers. Nothing is pinned but the load."""
    results = []
    for count in (1, 2) if options.quick else WORKERS:
        async with nodes("collab", 1, None, of=partial(collab, workers=count)) as cluster:
            result = await steady(f"workers {count}", OVERLOAD, cluster.at(0), Options(options.seconds, options.quick))
        result.numbers["edits_per_s"] = round(result.numbers["edits_done"] / options.seconds, 1)
        results.append(result)
    return results


async def peers(options: Options) -> list[Result]:
    """Two people in each document, at one node each. Both servers speak the protocol of Hocuspocus."""
    results = []
    ours = partial(nodes, "collab", 2, options.core, path=lambda room: "/hocuspocus", framing=HocuspocusFraming)
    theirs = partial(
        nodes, "hocuspocus-redis", 2, options.core, of=hocuspocus, postgres=False, path=lambda room: "/",
        framing=HocuspocusFraming,
    )  # fmt: skip
    for started in (ours, theirs):
        async with started() as cluster:
            results.append(await steady("peers", BOTH_WATCHED, cluster.at(0, 1), options))
    return results


ABOUT = {"collab": about_collab, "hocuspocus-redis": about_hocuspocus}
"""Lines of the report."""
