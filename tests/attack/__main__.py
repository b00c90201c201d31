"""Attack our own server, and measure the effect on another user.

    python -m tests.attack [NAME ...] [--seconds 20] [--minutes 0]

For each attack: how long edits, reads and writes of well-behaved tenants take alone, beside processes that burn as
much CPU as the attacker's own, and during the attack (milliseconds), what failed, how many workers died, and the memory
of the server. The three take turns every few seconds, so that whatever else happens on the machine meets them alike.
The attacker has the lowest priority, for a real one has a machine of its own; what it still takes from the server on
this one is the second figure. ``--minutes`` attacks for that long, without a break.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.attack.attacks import ATTACKS, Row
from tests.attack.target import Target
from tests.attack.victim import KINDS, TENANTS, Notes, Waits, behave

_WINDOW = 5.0  # seconds of each phase
_LONGEST_ALONE = 20.0
_BURNING = "while True: pass"
_LOWEST_PRIORITY = ("nice", "-n", "19")
_SETTLE = 1.0  # seconds between phases that count for neither
_LEAST_MS = 10.0  # lower bound for the p99 without attack: sharing cores alone causes such delays


@dataclass
class Outcome:
    """Result of an attack."""

    alone: Waits = field(default_factory=Waits)
    beside: Waits = field(default_factory=Waits)
    """Baseline: other processes use CPU, but nobody attacks."""
    meanwhile: Waits = field(default_factory=Waits)
    deaths: int = 0
    rss_mib: float = 0.0

    @property
    def worst(self) -> float:
        """Factor by which the p99 of the slowest kind of request grows under attack."""
        return self._worst(self.alone)

    @property
    def worst_beside(self) -> float:
        """The factor, without the share that the attacker's own CPU use causes."""
        return self._worst(self.beside)

    def _worst(self, base: Waits) -> float:
        return max(
            1000 * self.meanwhile.quantile(kind, 0.99) / max(_LEAST_MS, 1000 * base.quantile(kind, 0.99))
            for kind in KINDS
        )


async def suffer(target: Target, row: Row, seconds: float, window: float = _WINDOW) -> Outcome:
    """Measure a victim alternately without and with an attack, until the attack ran for ``seconds`` in total."""
    outcome, before = Outcome(), target.deaths
    begin, stop, notes = Waits(), asyncio.Event(), Notes(Waits())
    tenants = [asyncio.create_task(behave(target, stop, notes, number)) for number in range(TENANTS)]
    burner = await _begin(sys.executable, "-c", _BURNING)
    attacker = None
    try:
        burner.send_signal(signal.SIGSTOP)
        await asyncio.sleep(_SETTLE)
        attacked = 0.0
        while attacked < seconds:
            quiet = min(window, seconds, _LONGEST_ALONE)
            notes.now = outcome.alone
            await asyncio.sleep(quiet)
            notes.now = begin
            burner.send_signal(signal.SIGCONT)
            await asyncio.sleep(_SETTLE)
            notes.now = outcome.beside
            await asyncio.sleep(quiet)
            notes.now = begin
            burner.send_signal(signal.SIGSTOP)
            if attacker is None:
                attacker = await _begin(sys.executable, "-m", "tests.attack.attacks", row.name, str(target.port))
                await asyncio.sleep(_SETTLE)  # for its imports
            elif attacker.returncode is None:
                attacker.send_signal(signal.SIGCONT)
            await asyncio.sleep(_SETTLE)
            notes.now = outcome.meanwhile
            await asyncio.sleep(window)
            attacked += window
            outcome.rss_mib = max(outcome.rss_mib, target.rss_mib())
            notes.now = begin
            if attacker.returncode is not None:
                raise RuntimeError("the attacker gave up")
            attacker.send_signal(signal.SIGSTOP)
            await asyncio.sleep(_SETTLE)
    finally:
        stop.set()
        for process in (burner, attacker):
            if process is not None and process.returncode is None:
                process.kill()
                await process.wait()
        await asyncio.gather(*tenants)
    outcome.deaths = target.deaths - before
    return outcome


async def _begin(*command: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(*_LOWEST_PRIORITY, *command)


def report(row: Row, outcome: Outcome) -> str:
    """Format the result of one attack."""
    lines = [f"{row.name}: {row.about}"]
    for kind in KINDS:
        alone, beside, meanwhile = (
            [waits.quantile(kind, part) * 1000 for part in (0.5, 0.99)]
            for waits in (outcome.alone, outcome.beside, outcome.meanwhile)
        )
        lines.append(
            f"  {kind:5}  p50 {alone[0]:6.1f}, {beside[0]:6.1f} -> {meanwhile[0]:6.1f} ms"
            f"   p99 {alone[1]:6.1f}, {beside[1]:6.1f} -> {meanwhile[1]:6.1f} ms"
            f"   n {len(outcome.meanwhile.seconds[kind])}"
        )
    failures = outcome.meanwhile.failures
    lines.append(
        f"  worst p99 {outcome.worst:.1f} x alone, {outcome.worst_beside:.1f} x beside as much CPU"
        f"   failed {len(failures)}   worker deaths {outcome.deaths}"
        f"   memory {outcome.rss_mib:.0f} MiB"
    )
    lines += [f"    {failure}" for failure in failures[:3]]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Run the requested attacks. The exit status is 1 if a worker died."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *(row.name for row in ATTACKS)], metavar="NAME")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--minutes", type=float, default=0.0)
    options = parser.parse_args(arguments)
    deaths = 0
    for row in ATTACKS:
        if options.names and row.name not in options.names:
            continue
        seconds = options.minutes * 60 or options.seconds
        window = seconds if options.minutes else _WINDOW
        with TemporaryDirectory() as folder:
            target = Target(Path(folder))
            target.start()
            try:
                outcome = asyncio.run(suffer(target, row, seconds, window))
            finally:
                target.stop()
        deaths += outcome.deaths
        print(report(row, outcome), flush=True)
    return min(deaths, 1)


if __name__ == "__main__":
    for end in (signal.SIGINT, signal.SIGTERM):  # a shell starts background commands with SIGINT ignored
        signal.signal(end, signal.default_int_handler)
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
