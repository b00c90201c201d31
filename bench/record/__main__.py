"""`python -m bench.record`: run the loads of the application side and write the report."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Awaitable, Callable
from functools import partial

from bench.command import Command, Run, chosen_servers, command, measured, perform, run_all
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
from bench.runner import take_core
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


def command_line() -> Command:
    """The command line."""
    made = command("bench.record", __doc__, name="-record", seconds=6.0)
    made.run.add_argument("part", nargs="*", choices=[*PARTS, []], help="default: all")
    made.run.add_argument("--servers", help="names, separated by commas; default: all")
    made.one.add_argument("part", choices=PARTS)
    made.one.add_argument("server", nargs="?", default="")
    return made


def run_one(arguments: argparse.Namespace) -> list[Result]:
    """Run one part on one server, in this process."""
    logging.disable(logging.INFO)
    part, server = arguments.part, arguments.server
    seconds = min(arguments.seconds, 0.5) if arguments.quick else arguments.seconds
    options = Options(seconds=seconds, quick=arguments.quick, core=take_core())
    work = partial(ALONE[part], options) if part in ALONE else partial(_on, server, ON_SERVERS[part][0], options)
    return measured(part, server, work)


def run_parts(arguments: argparse.Namespace) -> int:
    """Run all requested parts. Returns the number of failed runs."""
    named = chosen_servers(arguments, list(SERVERS)) or list(SERVERS)
    runs: list[Run] = []
    for part in arguments.part or PARTS:
        servers = [""] if part in ALONE else [name for name in ON_SERVERS[part][1] if name in named]
        runs += [Run(part, name, LIMIT, {name: SERVERS[name].about} if name else {}) for name in servers]
    if {run.server for run in runs} - {"", *OURS}:
        install()
    return run_all("bench.record", runs, arguments, render, draw)


if __name__ == "__main__":
    perform(command_line(), run_one, run_parts, render, draw)
