"""Backups as the documentation describes them."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
from pathlib import Path

import asyncpg
import httpx

from tests.collab.server.command_line import ROOT, run, serving
from tests.postgres import PostgresServer, programs


def test_a_dump_of_postgresql_made_as_documented_while_the_server_runs_is_restored(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    text = (ROOT / "docs/deploying.md").read_text()
    recipe = re.search(r"### PostgreSQL alone\n.*?```console\n(.*?)```.*?```sql\n(.*?)```", text, re.DOTALL)
    assert recipe is not None
    dump, restore = (shlex.split(line.removeprefix("$ ")) for line in recipe[1].splitlines())
    database, restored = postgres.database(), postgres.database()

    def do(command: list[str], name: str, url: str) -> None:
        program, *arguments = [part.replace(f"--dbname={name}", f"--dbname={url}") for part in command]
        assert f"--dbname={url}" in arguments
        subprocess.run([str(programs() / program), *arguments], cwd=tmp_path, check=True)

    async def renew() -> tuple[str, str]:
        connection = await asyncpg.connect(restored)
        before = await connection.fetchval("SELECT epoch FROM collab.record")
        await connection.execute(recipe[2])
        after = await connection.fetchval("SELECT epoch FROM collab.record")
        await connection.close()
        return before, after

    with serving(tmp_path, "serve", "--database", database) as (_, lines):
        tasks = lines[0].split()[-1] + "/api/v1/collections/tasks"
        assert httpx.post(tasks, json={"id": "t1", "title": "before"}, timeout=40).status_code == 201
        do(dump, "collab", database)
        changed = httpx.patch(f"{tasks}/t1", json={"changes": {"title": "after"}}, timeout=40)
        assert changed.json()["version"] == 2
    do(restore, "restored", restored)
    before, after = asyncio.run(renew())
    assert before != after
    assert "there is no tasks/t2" in run("erase", "tasks/t2", "--database", restored).stderr, "no server uses it"
    with serving(tmp_path, "serve", "--database", restored) as (_, lines):
        tasks = lines[0].split()[-1] + "/api/v1/collections/tasks"
        assert httpx.get(f"{tasks}/t1", timeout=40).json()["data"]["title"] == "before"
        changed = httpx.patch(f"{tasks}/t1", json={"changes": {"title": "again"}}, timeout=40)
        assert changed.json()["version"] == 2
