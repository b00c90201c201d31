"""Hundreds of thousands of hostile frames: python -m tests.fuzz.run [--frames N] [--seed N] [--jobs N]

Child processes (:mod:`tests.fuzz.child`) feed them through the gate into the CRDT library. One that dies or stands
still is named by the sequence it was in, and followed by another. What the gate took in is replayed to yjs in Node,
for a sample of the sequences. The same seed gives the same frames, on any machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer
from typing import Any

from tools import machine

LENGTH = 50
"""Frames per sequence; each sequence has one document."""
PATIENCE = 60.0
"""Seconds of silence after which a child counts as stuck. A sequence takes 50 milliseconds."""
_SHARE = 200  # sequences per child
_HERE = Path(__file__).parent
_ROOT = _HERE.parent.parent


@dataclass
class Outcome:
    """Results of all frames. ``problems`` must be empty."""

    frames: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    slowest: float = 0.0

    def add(self, other: Outcome) -> None:
        self.frames += other.frames
        self.counts += other.counts
        self.problems += other.problems
        self.samples += other.samples
        self.slowest = max(self.slowest, other.slowest)


def run(frames: int, seed: int = 0, jobs: int = 1, sample: int = 4) -> Outcome:
    """Run ``frames`` frames and replay every ``sample``-th sequence to yjs."""
    sequences = -(-frames // LENGTH)
    first = seed * 1_000_000
    shares = [(at, min(_SHARE, first + sequences - at)) for at in range(first, first + sequences, _SHARE)]
    total = Outcome()
    with ThreadPoolExecutor(jobs) as pool:
        for outcome in pool.map(lambda share: _run_share(share[0], share[1], sample), shares):
            total.add(outcome)
    total.problems += replay(total.samples)
    return total


def _run_share(first: int, count: int, sample: int) -> Outcome:
    outcome = Outcome(frames=count * LENGTH)
    end = first + count
    while first < end:
        died_in, why = _run_child(first, end - first, sample, outcome)
        if died_in is None:
            break
        outcome.problems.append(f"sequence {died_in}: {why}")
        first = died_in + 1
    return outcome


def _run_child(first: int, count: int, sample: int, outcome: Outcome) -> tuple[int | None, str]:
    """The sequence that crashed the child, if any, and how."""
    command = [sys.executable, "-m", "tests.fuzz.child", str(first), str(count), str(LENGTH), str(sample)]
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=errors, text=True) as child,
    ):
        assert child.stdout is not None
        current, finished = first, False
        watchdog = Timer(PATIENCE, child.kill)
        watchdog.start()
        for line in child.stdout:
            watchdog.cancel()
            watchdog = Timer(PATIENCE, child.kill)
            watchdog.start()
            told = json.loads(line)
            if "begin" in told:
                current = told["begin"]
            elif "problem" in told:
                outcome.problems.append(f"sequence {told['sequence']}, frame {told['frame']}: {told['problem']}")
            elif "sample" in told:
                outcome.samples.append(told)
            else:
                outcome.counts.update(told["counts"])
                outcome.slowest = max(outcome.slowest, told["slowest"])
                finished = True
        watchdog.cancel()
        code = child.wait()
        if finished and not code:
            return None, ""
        errors.seek(max(0, errors.seek(0, os.SEEK_END) - 500))
        return current, f"the process ended with {code}: {errors.read().decode(errors='replace')}"


def replay(samples: Iterable[dict[str, Any]]) -> list[str]:
    """Apply accepted frames to yjs; returns its complaints."""
    lines = "".join(json.dumps(sample) + "\n" for sample in samples)
    done = subprocess.run(
        [machine.node(), "replay.mjs"], cwd=_HERE, input=lines, capture_output=True, text=True, check=False
    )
    if done.returncode:
        return [f"the replay in Node failed: {done.stderr[-2000:]}"]
    return done.stdout.splitlines()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--sample", type=int, default=4, help="replay every Nth sequence to yjs")
    options = parser.parse_args(arguments)
    outcome = run(options.frames, options.seed, options.jobs, options.sample)
    for what, count in outcome.counts.most_common():
        print(f"{count:9} {what}")
    print(f"{outcome.frames} frames, the slowest took {outcome.slowest * 1000:.1f} ms of CPU")
    print(f"{len(outcome.samples)} sequences were replayed to yjs")
    for problem in outcome.problems:
        print(problem)
    return bool(outcome.problems)


if __name__ == "__main__":
    sys.exit(main())
