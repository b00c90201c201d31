"""`python -m bench.cluster`: run the loads of several nodes and write the report."""

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
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from bench import node
from bench.cluster.commits import commits
from bench.cluster.failover import failover
from bench.cluster.loads import ABOUT, bystanders, distance, peers, workers
from bench.cluster.report import draw, medians, render
from bench.cluster.revocation import revocation
from bench.node import Missing
from bench.result import Options, Result
from bench.runner import RESULTS, Failed, about, child, rewrite, take_core, write

PARTS: dict[str, Callable[[Options], Awaitable[list[Result]]]] = {
    "distance": distance,
    "bystanders": bystanders,
    "workers": workers,
    "commits": commits,
    "failover": failover,
    "revocation": revocation,
    "peers": peers,
}
LIMIT = 600.0


def run_one(part: str, arguments: argparse.Namespace) -> list[Result]:
    """Run one part, in this process."""
    logging.disable(logging.INFO)
    seconds = min(arguments.seconds, 1.0) if arguments.quick else arguments.seconds
    options = Options(seconds=seconds, quick=arguments.quick, core=take_core())

    async def main() -> list[Result]:
        try:
            return await PARTS[part](options)
        except Exception as error:
            traceback.print_exc()
            said = str(error).strip().splitlines() or [""]
            return [Result(part, "", invalid=f"{type(error).__name__}: {said[-1]}")]

    gc.disable()
    return uvloop.run(main())


def _child(part: str, arguments: argparse.Namespace) -> list[Result]:
    command = ["bench.cluster", "one", part, "--seconds", str(arguments.seconds)]
    command += ["--quick"] if arguments.quick else []
    try:
        return child(command, LIMIT)
    except Failed as failed:
        return [Result(part, "", invalid=str(failed))]


def run_all(arguments: argparse.Namespace) -> int:
    """Run all requested parts. Returns the number of failed runs."""
    parts = arguments.part or list(PARTS)
    meta = about(arguments.name, quick=arguments.quick)
    meta["load"] = {}
    if "peers" in parts:
        with suppress(Missing):  # else its run says so
            node.packages()
    results: list[Result] = []
    failed = 0
    began = time.monotonic()
    for index, part in enumerate(parts):
        load = os.getloadavg()[0]
        at = f"{index + 1}/{len(parts)}, {time.monotonic() - began:.0f} s"
        print(f"[{at}, load {load:.1f}] {part}", flush=True)
        for result in medians([_child(part, arguments) for _ in range(arguments.repeat)]):
            results.append(result)
            failed += result.invalid is not None
            said = ", ".join(f"{key} {value:g}" for key, value in result.numbers.items())
            print(f"    {result.scenario}, {result.server}: {'; '.join(result.said())} {said}", flush=True)
        meta["load"][part] = round(load, 1)
        for name in ("collab", *(["hocuspocus-redis"] if part == "peers" else [])):
            try:
                meta["servers"][name] = ABOUT[name]()
            except Missing as missing:
                meta["servers"][name] = str(missing)
        report = write(meta, results, arguments.out, render, draw)
    print(f"{len(parts)} parts in {time.monotonic() - began:.0f} s: {report}")
    return failed


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m bench.cluster", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run parts and write a report")
    run.add_argument("part", nargs="*", choices=[*PARTS, []], help="default: all")
    run.add_argument(
        "--name", default=f"{datetime.now(UTC).date().isoformat()}-cluster", help="name of the result files"
    )
    run.add_argument("--out", type=Path, default=RESULTS, help="folder for results (default bench/results)")
    run.add_argument("--repeat", type=int, default=1, help="run each this many times and report medians")
    one = commands.add_parser("one", help="one part; prints its results as JSON")
    one.add_argument("part", choices=PARTS)
    report = commands.add_parser("report", help="write the report of a results file again")
    report.add_argument("file", type=Path)
    for command in (run, one):
        command.add_argument("--seconds", type=float, default=8.0, help="duration of each measurement")
        command.add_argument("--quick", action="store_true", help="tiny loads, to check that everything works")
    return top


def main() -> int:
    """Run the command line; the exit code is 1 if any run failed."""
    arguments = parser().parse_args()
    if arguments.command == "one":
        print(json.dumps([result.as_json() for result in run_one(arguments.part, arguments)]))
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
