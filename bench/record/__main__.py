"""`python -m bench.record`: run the loads of the application side and write the report."""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import uvloop

from bench.node import Missing
from bench.record.finding import finding
from bench.record.gate import gate
from bench.record.live import live
from bench.record.matching import matching
from bench.record.memory import memory
from bench.record.plots import draw
from bench.record.report import render
from bench.record.room import room
from bench.record.servers import OURS, SERVERS, install
from bench.record.writing import writing
from bench.result import Options, Result
from bench.runner import RESULTS, Failed, about, child, rewrite, take_core, write
from bench.servers import Running, serving

Work = Callable[[Options], Awaitable[list[Result]]]
Load = Callable[[Running, Options], Awaitable[list[Result]]]
ON_SERVERS: dict[str, tuple[Load, tuple[str, ...]]] = {
    "live": (live, tuple(SERVERS)),
    "writers": (writing, tuple(SERVERS)),
    "memory": (memory, ("collab-json",)),
}
"""Parts with the servers that they run on."""
ALONE: dict[str, Work] = {"find": finding, "room": room, "gate": gate, "matching": matching}
"""Parts about our server only; they start what they need."""
PARTS = (*ON_SERVERS, *ALONE)
LIMIT = 400.0


async def _on(server: str, load: Load, options: Options) -> list[Result]:
    async with serving(SERVERS[server], options.core) as running:
        try:
            return await load(running, options)
        except Exception:
            log = running.log.read_text(errors="replace")[-1500:].strip()
            print(f"--- the end of {server}'s log:\n{log}", file=sys.stderr)
            raise


def run_one(part: str, server: str, arguments: argparse.Namespace) -> list[Result]:
    """Run one part on one server, in this process."""
    logging.disable(logging.INFO)
    seconds = min(arguments.seconds, 0.5) if arguments.quick else arguments.seconds
    options = Options(seconds=seconds, quick=arguments.quick, core=take_core())
    work = ALONE[part] if part in ALONE else partial(_on, server, ON_SERVERS[part][0])

    async def main() -> list[Result]:
        try:
            return await work(options)
        except Exception as error:
            traceback.print_exc()
            said = str(error).strip().splitlines() or [""]
            return [Result(part, server, invalid=f"{type(error).__name__}: {said[-1]}")]

    gc.disable()
    return uvloop.run(main())


def _child(part: str, server: str, arguments: argparse.Namespace) -> list[Result]:
    command = ["bench.record", "one", part, server, "--seconds", str(arguments.seconds)]
    command += ["--quick"] if arguments.quick else []
    try:
        return child(command, LIMIT)
    except Failed as failed:
        return [Result(part, server, invalid=str(failed))]


def run_all(arguments: argparse.Namespace) -> int:
    """Run all requested parts. Returns the number of failed runs."""
    named = arguments.servers.split(",") if arguments.servers else list(SERVERS)
    if unknown := set(named) - set(SERVERS):
        raise SystemExit(f"unknown server: {', '.join(sorted(unknown))} (known: {', '.join(SERVERS)})")
    pairs: list[tuple[str, str]] = []
    for part in arguments.part or PARTS:
        pairs += [(part, "")] if part in ALONE else [(part, name) for name in ON_SERVERS[part][1] if name in named]
    meta = about(arguments.name, quick=arguments.quick)
    meta["load"] = {}
    if {server for _, server in pairs} - {"", *OURS}:
        install()
    results: list[Result] = []
    failed = 0
    began = time.monotonic()
    for index, (part, server) in enumerate(pairs):
        load = os.getloadavg()[0]
        at = f"{index + 1}/{len(pairs)}, {time.monotonic() - began:.0f} s"
        print(f"[{at}, load {load:.1f}] {part} {server}", flush=True)
        for result in _child(part, server, arguments):
            results.append(result)
            failed += result.invalid is not None
            said = ", ".join(f"{key} {value:g}" for key, value in result.numbers.items())
            print(f"    {result.scenario}, {result.server}: {'; '.join(result.said())} {said}", flush=True)
        meta["load"][f"{part} {server}".strip()] = round(load, 1)
        if server:
            try:
                meta["servers"][server] = SERVERS[server].about()
            except Missing as missing:
                meta["servers"][server] = str(missing)
        report = write(meta, results, arguments.out, render, draw)
    print(f"{len(pairs)} runs in {time.monotonic() - began:.0f} s: {report}")
    return failed


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m bench.record", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run parts and write a report")
    run.add_argument("part", nargs="*", choices=[*PARTS, []], help="default: all")
    run.add_argument("--servers", help="names, separated by commas; default: all")
    run.add_argument(
        "--name", default=f"{datetime.now(UTC).date().isoformat()}-record", help="name of the result files"
    )
    run.add_argument("--out", type=Path, default=RESULTS, help="folder for results (default bench/results)")
    one = commands.add_parser("one", help="one part on one server; prints its results as JSON")
    one.add_argument("part", choices=PARTS)
    one.add_argument("server", nargs="?", default="")
    report = commands.add_parser("report", help="write the report and plots of a results file again")
    report.add_argument("file", type=Path)
    for command in (run, one):
        command.add_argument("--seconds", type=float, default=6.0, help="maximum duration for each figure")
        command.add_argument("--quick", action="store_true", help="tiny loads, to check that everything works")
    return top


def main() -> int:
    """Run the command line; the exit code is 1 if any run failed."""
    arguments = parser().parse_args()
    if arguments.command == "one":
        results = run_one(arguments.part, arguments.server, arguments)
        print(json.dumps([result.as_json() for result in results]))
        return 0
    if arguments.command == "report":
        print(rewrite(arguments.file, render, draw))
        return 0
    return int(run_all(arguments) > 0)


if __name__ == "__main__":
    for end in (signal.SIGINT, signal.SIGTERM):  # a shell starts background commands with SIGINT ignored
        signal.signal(end, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
