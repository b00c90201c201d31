"""``collab backup`` beside a server that serves, and ``collab restore``."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from collab.server.backups import backup_path
from tests.collab.server.command_line import ROOT, run, serving
from tests.collab.storage.test_copying import damage, fill
from tests.postgres import PostgresServer


def collab(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "collab", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("kind", ["folder", "database"])
def test_a_backup_made_while_the_server_runs_is_restored_into_a_folder_and_a_database(
    tmp_path: Path, postgres: PostgresServer, kind: str
) -> None:
    file = str(tmp_path / "backup.db")
    with postgres.records() as lend:
        where = ["--data", str(tmp_path / "data")] if kind == "folder" else ["--database", lend()]
        with serving(tmp_path, "serve", *where) as (_, lines):
            api = lines[0].split()[-1] + "/api/v1/collections/tasks"
            for number in range(20):
                assert httpx.post(api, json={"id": f"t{number}", "title": "before"}, timeout=40).status_code == 201
            done = collab("backup", file, *where)
            assert (done.returncode, done.stderr) == (0, "")
            assert re.fullmatch(
                r"backed up \d+ documents, 20 entities and 2\d events \(.*\) in [\d.]+ s to .*/backup.db\n", done.stdout
            )
            changed = httpx.patch(f"{api}/t1", json={"changes": {"title": "after"}}, timeout=40)
            assert changed.status_code == 200, "it writes on"
            busy = collab("restore", file, "--force", *where)
            assert busy.returncode == 1
            assert "using" in busy.stderr or "uses this database" in busy.stderr
        for into in (where, ["--data", str(tmp_path / "other")], ["--database", lend()]):
            if into is where:
                refused = collab("restore", file, *into)
                assert refused.returncode == 1
                assert "already" in refused.stderr or "is not empty" in refused.stderr
            told = collab("restore", file, "--force", "--json", *into)
            assert (told.returncode, told.stderr) == (0, "")
            assert json.loads(told.stdout)["entities"] == 20
            with serving(tmp_path, "serve", *into) as (_, lines):
                api = lines[0].split()[-1] + "/api/v1/collections/tasks"
                assert httpx.get(f"{api}/t1", timeout=40).json()["data"]["title"] == "before"
                changed = httpx.patch(f"{api}/t1", json={"changes": {"title": "again"}}, timeout=40)
                assert changed.json()["version"] == 2


async def test_what_is_damaged_is_named_and_has_a_status_of_its_own(tmp_path: Path) -> None:
    await fill(str(tmp_path / "data"))
    await damage(str(tmp_path / "data"))
    for command in (["backup", str(tmp_path / "b.db")], ["restore", str(tmp_path / "b.db"), "--force"]):
        done = collab(*command, "--json", "--data", str(tmp_path / "data"))
        assert done.returncode == 3
        assert json.loads(done.stdout)["damaged"] == 5
        assert "Damaged: row 3 of documents/doc_123 in project acme does not match its checksum" in done.stderr
        assert "Warning: 5 of the parts" in done.stderr


def test_a_backup_gets_a_name_with_the_time_in_a_folder_and_replaces_only_by_force(tmp_path: Path) -> None:
    asyncio.run(fill(str(tmp_path / "data")))
    done = run("backup", str(tmp_path), "--json", "--data", str(tmp_path / "data"))
    path = Path(json.loads(done.stdout)["to"])
    assert re.fullmatch(r"collab-\d{8}T\d{6}Z\.db", path.name)
    assert json.loads(done.stdout)["bytes"] == path.stat().st_size
    assert backup_path(str(tmp_path), 0.0, replaces=False) == tmp_path / "collab-19700101T000000Z.db"
    refused = run("backup", str(path), "--data", str(tmp_path / "data"))
    assert (refused.exit_code, refused.stderr) == (1, f"Error: there is a file {path} already: --force replaces it\n")
    assert run("backup", str(path), "--force", "--data", str(tmp_path / "data")).exit_code == 0
    nowhere = run("backup", str(tmp_path / "none" / "b.db"), "--data", str(tmp_path / "data"))
    assert nowhere.stderr == f"Error: there is no folder {tmp_path / 'none'}\n"
    missing = run("backup", str(tmp_path / "b.db"), "--data", str(tmp_path / "none"))
    assert (missing.exit_code, "there is no" in missing.stderr) == (1, True)
    assert run("restore", str(tmp_path / "none.db"), "--data", str(tmp_path / "new")).exit_code == 1
