"""Erasing with the command line."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from collab.storage.location import shown
from tests.collab.server.command_line import run, serving


def test_erase_takes_an_entity_out_of_a_database_that_no_server_uses(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(tmp_path, "serve") as (_, lines):
        api = lines[0].split()[-1] + "/api/v1/collections/tasks"
        assert httpx.post(api, json={"id": "t1", "title": "the-erased-text"}, timeout=40).status_code == 201
        busy = run("erase", "tasks/t1", "--data", str(data))
        assert busy.exit_code == 1
        assert "another process is using" in busy.stderr
    for name, said in (("tasks/t2", "there is no tasks/t2"), ("a/b/c", "collection/id")):
        refused = run("erase", name, "--data", str(data))
        assert refused.exit_code == 1
        assert said in refused.stderr
    (told,) = run("erase", "tasks/t1", "--json", "--data", str(data)).stdout.splitlines()
    assert json.loads(told) == {"erased": "tasks/t1", "project": "default", "entities": 1}
    assert not any(b"the-erased-text" in path.read_bytes() for path in data.iterdir())


def test_erase_takes_an_entity_out_of_a_postgresql_database(tmp_path: Path, database: str) -> None:
    with serving(tmp_path, "serve", "--database", database) as (process, lines):
        assert lines[4].split() == ["data", shown(database)]
        api = lines[0].split()[-1] + "/api/v1/collections/tasks"
        for name in ("t1", "t2"):
            assert httpx.post(api, json={"id": name, "title": "x"}, timeout=40).status_code == 201
        busy = run("erase", "tasks/t1", "--database", database)
        assert busy.exit_code == 1
        assert "a server uses this database" in busy.stderr
        process.kill()
    killed = run("erase", "tasks/t1", "--database", database)
    assert (killed.exit_code, "take over" in killed.stderr) == (1, True)
    assert run("erase", "tasks/t1", "--database", database, "--take-over").output == "erased tasks/t1\n"
    assert run("erase", "tasks/t2", COLLAB_DATABASE=database).output == "erased tasks/t2\n"
    assert "there is no tasks/t1" in run("erase", "tasks/t1", "--database", database).stderr
    assert not (tmp_path / "data").exists()
