"""Dead letters on the command line."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx

from collab.event import EntityEvent
from collab.storage.base import DeadLetter
from collab.storage.postgres.storage import PostgresStorage
from collab.storage.sqlite.storage import SqliteStorage
from tests.collab.server.command_line import run, serving


def test_dead_letters_are_listed_while_the_server_runs(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(tmp_path, "serve") as (_, lines):
        api = lines[0].split()[-1] + "/api/v1/collections/tasks"
        assert httpx.post(api, json={"id": "t1", "title": "x"}, timeout=40).status_code == 201
        assert run("dead-letters", "crm", "--data", str(data)).output == ""
    event = EntityEvent(1, "created", "tasks", "t1", 1, {"id": "t1"}, {}, "ada", "1970-01-01T00:00:00.000Z")

    async def give_up() -> None:
        storage = SqliteStorage(data)
        await storage.open()
        await storage.save_webhook("crm", "default", 1, [DeadLetter("crm", event, "default", "answered 500", 86400.0)])
        await storage.close()

    asyncio.run(give_up())
    (line,) = run("dead-letters", "crm", "--data", str(data)).output.splitlines()
    listed = json.loads(line)
    assert listed["at"] == "1970-01-02T00:00:00.000Z"
    assert (listed["project"], listed["reason"]) == ("default", "answered 500")
    assert (listed["event"]["collection"], listed["event"]["id"], listed["event"]["userId"]) == ("tasks", "t1", "ada")


def test_dead_letters_of_a_postgresql_database_are_listed_while_the_server_runs(tmp_path: Path, database: str) -> None:
    event = EntityEvent(1, "created", "tasks", "t1", 1, {"id": "t1"}, {}, "ada", "1970-01-01T00:00:00.000Z")

    async def give_up() -> None:
        storage = PostgresStorage(database)
        await storage.open()
        await storage.save_webhook("crm", "default", 1, [DeadLetter("crm", event, "default", "answered 500", 86400.0)])
        await storage.close()

    asyncio.run(give_up())
    with serving(tmp_path, "serve", COLLAB_DATABASE=database) as (_, lines):
        (line,) = run("dead-letters", "crm", "--database", database).output.splitlines()
        assert json.loads(line)["reason"] == "answered 500"
        api = lines[0].split()[-1] + "/api/v1/collections/tasks"
        assert httpx.post(api, json={"id": "t1"}, timeout=40).status_code == 201, "it writes on"


def test_dead_letters_of_no_database_are_an_error(tmp_path: Path) -> None:
    missing = run("dead-letters", "crm", "--data", str(tmp_path / "none"))
    assert missing.exit_code == 1
    assert "cannot be read" in missing.stderr
    assert not (tmp_path / "none").exists()
