"""Durable acknowledged writes, compared with the disk's own rates."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from bench.measure import Stopwatch, percentile
from bench.record.clients.base import Client
from bench.record.servers import CLIENTS
from bench.result import Options, Result
from bench.servers import Running

WRITERS = (1, 10, 100)
PAGE = b"x" * 4096


def rate(action: Callable[[], object], seconds: float) -> tuple[float, float]:
    """Measure a sequential action: rate per second, and median in milliseconds."""
    took = []
    began = perf_counter()
    while (now := perf_counter()) - began < seconds:
        action()
        took.append((perf_counter() - now) * 1000)
    return len(took) / (perf_counter() - began), sorted(took)[len(took) // 2]


def disk(folder: Path, seconds: float) -> dict[str, float]:
    """Measure the disk: a page appended to a file and synced, and a row committed by SQLite (WAL, FULL)."""
    with (folder / "synced").open("wb", buffering=0) as file:

        def sync() -> None:
            file.write(PAGE)
            os.fsync(file.fileno())

        syncs, sync_ms = rate(sync, seconds)
    base = sqlite3.connect(folder / "commits.sqlite", isolation_level=None)
    base.execute("PRAGMA journal_mode = WAL")
    base.execute("PRAGMA synchronous = FULL")
    base.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, content BLOB)")
    commits, commit_ms = rate(lambda: base.execute("INSERT INTO rows (content) VALUES (?)", (PAGE[:200],)), seconds)
    base.close()
    return {
        "fsyncs_per_s": round(syncs),
        "fsync_p50_ms": round(sync_ms, 3),
        "commits_per_s": round(commits),
        "commit_p50_ms": round(commit_ms, 3),
    }


async def writing(server: Running, options: Options) -> list[Result]:
    """Each writer has its own connection and waits for each answer: first creates, then updates of its own task."""
    make = CLIENTS[server.server.name]
    seconds = min(options.seconds, 4.0)
    with tempfile.TemporaryDirectory(dir=server.data) as folder:
        own = disk(Path(folder), min(1.5, seconds))
    results = []
    for writers in (1, 3) if options.quick else WRITERS:
        clients = [make() for _ in range(writers)]
        for client in clients:
            await client.connect(server.url(""))
        result = Result(f"writers {writers}", server.server.name, dict(own))
        results.append(result)
        for kind in ("create", "update"):
            took: list[float] = []
            watch = Stopwatch(server.tree, options.core)
            stop = perf_counter() + seconds
            await asyncio.gather(
                *(
                    write_in_turn(client, f"w{writers}-{index}", kind, stop, took)
                    for index, client in enumerate(clients)
                )
            )
            cost = watch.stop()
            took.sort()
            invalid, notes = cost.objections()
            result.invalid = result.invalid or invalid
            result.notes += [note for note in notes if note != "saturated" and note not in result.notes]
            result.numbers |= {
                f"{kind}s_per_s": round(len(took) / cost.seconds, 1),
                f"{kind}_p50_ms": round(percentile(took, 50), 2),
                f"{kind}_p99_ms": round(percentile(took, 99), 2),
                f"{kind}_cpu_us": round(1e6 * cost.server / max(1, len(took)), 1),
                f"{kind}_own_us": round(1e6 * cost.own / max(1, len(took)), 1),
                f"{kind}_cpu_percent": cost.shares()["cpu_percent"],
            }
        for client in clients:
            client.close()
    return results


async def write_in_turn(client: Client, name: str, kind: str, stop: float, took: list[float]) -> None:
    """Write sequentially until ``stop``; append the milliseconds of each write to ``took``."""
    number = 0
    while (now := perf_counter()) < stop:
        number += 1
        if kind == "create":
            await client.create(f"{name}-{number}")
        else:
            await client.update(f"{name}-1", number)
        took.append((perf_counter() - now) * 1000)
