"""Moving and migrating a record with the command line."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import httpx

from collab.names import RoomKey
from collab.storage.base import Append
from collab.storage.location import shown
from collab.storage.sqlite.storage import SqliteStorage
from tests.collab.server.command_line import ROOT, run, serving
from tests.collab.storage.database import VERSION_1
from tests.postgres import PostgresServer


def test_copy_moves_a_record_to_a_database_server_and_back(tmp_path: Path, database: str) -> None:
    command = [sys.executable, "-m", "collab", "copy"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with serving(tmp_path, "serve") as (_, lines):
        api = lines[0].split()[-1] + "/api/v1/collections/tasks"
        assert httpx.post(api, json={"id": "t1", "title": "x"}, timeout=40).status_code == 201
        busy = run("copy", str(tmp_path / "data"), database)
        assert (busy.exit_code, "another process is using" in busy.stderr) == (1, True)
    for source, target, start in (
        ("data", database, ["serve", "--database", database]),
        (database, "back", ["serve", "--data", "back"]),
        ("back", "again", ["serve", "--data", "again"]),
    ):
        done = subprocess.run([*command, source, target], cwd=tmp_path, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert re.fullmatch(
            r"copied \d documents, 1 entities and \d events \(0\.0 MiB\) in [\d.]+ s to .*\n", done.stdout
        )
        assert done.stderr == ""
        with serving(tmp_path, *start) as (_, lines):
            api = lines[0].split()[-1] + "/api/v1/collections/tasks/t1"
            version = httpx.get(api, timeout=40).json()["version"]
            assert (
                httpx.patch(api, json={"changes": {"title": target[:4]}}, timeout=40).json()["version"] == version + 1
            )
        again = subprocess.run([*command, source, target], cwd=tmp_path, env=environ, capture_output=True, text=True)
        assert again.returncode == 1
        assert again.stderr.startswith("Error: the target is not empty")
        assert len(again.stderr.splitlines()) == 1


def test_copy_says_in_one_line_what_it_cannot_do(tmp_path: Path, postgres: PostgresServer) -> None:
    for source, target, said in (
        (str(tmp_path / "none"), str(tmp_path / "two"), f"there is no {tmp_path / 'none' / 'collab.db'}"),
        (postgres.database(), str(tmp_path / "two"), "holds no record"),
        ("postgresql://127.0.0.1:1/none", str(tmp_path / "two"), "the database cannot be reached"),
        (str(tmp_path), f"{tmp_path}/.", "cannot be copied to where it is"),
    ):
        refused = run("copy", source, target)
        assert refused.exit_code == 1
        assert len(refused.stderr.splitlines()) == 1
        assert said in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_copy_takes_passwords_from_files_only(tmp_path: Path) -> None:
    url = "postgresql://u:s3cret@127.0.0.1:1/db"
    for arguments in ((url, "data"), ("data", url), ("data", "postgresql://127.0.0.1:1/db?password=s3cret")):
        refused = run("copy", *arguments)
        assert refused.exit_code == 2
        assert "pass @FILE" in refused.stderr
        assert "s3cret" not in refused.stderr
    (tmp_path / "url").write_text(url + "\n")
    unreachable = run("copy", f"@{tmp_path / 'url'}", "data")
    assert (unreachable.exit_code, "cannot be reached" in unreachable.stderr) == (1, True)
    assert "s3cret" not in unreachable.stderr
    (tmp_path / "empty").write_text("")
    for name, said in (("empty", "is empty"), ("none", "cannot be read")):
        refused = run("copy", f"@{tmp_path / name}", "data")
        assert (refused.exit_code, said in refused.stderr) == (2, True)
    assert run("copy", "mysql://127.0.0.1/db", "data").exit_code == 2


def test_copy_names_what_is_damaged_and_ends_with_a_status_of_its_own(tmp_path: Path, database: str) -> None:
    async def fill() -> None:
        storage = SqliteStorage(tmp_path)
        await storage.open()
        await storage.commit([Append(RoomKey("acme", "documents", "a"), b"1", None, 1.0)])
        await storage.close()

    asyncio.run(fill())
    with closing(sqlite3.connect(tmp_path / "collab.db", isolation_level=None)) as connection:
        connection.execute("UPDATE log SET content = x'00'")
    done = run("copy", str(tmp_path), database)
    assert done.exit_code == 3
    assert done.stdout.startswith("copied 1 documents, 0 entities and 0 events")
    named, warning = done.stderr.splitlines()
    assert named == "Damaged: row 1 of documents/a in project acme does not match its checksum"
    assert warning.startswith("Warning: 1 of the parts")


def test_migrate_says_from_which_version_to_which(tmp_path: Path, postgres: PostgresServer) -> None:
    database = postgres.database()
    with closing(sqlite3.connect(tmp_path / "collab.db", isolation_level=None)) as connection:
        connection.executescript(VERSION_1)
    moved = run("migrate", "--data", str(tmp_path))
    assert re.fullmatch(rf"brought {tmp_path} from schema version 1 to \d+\n", moved.output)
    assert re.fullmatch(
        rf"{tmp_path} has schema version \d+, the newest\n", run("migrate", "--data", str(tmp_path)).output
    )
    nothing = run("migrate", "--database", database)
    assert (nothing.exit_code, "holds no record" in nothing.stderr) == (1, True)
    copied = run("copy", "--json", str(tmp_path), database)
    assert copied.exit_code == 0
    told = json.loads(copied.stdout)
    assert (told["to"], told["documents"], told["damaged"]) == (shown(database), 1, 0)
    told = json.loads(run("migrate", "--json", "--data", str(tmp_path)).stdout)
    assert told["at"] == str(tmp_path)
    assert told["from"] == told["to"] > 1
    current = run("migrate", COLLAB_DATABASE=database)
    assert re.fullmatch(rf"{re.escape(shown(database))} has schema version \d+, the newest\n", current.output)
