"""What the three command lines share: their options, the run of each part in a child process, and the report."""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, NoReturn

import uvloop

from bench.node import Missing
from bench.result import Result, medians
from bench.runner import RESULTS, Draw, Failed, Render, about, child, rewrite, write


class Command(NamedTuple):
    """A benchmark's command line: ``run`` measures and reports, ``one`` is what its child processes do."""

    parser: argparse.ArgumentParser
    run: argparse.ArgumentParser
    one: argparse.ArgumentParser


class Run(NamedTuple):
    """A part, on a server if it names one. ``limit`` in seconds; ``servers`` describe those that it needs."""

    part: str
    server: str
    limit: float
    servers: Mapping[str, Callable[[], str]]


def command(program: str, description: str | None, *, name: str, seconds: float, epilog: str = "") -> Command:
    """Return a command line. ``name`` ends that of the result files, ``seconds`` are the default of a measurement."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description=description)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser(
        "run",
        help="run parts and write a report",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=epilog,
    )
    today = datetime.now(UTC).date().isoformat()
    run.add_argument("--name", default=f"{today}{name}", help="name of the result files")
    run.add_argument("--out", type=Path, default=RESULTS, help="folder for results (default bench/results)")
    run.add_argument("--repeat", type=int, default=1, help="run each this many times and report medians")
    one = commands.add_parser("one", help="one part, in this process; prints its results as JSON")
    report = commands.add_parser("report", help="write the report and plots of a results file again")
    report.add_argument("file", type=Path)
    for each in (run, one):
        each.add_argument("--seconds", type=float, default=seconds, help="duration of each measurement")
        each.add_argument("--quick", action="store_true", help="tiny loads, to check that everything works")
    return Command(parser, run, one)


def chosen_servers(arguments: argparse.Namespace, known: Sequence[str]) -> list[str] | None:
    """Return those that ``--servers`` names, or ``None``. Ends the process for an unknown one."""
    if not arguments.servers:
        return None
    named: list[str] = arguments.servers.split(",")
    if unknown := set(named) - set(known):
        raise SystemExit(f"unknown server: {', '.join(sorted(unknown))} (known: {', '.join(known)})")
    return named


def measured(part: str, server: str, work: Callable[[], Awaitable[list[Result]]]) -> list[Result]:
    """Run a part in this process. A failure is a result that says so."""

    async def main() -> list[Result]:
        try:
            return await work()
        except Exception as error:
            traceback.print_exc()
            said = str(error).strip().splitlines() or [""]
            return [Result(part, server, invalid=f"{type(error).__name__}: {said[-1]}")]

    gc.disable()
    return uvloop.run(main())


def run_all(
    program: str, runs: Sequence[Run], arguments: argparse.Namespace, render: Render, draw: Draw, *more: str
) -> int:
    """Make all runs, each in a child process with the options ``more``; return how many results are invalid.

    The report is written after each run, so that an interrupted benchmark has one.
    """
    options = ["--seconds", str(arguments.seconds), *(["--quick"] if arguments.quick else []), *more]
    meta = about(arguments.name, quick=arguments.quick)
    meta["load"] = {}
    results: list[Result] = []
    began = time.monotonic()
    report = None
    for number, run in enumerate(runs, 1):
        title = f"{run.part} {run.server}".strip()
        load = os.getloadavg()[0]
        print(f"[{number}/{len(runs)}, {time.monotonic() - began:.0f} s, load {load:.1f}] {title}", flush=True)
        for result in medians([_child(program, run, options) for _ in range(arguments.repeat)]):
            results.append(result)
            said = ", ".join(f"{name} {value:g}" for name, value in result.numbers.items())
            print(f"    {result.scenario}, {result.server}: {'; '.join(result.said())} {said}", flush=True)
        meta["load"][title] = round(load, 1)
        for name, tell in run.servers.items():
            try:
                meta["servers"][name] = tell()
            except Missing as missing:
                meta["servers"][name] = str(missing)
        report = write(meta, results, arguments.out, render, draw)
    print(f"{len(runs)} runs in {time.monotonic() - began:.0f} s: {report}")
    return sum(result.invalid is not None for result in results)


def _child(program: str, run: Run, options: Sequence[str]) -> list[Result]:
    try:
        return child([program, "one", run.part, *([run.server] if run.server else []), *options], run.limit)
    except Failed as failed:
        return [Result(run.part, run.server, invalid=str(failed))]


def perform(
    command: Command,
    one: Callable[[argparse.Namespace], list[Result]],
    every: Callable[[argparse.Namespace], int],
    render: Render,
    draw: Draw,
) -> NoReturn:
    """Do what the command line says, and end the process: with 1 if any run has failed."""
    for end in (signal.SIGINT, signal.SIGTERM):  # a shell starts background commands with SIGINT ignored
        signal.signal(end, signal.default_int_handler)
    try:
        arguments = command.parser.parse_args()
        if arguments.command == "one":
            print(json.dumps([result.as_json() for result in one(arguments)]))
        elif arguments.command == "report":
            print(rewrite(arguments.file, render, draw))
        else:
            sys.exit(int(every(arguments) > 0))
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0)
