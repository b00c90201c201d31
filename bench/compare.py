"""Compare the CPU cost of an edit, a write and a creation in two checkouts, side by side.

    python -m bench.compare OLD NEW [--pairs 40]

Both servers run at the same time and are used in turn, at most a second each, so that other work on the machine affects
both equally. Each runs in its own environment (``.venv``) if it has one, so Pythons can be compared, too; otherwise in
this one. The cost is the CPU time of all threads of the server and its children, with what follows the work:
content events come a second later. The output is the median of many turns.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pycrdt
from websockets.asyncio.client import ClientConnection, connect

from bench.record.clients.base import Client
from bench.record.servers import CLIENTS
from bench.servers import UNLIMITED, free_port
from collab.wire import yjs

EDITORS = 10
WRITERS = 10
EDITS = 40  # per editor and turn
WRITES = 20
SETTLING_SECONDS = 1.5  # until content events are committed, by the default of content_event_seconds


def interpreter(checkout: Path) -> str:
    """The Python of a checkout."""
    own = checkout / ".venv" / "bin" / "python"
    return str(own) if own.exists() else sys.executable


class Side:
    """The server of one checkout, and its clients."""

    def __init__(self, checkout: Path, data: Path) -> None:
        self.port = free_port()
        environment = {**os.environ, **dict(UNLIMITED), "PYTHONPATH": str(checkout), "COLLAB_ROOM_IDLE_SECONDS": "600"}
        self.process = subprocess.Popen(
            [interpreter(checkout), "-m", "collab", "serve", "--port", str(self.port), "--data", str(data)],
            cwd=checkout,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.pairs: list[tuple[ClientConnection, ClientConnection, pycrdt.Doc[Any], list[bytes]]] = []
        self.clients: list[Client] = []
        self.number = 0

    async def open(self) -> None:
        """Connect all clients."""
        for name in range(EDITORS):
            url = f"ws://127.0.0.1:{self.port}/rooms/documents/d{name}"
            writer, reader = await _patiently(url), await _patiently(url)
            for socket in (writer, reader):
                await socket.send(yjs.sync_step1(b"\0"))
                await socket.send(yjs.sync_step2(b"\0\0"))
            doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=3_000_000_000 + name)
            made: list[bytes] = []
            doc.observe(lambda event, made=made: made.append(event.update))
            self.pairs.append((writer, reader, doc, made))
        for name in range(WRITERS):
            client = CLIENTS["collab-json"]()
            await client.connect(f"ws://127.0.0.1:{self.port}/realtime")
            await client.create(f"w{name}-1")
            self.clients.append(client)

    def cpu(self) -> float:
        """CPU seconds used so far."""
        return sum(map(_cpu, _family(self.process.pid)))

    async def edits(self) -> int:
        """Make edits, each of which reaches its reader before the next is made. Returns their number."""
        await asyncio.gather(*(self._edit(*pair) for pair in self.pairs))
        return EDITORS * EDITS

    async def _edit(
        self, writer: ClientConnection, reader: ClientConnection, doc: pycrdt.Doc[Any], made: list[bytes]
    ) -> None:
        text = doc.get("content", type=pycrdt.Text)
        for _ in range(EDITS):
            text += "a"
            update = made.pop()
            await writer.send(yjs.update(update))
            while True:
                message = await reader.recv()
                assert isinstance(message, bytes)
                if update in message:
                    break

    async def writes(self) -> int:
        """Make writes that are acknowledged and durable. Returns their number."""
        self.number += 1
        await asyncio.gather(*(self._write(name, client) for name, client in enumerate(self.clients)))
        return WRITERS * WRITES

    async def _write(self, name: int, client: Client) -> None:
        for n in range(WRITES):
            await client.update(f"w{name}-1", self.number * WRITES + n)

    async def creations(self) -> int:
        """Create entities, which is acknowledged and durable. Returns their number."""
        self.number += 1
        await asyncio.gather(*(self._create(name, client) for name, client in enumerate(self.clients)))
        return WRITERS * WRITES

    async def _create(self, name: int, client: Client) -> None:
        for n in range(WRITES):
            await client.create(f"w{name}-{self.number}-{n}")


async def _patiently(url: str) -> ClientConnection:
    for _ in range(300):
        try:
            return await connect(url, max_size=None)
        except OSError:
            await asyncio.sleep(0.1)
    raise RuntimeError(f"no server at {url}")


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(grandchild for child in children for grandchild in _family(int(child)))]


def _cpu(pid: int) -> float:
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            continue
    return total / 1e9


async def compare(old: Path, new: Path, pairs: int) -> None:
    """Print one line per kind of work."""
    with tempfile.TemporaryDirectory() as folder:
        sides = [Side(old, Path(folder) / "old"), Side(new, Path(folder) / "new")]
        try:
            for side in sides:
                await side.open()
            found: dict[str, list[tuple[float, float]]] = {"edits": [], "writes": [], "creations": []}
            for number in range(pairs + 2):
                for kind, turns in found.items():
                    starts = [side.cpu() for side in sides]
                    for side in sides if number % 2 else sides[::-1]:
                        count = await getattr(side, kind)()
                    await asyncio.sleep(SETTLING_SECONDS)
                    took = [(side.cpu() - start) / count for side, start in zip(sides, starts, strict=True)]
                    if number >= 2:
                        turns.append((took[0], took[1]))
        finally:
            for side in sides:
                side.process.terminate()
                side.process.wait()
    for kind, turns in found.items():
        before, after = (statistics.median(turn[n] for turn in turns) for n in (0, 1))
        ratios = sorted(turn[1] / turn[0] for turn in turns)
        quarter = len(ratios) // 4
        print(
            f"{kind}: {1e6 * before:.1f} -> {1e6 * after:.1f} us of CPU, median of {len(ratios)} ratios "
            f"{statistics.median(ratios):.3f} (half of them {ratios[quarter]:.3f} to {ratios[-1 - quarter]:.3f}), "
            f"least {1e6 * min(t[0] for t in turns):.1f} -> {1e6 * min(t[1] for t in turns):.1f} us"
        )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--pairs", type=int, default=40)
    options = parser.parse_args()
    asyncio.run(compare(options.old.resolve(), options.new.resolve(), options.pairs))


if __name__ == "__main__":
    main()
