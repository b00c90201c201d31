"""`python -m bench.cluster`: run the loads of several nodes and write the report."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

from bench import node
from bench.cluster.commits import commits
from bench.cluster.failover import failover
from bench.cluster.loads import ABOUT, bystanders, distance, peers, workers
from bench.cluster.report import draw, render
from bench.cluster.revocation import revocation
from bench.command import Command, Run, command, measured, perform, run_all
from bench.node import Missing
from bench.result import Options, Result
from bench.runner import take_core

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


def command_line() -> Command:
    """The command line."""
    made = command("bench.cluster", __doc__, name="-cluster", seconds=8.0)
    made.run.add_argument("part", nargs="*", choices=[*PARTS, []], help="default: all")
    made.one.add_argument("part", choices=PARTS)
    return made


def run_one(arguments: argparse.Namespace) -> list[Result]:
    """Run one part, in this process."""
    logging.disable(logging.INFO)
    seconds = min(arguments.seconds, 1.0) if arguments.quick else arguments.seconds
    options = Options(seconds=seconds, quick=arguments.quick, core=take_core())
    return measured(arguments.part, "", partial(PARTS[arguments.part], options))


def run_parts(arguments: argparse.Namespace) -> int:
    """Run all requested parts. Returns the number of failed runs."""
    parts = arguments.part or list(PARTS)
    if "peers" in parts:
        with suppress(Missing):  # else its run says so
            node.packages()
    ours = {"collab": ABOUT["collab"]}
    runs = [Run(part, "", LIMIT, ABOUT if part == "peers" else ours) for part in parts]
    return run_all("bench.cluster", runs, arguments, render, draw)


if __name__ == "__main__":
    perform(command_line(), run_one, run_parts, render, draw)
