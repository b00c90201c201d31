"""Shared by both command lines: runs in child processes, and result files."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from bench.result import Result
from bench.servers import ROOT, cores, launched

RESULTS = Path(__file__).parent / "results"
Draw = Callable[[Sequence[Result], Path, str], list[str]]
Render = Callable[[dict[str, Any], Sequence[Result], Sequence[str]], str]


class Failed(Exception):
    """A run has no results; the message says why."""


def machine() -> str:
    """Describe the machine."""
    name = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            name = line.split(":", 1)[1].strip()
            break
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{name}, {psutil.cpu_count()} cores, {memory:.0f} GB, {platform.system()}, Python {platform.python_version()}"
    )


def about(name: str, *, quick: bool) -> dict[str, Any]:
    """Metadata of a report; ``servers`` is filled in by the runs."""
    for_server, for_load = cores()
    pinning = f"Servers on core {for_server}, the load on core {for_load}."
    if for_server is None:
        pinning = "Nothing is pinned: figures are rough."
    return {"name": name, "machine": machine(), "pinning": pinning, "quick": quick, "servers": {}}


def take_core() -> int | None:
    """Move this process to the core of the load; returns the core for the server."""
    for_server, for_load = cores()
    if for_load is not None:
        os.sched_setaffinity(0, {for_load})
    return for_server


def child(arguments: Sequence[str], limit: float) -> list[Result]:
    """Run ``python -m`` with these arguments and read the results from its last line. Raises :class:`Failed`.

    The child and its server are stopped after ``limit`` seconds, and when this process ends for any reason.
    """
    process = subprocess.Popen(
        launched([sys.executable, "-m", *arguments]),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C reaches only this process, which forwards it once
    )
    try:
        answer, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        raise Failed(f"given up after {limit:.0f} s") from None
    finally:
        _end(process)
    try:
        return [Result(**result) for result in json.loads(answer.splitlines()[-1])]
    except (IndexError, ValueError):
        raise Failed("the run failed") from None


def _end(process: subprocess.Popen[str], patience: float = 25.0) -> None:
    """Let the child stop its server, then kill what remains."""
    if process.poll() is not None:
        return
    started = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    process.send_signal(signal.SIGINT)
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        pass
    finally:
        for one in started:
            with suppress(psutil.NoSuchProcess):
                one.kill()


def write(meta: dict[str, Any], results: list[Result], folder: Path, render: Render, draw: Draw) -> Path:
    """Write results as JSON, Markdown and plots; returns the report's path."""
    folder.mkdir(parents=True, exist_ok=True)
    name = meta["name"]
    data = {"meta": meta, "results": [result.as_json() for result in results]}
    (folder / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")
    report = folder / f"{name}.md"
    report.write_text(render(meta, results, draw(results, folder, name)))
    return report


def rewrite(file: Path, render: Render, draw: Draw) -> Path:
    """Write the report and plots of a results file again; returns the report's path."""
    data = json.loads(file.read_text())
    return write(data["meta"], [Result(**result) for result in data["results"]], file.parent, render, draw)
