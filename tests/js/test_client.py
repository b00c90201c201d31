"""Tests of the JavaScript packages in Node: the client's parts, the whole against real servers, and what stores end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools import machine

JS = Path(__file__).parents[2] / "js"


@pytest.mark.parametrize(
    ("package", "folder", "least"),
    [
        ("client", "test/", 20),
        ("client", "integration/", 20),
        ("tests/specification", "restore", 10),
        ("tests/unit", "test", 10),
        ("inspector", "test/", 10),
    ],
)
def test_the_javascript_client(package: str, folder: str, least: int, tmp_path: Path) -> None:
    """All of vitest's tests in files whose path holds ``folder`` pass, and there are some."""
    report = tmp_path / "report.json"
    vitest = JS / "node_modules" / "vitest" / "vitest.mjs"
    done = subprocess.run(
        [machine.node(), vitest, "run", folder, "--reporter=dot", "--reporter=json", f"--outputFile={report}"],
        cwd=JS / package,
        env={**os.environ, "PYTHON": sys.executable, "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    found = json.loads(report.read_text())
    assert found["numPassedTests"] == found["numTotalTests"] > least
    print(f"{found['numPassedTests']} tests of js/{package}/{folder}")
