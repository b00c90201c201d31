"""Progress display: names of steps, durations, and output of failures."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tools.machine import ROOT

Command = Sequence["str | Path"]


class StepError(Exception):
    """A step failed; its output has been shown."""


class Progress:
    """Shows named steps with durations, and the complete output of a failed one."""

    def __init__(self) -> None:
        self.live = sys.stdout.isatty()
        self.failed: list[str] = []

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show `name` with a running clock until the block ends, then its result."""
        start, over = time.monotonic(), threading.Event()

        def tick() -> None:
            while not over.wait(0.2 if self.live else 30):
                self._show(f"… {name} {time.monotonic() - start:5.0f} s", final=False)

        clock = threading.Thread(target=tick, daemon=True)
        clock.start()
        mark = "✗"
        try:
            yield
            mark = "✓"
        finally:
            over.set()
            clock.join()
            self._show(f"{mark} {name} {time.monotonic() - start:7.1f} s", final=True)

    def run(self, name: str, *commands: Command, cwd: Path = ROOT, env: dict[str, str] | None = None) -> None:
        """Run commands as one step; shows their output and raises StepError if one fails."""
        output = ""
        try:
            with self.step(name):
                for command in commands:
                    done = subprocess.run(
                        [str(part) for part in command],
                        cwd=cwd,
                        env=env,
                        text=True,
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT,
                        check=False,
                    )
                    output += done.stdout
                    if done.returncode:
                        output += f"\n`{' '.join(str(part) for part in command)}` ended with {done.returncode}\n"
                        raise StepError(name)
        except StepError:
            print(output, flush=True)
            raise

    def _show(self, line: str, *, final: bool) -> None:
        if self.live:
            print(f"\r\x1b[2K{line}", end="\n" if final else "", flush=True)
        else:
            print(line, flush=True)
