"""`python -m bench`: run the loads and write the report."""

from __future__ import annotations

import argparse
import sys

from bench import traces
from bench.command import Command, Run, chosen_servers, command, measured, perform, run_all
from bench.goals import LOADS
from bench.plots import draw
from bench.report import render
from bench.result import Options, Result
from bench.runner import take_core
from bench.servers import SERVERS, serving


def command_line() -> Command:
    """The command line."""
    loads = "\n".join(f"  {load.name:12} {load.about}" for load in LOADS.values())
    servers = "\n".join(f"  {name}" for name in SERVERS)
    made = command("bench", __doc__, name="", seconds=8.0, epilog=f"scenarios:\n{loads}\n\nservers:\n{servers}\n")
    made.run.add_argument("scenario", nargs="*", choices=[*LOADS, []], help="default: all")
    made.run.add_argument("--servers", help="names, separated by commas; default: the servers of each load")
    made.one.add_argument("scenario", choices=LOADS)
    made.one.add_argument("server", choices=SERVERS)
    for each in (made.run, made.one):
        each.add_argument("--sessions", type=int, help="of a storm, in rooms of four (default 10,000)")
        each.add_argument(
            "--trace",
            action="append",
            default=[],
            help="a JSON or JSON.gz file of josephg/editing-traces; with one writer for b4, with two for friends "
            "(may be given twice; default: synthetic traces)",
        )
    return made


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


def run_one(arguments: argparse.Namespace) -> list[Result]:
    """Run one load on one server, in this process."""
    load, server = LOADS[arguments.scenario], SERVERS[arguments.server]
    chosen = options(arguments, take_core())

    async def work() -> list[Result]:
        async with serving(server, chosen.core) as running:
            try:
                return [await load.run(running, chosen)]
            except Exception as error:
                log = running.log.read_text(errors="replace")[-1500:].strip()
                if log:
                    print(f"--- the end of {server.name}'s log:\n{log}", file=sys.stderr)
                state = "" if running.alive else "; the server has ended"
                return [Result(load.name, server.name, invalid=f"{type(error).__name__}: {error}{state}")]

    return measured(load.name, server.name, work)


def run_loads(arguments: argparse.Namespace) -> int:
    """Run all requested loads on all requested servers. Returns the number of failed runs."""
    chosen = arguments.scenario or list(LOADS)
    named = chosen_servers(arguments, list(SERVERS))
    wanted = options(arguments, None)
    for file, name in ((wanted.trace, "b4"), (wanted.friends, "friends")):
        if file and name in chosen:
            traces.script(name, traces.load(file), progress=True)
    runs = [
        Run(load, server, LOADS[load].limit + arguments.seconds, {server: SERVERS[server].about})
        for load in chosen
        for server in named or LOADS[load].servers
    ]
    more = ["--sessions", str(arguments.sessions)] if arguments.sessions else []
    more += [word for file in arguments.trace for word in ("--trace", file)]
    return run_all("bench", runs, arguments, render, draw, *more)


if __name__ == "__main__":
    perform(command_line(), run_one, run_loads, render, draw)
