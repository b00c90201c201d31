"""The examples of docs/commands.md, done in their order in one folder beside a server."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import httpx

from tests.collab.server.command_line import ROOT, serving

DOCS = (ROOT / "docs" / "commands.md").read_text()
ADVICE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)


def examples() -> list[tuple[str, str]]:
    """Each documented command with the output shown below it."""
    found: list[tuple[str, str]] = []
    for block in ADVICE.findall(DOCS):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, _, output = part.partition("\n")
            found.append((line, output))
    return found


def test_each_command_is_documented_and_has_help() -> None:
    from collab.server.cli import main

    for name, command in main.commands.items():
        if name not in ("serve", "demo", "token"):
            assert f"`collab {name}`" in DOCS
            assert "Exit status:" in (command.help or "") or hasattr(command, "commands"), name


def test_the_documented_examples_print_what_they_show(tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    with serving(tmp_path, "serve") as (_, lines):
        url = lines[0].split()[-1]
        tasks = f"{url}/api/v1/collections/tasks"
        for number in (1, 2, 3):
            body = {"id": f"t{number}", "title": f"Task {number}", "done": False}
            assert httpx.post(tasks, json=body, timeout=40).status_code == 201
        for title in ("a", "b", "c", "d"):
            changed = httpx.patch(f"{tasks}/t1", json={"changes": {"title": title}}, timeout=40)
            assert changed.status_code == 200
        running = [each for each in examples() if "# stopped" not in each[0]]
        assert len(running) >= 3
        for line, shown in running:
            command = shlex.split(line, comments=True)
            assert command[0] == "collab"
            done = subprocess.run(
                [sys.executable, "-m", *command], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
            )
            assert done.returncode in (0, 3), f"{line}: {done.stderr}"
            assert_like(done.stdout, shown, line)


def assert_like(printed: str, shown: str, line: str) -> None:
    """Compare output with what is shown of it: … stands for anything, and numbers and times may differ."""
    parts = re.split(r"(…|\d[\d.,]*)", shown.strip())
    pattern = "".join(
        re.escape(part) if number % 2 == 0 else ".*" if part == "…" else r"\d[\d.,]*"
        for number, part in enumerate(parts)
    )
    assert re.fullmatch(pattern, printed.strip(), re.DOTALL), f"$ {line}\n{printed}"
