"""The JavaScript client's own tests: its parts, and the whole against real servers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dev

CLIENT = Path(__file__).parents[2] / "js" / "client"


@pytest.mark.parametrize("folder", ["test", "integration"])
def test_the_javascript_client(folder: str, tmp_path: Path) -> None:
    """All of vitest's tests in a folder pass, and there are some."""
    report = tmp_path / "report.json"
    vitest = CLIENT.parent / "node_modules" / "vitest" / "vitest.mjs"
    done = subprocess.run(
        [dev.node(), vitest, "run", f"{folder}/", "--reporter=dot", "--reporter=json", f"--outputFile={report}"],
        cwd=CLIENT,
        env={**os.environ, "PYTHON": sys.executable, "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    found = json.loads(report.read_text())
    assert found["numPassedTests"] == found["numTotalTests"] > 20
    print(f"{found['numPassedTests']} tests of js/client/{folder}")
