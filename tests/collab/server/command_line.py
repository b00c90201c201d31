"""The command ``collab`` for tests: run in this process, or as a server of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from click.testing import CliRunner, Result

from collab.server.cli import main

ROOT = Path(__file__).parents[3]


def run(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(main, arguments, env=environ, prog_name="collab")


@contextmanager
def serving(folder: Path, *arguments: str, **environ: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """``collab …`` as a process, and the lines that it prints up to the last of its greeting."""
    process = subprocess.Popen(
        [sys.executable, "-m", "collab", *arguments, "--port", "0"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip())
            if line.startswith("  access"):
                break
        else:
            raise AssertionError(process.stderr.read())
        yield process, lines
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=40)
