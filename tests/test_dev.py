"""`dev.py` tells what the machine has from what it brought itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from collab.storage.postgres.schema import OLDEST_SERVER
from tools import machine
from tools.coverage_summary import coverage_summary
from tools.postgres import VERSIONS, postgres_programs
from tools.progress import Progress, StepError


def run(code: str, path: str) -> str:
    """The answer of `tools.machine` in a process of its own, whose PATH is `path`."""
    environment = {**os.environ, "PATH": path}
    done = subprocess.run(
        [sys.executable, "-c", f"from tools import machine; print({code})"],
        cwd=machine.ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_its_commands_need_only_the_standard_library() -> None:
    command = [sys.executable, "-S", "dev.py", "help"]  # without any site-packages
    done = subprocess.run(command, cwd=machine.ROOT, capture_output=True, text=True, check=True)
    assert "python3 dev.py test" in done.stdout


@pytest.fixture
def wheel() -> Path:
    """The folder of the Node from PyPI, which the tests have on PATH where the machine has no Node."""
    found = machine.wheel_node()
    assert found is not None, "the group `bench` brings it"
    return found.parent


def test_the_node_of_the_virtual_environment_is_none_of_the_machine(wheel: Path) -> None:
    assert run("machine.system_node()", str(wheel)) == "None"
    assert run("machine.node()", str(wheel)) == str(wheel / "node")


def test_npm_runs_where_only_the_node_of_the_virtual_environment_is_on_path(wheel: Path) -> None:
    assert run("machine.npm('--version').stdout", str(wheel)).count(".") == 2


def test_a_node_of_the_machine_is_taken_with_its_npm(tmp_path: Path, wheel: Path) -> None:
    program(tmp_path / "bin", "node", "echo v22.1.0")
    program(tmp_path / "bin", "npm", "echo 10.0.0")
    path = f"{wheel}:{tmp_path / 'bin'}"
    assert run("machine.node()", path) == str(tmp_path / "bin" / "node")
    assert run("machine.npm('--version').stdout", path) == "10.0.0"


@pytest.mark.parametrize(
    ("node", "npm"),
    [("echo v18.0.0", "echo 10.0.0"), ("echo v22.1.0", "exit 1"), ("exit 1", "echo 10.0.0")],
    ids=["too old", "npm is broken", "node is broken"],
)
def test_a_node_of_the_machine_that_does_not_do_is_left_alone(node: str, npm: str, tmp_path: Path, wheel: Path) -> None:
    program(tmp_path / "bin", "node", node)
    program(tmp_path / "bin", "npm", npm)
    assert run("machine.node()", str(tmp_path / "bin")) == str(wheel / "node")
    assert run("machine.npm('--version').stdout", str(tmp_path / "bin")).count(".") == 2


def test_coverage_is_told_of_everything_and_of_each_package(tmp_path: Path) -> None:
    def counts(lines: int, covered: int, branches: int) -> dict[str, dict[str, int]]:
        names = ("num_statements", "covered_lines", "num_branches", "covered_branches")
        return {"summary": dict(zip(names, (lines, covered, branches, branches), strict=True))}

    files = {"collab/gate/gate.py": counts(8, 7, 2), "collab/gate/stage.py": counts(10, 8, 0)}
    files |= {"collab/errors.py": counts(10, 10, 0), "presence/__init__.py": counts(0, 0, 0)}
    report = tmp_path / "coverage.json"
    report.write_text(json.dumps({"files": files}))
    assert coverage_summary(report) == "90 %: collab 100 %, gate 85 %"


@pytest.mark.slow
def test_the_demo_command_of_the_readme_serves_its_page(tmp_path: Path) -> None:
    python = os.path.realpath(sys.executable)  # as before there was a virtual environment
    command = [python, "dev.py", "demo", "--", "--port", "0", "--data", str(tmp_path)]
    with subprocess.Popen(command, cwd=machine.ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            words = (word for line in process.stdout for word in line.split())
            url = next(word for word in words if word.startswith("http://"))
            assert "<html" in httpx.get(url, timeout=40).text
        finally:
            process.terminate()


def test_the_storage_can_be_tested_on_each_version_of_postgresql_and_on_one_that_is_too_old() -> None:
    assert [int(major) for major in VERSIONS] == list(range(OLDEST_SERVER - 1, 19))


def test_a_version_of_postgresql_that_no_package_has_is_refused_by_name() -> None:
    with pytest.raises(StepError, match="there is no PostgreSQL 12 for tests, only 13, 14, "):
        postgres_programs(Progress(), "12")
