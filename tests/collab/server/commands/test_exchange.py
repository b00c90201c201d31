"""``collab export`` beside a server that serves, and ``collab import``."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from tests.collab.server.command_line import run, serving
from tests.postgres import PostgresServer


@pytest.mark.parametrize("kind", ["folder", "database"])
def test_what_is_exported_while_the_server_runs_is_imported_and_served(
    tmp_path: Path, postgres: PostgresServer, kind: str
) -> None:
    with postgres.records() as lend:
        where = ["--data", str(tmp_path / "data")] if kind == "folder" else ["--database", lend()]
        into = ["--database", lend()] if kind == "folder" else ["--data", str(tmp_path / "data")]
        with serving(tmp_path, "serve", *where) as (_, lines):
            tasks = lines[0].split()[-1] + "/api/v1/collections/tasks"
            for number in range(5):
                assert httpx.post(tasks, json={"id": f"t{number}", "n": number}, timeout=40).status_code == 201
            assert httpx.patch(f"{tasks}/t1", json={"changes": {"n": 7}}, timeout=40).json()["version"] == 2
            done = run("export", str(tmp_path / "out"), "--json", *where)
            assert (done.exit_code, done.stderr) == (0, "")
            assert json.loads(done.stdout) == {
                "to": str(tmp_path / "out"),
                "entities": 5,
                "resumed": 0,
                "damaged": 0,
            }
            assert httpx.post(tasks, json={"id": "t9"}, timeout=40).status_code == 201, "it writes on"
            busy = run("import", str(tmp_path / "out"), *where)
            assert busy.exit_code == 1
            assert "using" in busy.stderr or "uses this database" in busy.stderr
        done = run("import", str(tmp_path / "out"), "--json", *into)
        assert (done.exit_code, done.stderr) == (0, "")
        assert json.loads(done.stdout) == {"created": 5, "unchanged": 0, "different": 0, "refused": 0}
        with serving(tmp_path, "serve", *into) as (_, lines):
            tasks = lines[0].split()[-1] + "/api/v1/collections/tasks"
            found = httpx.get(f"{tasks}/t1", timeout=40).json()
            assert (found["data"]["n"], found["version"]) == (7, 2)
            room = lines[0].split()[-1] + "/rooms/tasks/t1"
            assert httpx.get(room, timeout=40).json()["fields"] == {"n": 7}
            assert httpx.patch(f"{tasks}/t1", json={"changes": {"n": 8}}, timeout=40).json()["version"] == 3


def test_what_is_kept_and_what_is_refused_is_named_on_stderr(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    source = tmp_path / "tasks.jsonl"
    source.write_text("".join(f'{{"collection": "tasks", "id": "t{n}", "data": {{"n": {n}}}}}\n' for n in range(30)))
    assert run("import", str(source), "--data", data).stdout == "imported 30 entities; 0 were there already\n"
    source.write_text(source.read_text().replace('"n":', '"m":') + "{}\n")
    done = run("import", str(source), "--json", "--data", data)
    assert done.exit_code == 3
    assert json.loads(done.stdout) == {"created": 0, "unchanged": 0, "different": 30, "refused": 1}
    lines = done.stderr.splitlines()
    assert lines[0] == "Different in the record, which was kept: tasks/t0 in project default"
    assert lines[20] == "Different in the record, which was kept: 10 more"
    assert lines[21].startswith(f"Refused: {source}:31: ")


def test_a_wrong_name_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    for arguments in (["export", "out", "--project", "a/b"], ["import", "out", "--into", ".."]):
        refused = run(*arguments, "--data", str(tmp_path / "data"))
        assert refused.exit_code == 2
        assert "must be 1-128 characters" in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_declared_collection_checks_what_other_programs_wrote(tmp_path: Path) -> None:
    config = tmp_path / "collab.toml"
    config.write_text(
        'data = "data"\nstrict_collections = true\n[collections.tasks.fields]\n'
        'required = ["title"]\nproperties.title.type = "string"\n'
    )
    source = tmp_path / "all.jsonl"
    rows = [("tasks", {"title": "a"}), ("tasks", {"title": 1}), ("tasks", {}), ("notes", {"title": "a"})]
    source.write_text(
        "\n".join(json.dumps({"collection": name, "id": f"i{n}", "data": data}) for n, (name, data) in enumerate(rows))
    )
    done = run("import", str(source), "--config", str(config))
    assert (done.exit_code, done.stdout) == (3, "imported 1 entities; 0 were there already\n")
    assert [line.partition(".jsonl:")[2] for line in done.stderr.splitlines()] == [
        "2: title: 1 is not of type 'string'",
        "3: title: is required",
        "4: there is no collection notes",
    ]
