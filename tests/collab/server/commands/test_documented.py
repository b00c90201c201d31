"""The examples of docs/commands.md, done in their order in one folder beside a server."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pycrdt

from collab.names import RoomKey
from collab.storage.base import SetAside
from tests.collab.server.command_line import ROOT, serving
from tests.collab.storage.database import opened, raw

DOCS = (ROOT / "docs" / "commands.md").read_text()
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
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
    hook = {"name": "billing", "url": "http://127.0.0.1:9/hooks", "secret": SECRET, "attempts": 1}
    fields = {
        "type": "object",
        "properties": {"title": {"type": "string"}, "done": {"type": "boolean"}},
        "required": ["title"],
    }
    own = {
        "COLLAB_WEBHOOKS": json.dumps([hook]),
        "COLLAB_COLLECTIONS": json.dumps({"tasks": {"fields": fields}}),
    }
    environ = {**os.environ, "PYTHONPATH": str(ROOT), **own}
    asyncio.run(prepare(tmp_path / "data"))
    with serving(tmp_path, "serve", **own) as (_, lines):
        url = lines[0].split()[-1]
        tasks = f"{url}/api/v1/collections/tasks"
        for number in (1, 2, 3):
            body = {"id": f"t{number}", "title": f"Task {number}", "done": False}
            assert httpx.post(tasks, json=body, timeout=40).status_code == 201
        for title in ("a", "b", "c", "d"):
            changed = httpx.patch(f"{tasks}/t1", json={"changes": {"title": title}}, timeout=40)
            assert changed.status_code == 200
        await_dead_letters(tmp_path / "data", 7)
        (tmp_path / "src").mkdir()
        running = [each for each in examples() if "# stopped" not in each[0]]
        assert len(running) >= 3
        for line, shown in running:
            command = shlex.split(line, comments=True)
            assert command[0] == "collab"
            done = subprocess.run(
                [sys.executable, "-um", *command],
                cwd=tmp_path,
                env=environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            assert done.returncode in (0, 3), f"{line}: {done.stdout}"
            assert_like(done.stdout, shown, line)


async def prepare(data: Path) -> None:
    """A record with one quarantined edit, and whose webhook is told everything."""
    doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=7)
    text = doc.get("content", type=pycrdt.Text)
    text += "Hello, world"
    async with opened(data) as storage:
        await storage.set_aside(
            SetAside(RoomKey("default", "documents", "plan"), None, doc.get_update(), "ended a worker: signal 9", 1e9)
        )
        await storage.save_webhook("billing", "default", 0)


def await_dead_letters(data: Path, count: int) -> None:
    deadline = time.monotonic() + 40
    with raw(data) as database:
        while database.execute("SELECT count(*) FROM dead_letters").fetchone() != (count,):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def assert_like(printed: str, shown: str, line: str) -> None:
    """Compare output with what is shown of it: … stands for anything; numbers and the width of columns may differ."""
    wild = {"…": ".*", " ": " +"}
    parts = re.split(r"(…| +|\d[\d.,]*)", shown.strip())
    pattern = "".join(
        wild.get(part[0], r"\d[\d.,]*") if number % 2 else re.escape(part) for number, part in enumerate(parts)
    )
    assert re.fullmatch(pattern, printed.strip(), re.DOTALL), f"$ {line}\n{printed}"
