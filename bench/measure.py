"""CPU and memory of a process tree, and percentiles of latencies."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

TICK = os.sysconf("SC_CLK_TCK")
SCHED = 2
"""Combined with a process id: Linux' clock id of its CPU time, in nanoseconds. /proc has hundredths of a second."""
PAGE = os.sysconf("SC_PAGE_SIZE")
DATABASE = "postgres"
"""The name of PostgreSQL's processes."""


class ProcessTree:
    """A server's process and all its descendants."""

    def __init__(self, pid: int) -> None:
        self.root = psutil.Process(pid)

    def _alive(self) -> list[int]:
        return [self.root.pid, *(child.pid for child in self.root.children(recursive=True))]

    def cpu(self, *, apart_from: str = "") -> float:
        """CPU seconds used so far, user and system, including ended children, of all except processes of this name."""
        total = 0.0
        for pid in self._alive():
            try:
                if apart_from and Path(f"/proc/{pid}/comm").read_text().strip() == apart_from:
                    continue
                stat = Path(f"/proc/{pid}/stat").read_text()
                total += time.clock_gettime(~pid << 3 | SCHED)
            except OSError:
                continue
            fields = stat[stat.rindex(")") + 2 :].split()
            total += sum(int(field) for field in fields[13:15]) / TICK  # cutime, cstime
        return total

    def rss(self, *, apart_from: str = "") -> int:
        """Resident bytes of all processes except those of this name (cheap; shared pages count several times)."""
        total = 0
        for pid in self._alive():
            try:
                if Path(f"/proc/{pid}/comm").read_text().strip() == apart_from:
                    continue
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
        return total * PAGE

    def pss(self) -> int:
        """Resident bytes of all processes; shared pages count once (slow)."""
        total = 0
        for pid in self._alive():
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except (FileNotFoundError, ProcessLookupError):
                continue
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
        return total


def busy(core: int | None) -> float:
    """Busy seconds of a core; of all cores if None."""
    name = "cpu " if core is None else f"cpu{core} "
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(name):
            fields = [int(field) for field in line.split()[1:9]]
            return (sum(fields) - fields[3] - fields[4]) / TICK  # everything except idle and iowait
    return 0.0


@dataclass(frozen=True, slots=True)
class Window:
    """Costs of a time window: seconds of wall time, and CPU seconds of the server (with its database; ``own``:
    without), of the generator, and of all other processes on the server's core."""

    seconds: float
    server: float
    own: float
    generator: float
    others: float

    def objections(self) -> tuple[str | None, list[str]]:
        """Return why the figures are invalid, if they are, and notes for the reader."""
        invalid = None
        notes = []
        if self.generator > 0.9 * self.seconds:
            invalid = "the load generator was saturated"
        if self.server > 0.95 * self.seconds:
            notes.append("saturated")
        if self.others > 0.1 * self.seconds:
            notes.append(f"other processes used {100 * self.others / self.seconds:.0f} % of the server's core")
        return invalid, notes

    def shares(self) -> dict[str, float]:
        """CPU shares in percent of one core."""
        return {
            "cpu_percent": round(100 * self.server / self.seconds, 1),
            "generator_percent": round(100 * self.generator / self.seconds, 1),
            "others_percent": round(100 * self.others / self.seconds, 1),
        }


class Stopwatch:
    """Measures a :class:`Window` of a server (on its core) and of this process."""

    def __init__(self, tree: ProcessTree, core: int | None) -> None:
        self._tree = tree
        self._core = core
        self.start()

    def start(self) -> None:
        """Begin."""
        self._server = self._tree.cpu()
        self._apart = self._tree.cpu(apart_from=DATABASE)
        self._busy = busy(self._core)
        self._generator = time.process_time()
        self._began = time.perf_counter()

    def stop(self) -> Window:
        """End."""
        seconds = time.perf_counter() - self._began
        generator = time.process_time() - self._generator
        server = self._tree.cpu() - self._server
        apart = self._tree.cpu(apart_from=DATABASE) - self._apart
        others = busy(self._core) - self._busy - server
        return Window(seconds, server, apart, generator, max(0.0, others) if self._core is not None else 0.0)


def percentile(values: Sequence[float], p: float) -> float:
    """The value below which ``p`` percent of sorted ``values`` lie (nearest rank); 0 if there are none."""
    if not values:
        return 0.0
    return values[min(len(values) - 1, int(len(values) * p / 100))]
