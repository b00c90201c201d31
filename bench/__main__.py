"""`python -m bench`: run the loads and write the report."""

from __future__ import annotations

import argparse
import gc
import json
import signal
import statistics
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from bench import traces
from bench.goals import LOADS
from bench.node import Missing
from bench.plots import draw
from bench.report import render
from bench.result import Options, Result
from bench.runner import RESULTS, Failed, about, child, rewrite, take_core, write
from bench.servers import SERVERS, serving


def parser() -> argparse.ArgumentParser:
    """The command line."""
    loads = "\n".join(f"  {load.name:12} {load.about}" for load in LOADS.values())
    servers = "\n".join(f"  {name}" for name in SERVERS)
    top = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    run = commands.add_parser(
        "run",
        help="run loads and write a report",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"scenarios:\n{loads}\n\nservers:\n{servers}\n",
    )
    one = commands.add_parser("one", help="one load on one server; prints its result as JSON")
    report = commands.add_parser("report", help="write the report and plots of a results file again")
    report.add_argument("file", type=Path)
    run.add_argument("scenario", nargs="*", choices=[*LOADS, []], help="default: all")
    run.add_argument("--servers", help="names, separated by commas; default: the servers of each load")
    run.add_argument("--name", default=datetime.now(UTC).date().isoformat(), help="name of the result files")
    run.add_argument("--out", type=Path, default=RESULTS, help="folder for results (default bench/results)")
    run.add_argument("--repeat", type=int, default=1, help="run each this many times and report medians")
    one.add_argument("scenario", choices=LOADS)
    one.add_argument("server", choices=SERVERS)
    for command in (run, one):
        command.add_argument("--seconds", type=float, default=8.0, help="duration of the measurement in steady loads")
        command.add_argument("--sessions", type=int, help="of a storm, in rooms of four (default 10,000)")
        command.add_argument("--quick", action="store_true", help="tiny loads, to check that everything works")
        command.add_argument(
            "--trace",
            action="append",
            default=[],
            help="a JSON or JSON.gz file of josephg/editing-traces; with one writer for b4, with two for friends "
            "(may be given twice; default: synthetic traces)",
        )
    return top


def options(arguments: argparse.Namespace, core: int | None) -> Options:
    """Read options from the command line. Raises ``OSError``, ``ValueError`` for a bad trace file."""
    one = two = None
    for file in arguments.trace:
        if traces.load(file).get("numAgents", 1) > 1:
            two = file
        else:
            one = file
    seconds = min(arguments.seconds, 1.5) if arguments.quick else arguments.seconds
    return Options(
        seconds=seconds, quick=arguments.quick, trace=one, friends=two, core=core, sessions=arguments.sessions
    )


def run_one(arguments: argparse.Namespace) -> Result:
    """Run one load on one server, in this process."""
    load, server = LOADS[arguments.scenario], SERVERS[arguments.server]
    for_server = take_core()
    chosen = options(arguments, for_server)

    async def main() -> Result:
        async with serving(server, for_server) as running:
            try:
                return await load.run(running, chosen)
            except Exception as error:
                log = running.log.read_text(errors="replace")[-1500:].strip()
                if log:
                    print(f"--- the end of {server.name}'s log:\n{log}", file=sys.stderr)
                state = "" if running.alive else "; the server has ended"
                return Result(load.name, server.name, invalid=f"{type(error).__name__}: {error}{state}")

    gc.disable()
    return uvloop.run(main())


def _child(load: str, server: str, arguments: argparse.Namespace) -> Result:
    """Run one load on one server, in a child process."""
    command = ["bench", "one", load, server, "--seconds", str(arguments.seconds)]
    command += ["--quick"] if arguments.quick else []
    command += ["--sessions", str(arguments.sessions)] if arguments.sessions else []
    command += [word for file in arguments.trace for word in ("--trace", file)]
    try:
        return child(command, LOADS[load].limit + arguments.seconds)[0]
    except Failed as failed:
        return Result(load, server, invalid=str(failed))


def _median(runs: list[Result]) -> Result:
    """Combine several runs: the median of each number, all notes."""
    good = [run for run in runs if run.invalid is None] or runs
    numbers = {
        key: statistics.median(run.numbers[key] for run in good if key in run.numbers) for key in good[0].numbers
    }
    notes = list(dict.fromkeys(note for run in good for note in run.notes))
    return Result(good[0].scenario, good[0].server, numbers, notes, good[0].invalid)


def run_all(arguments: argparse.Namespace) -> int:
    """Run all requested loads on all requested servers. Returns the number of failed runs."""
    chosen = arguments.scenario or list(LOADS)
    named = arguments.servers.split(",") if arguments.servers else None
    if named and (unknown := set(named) - set(SERVERS)):
        raise SystemExit(f"unknown server: {', '.join(sorted(unknown))} (known: {', '.join(SERVERS)})")
    wanted = options(arguments, None)
    for file, name in ((wanted.trace, "b4"), (wanted.friends, "friends")):
        if file and name in chosen:
            traces.script(name, traces.load(file), progress=True)
    pairs = [(load, server) for load in chosen for server in named or LOADS[load].servers]
    meta = about(arguments.name, quick=arguments.quick)
    results: list[Result] = []
    began = time.monotonic()
    failed = 0
    for index, (load, server) in enumerate(pairs):
        print(f"[{index + 1}/{len(pairs)}, {time.monotonic() - began:.0f} s] {load} on {server} …", flush=True)
        result = _median([_child(load, server, arguments) for _ in range(arguments.repeat)])
        results.append(result)
        failed += result.invalid is not None
        try:
            meta["servers"][server] = SERVERS[server].about()
        except Missing as missing:
            meta["servers"][server] = str(missing)
        said = result.invalid or ", ".join(f"{key} {value:g}" for key, value in list(result.numbers.items())[:9])
        print(f"    {said}" + (f" ({'; '.join(result.notes)})" if result.notes else ""), flush=True)
        # written after each run, so that an interrupted benchmark has a report
        report = write(meta, results, arguments.out, render, draw)
    print(f"{len(pairs)} runs in {time.monotonic() - began:.0f} s: {report}")
    return failed


def main() -> int:
    """Run the command line; the exit code is 1 if any run failed."""
    arguments = parser().parse_args()
    if arguments.command == "one":
        result = run_one(arguments)
        print(json.dumps([result.as_json()]))
        return int(result.invalid is not None)
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
