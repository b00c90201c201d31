"""``collab types``: from where the declarations come, and where the types go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.collab.server.command_line import run, serving
from tests.postgres import PostgresServer

CONFIG = """
data = "data"
[collections.tasks.fields]
type = "object"
properties.title.type = "string"
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "collab.toml"
    path.write_text(CONFIG)
    return str(path)


def test_types_come_from_the_settings_and_go_to_a_file(tmp_path: Path, config: str) -> None:
    printed = run("types", "typescript", "--config", config)
    assert "export type Tasks = {\n  title?: string\n}\n" in printed.stdout
    path = tmp_path / "schema.ts"
    missing = run("types", "typescript", "--config", config, "--output", str(path), "--check")
    assert (missing.exit_code, "is not what the declarations say" in missing.stderr) == (1, True)
    assert not path.exists()
    assert run("types", "typescript", "--config", config, "--output", str(path)).stdout == ""
    assert path.read_text() == printed.stdout
    assert run("types", "typescript", "--config", config, "--output", str(path), "--check").exit_code == 0
    Path(config).write_text(CONFIG + 'properties.done.type = "boolean"\n')
    assert run("types", "typescript", "--config", config, "--output", str(path), "--check").exit_code == 1
    told = json.loads(run("types", "msgspec", "--config", config, "--json").stdout)
    assert (told["language"], told["collections"]) == ("msgspec", ["tasks"])
    assert "class Tasks(msgspec.Struct, kw_only=True):" in told["types"]


@pytest.mark.parametrize("kind", ["folder", "database"])
def test_types_come_from_the_record_of_a_running_server(
    tmp_path: Path, config: str, postgres: PostgresServer, kind: str
) -> None:
    with postgres.records() as lend:
        where = ["--data", str(tmp_path / "data")] if kind == "folder" else ["--database", lend()]
        with serving(tmp_path, "serve", "--config", config, *where):
            assert "title?: string" in run("types", "typescript", *where).stdout


APPLICATION = """
from typing import Literal
from collab import Collab, Settings, declaration
collab = Collab(Settings(open=True, collections={"tasks": declaration({"status": Literal["open"]})}))
empty = Collab(Settings(open=True))
"""


def test_types_come_from_an_application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "app_with_types.py").write_text(APPLICATION)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert 'status: "open"' in run("types", "typescript", "--app", "app_with_types:collab").stdout
    assert list(tmp_path.glob("*.db")) == []
    for name, why in {
        "app_with_types:empty": "app_with_types:empty declares no collection",
        "app_with_types:colab": "Did you mean",
        "no_such_app:collab": "there is no module no_such_app",
    }.items():
        failed = run("types", "typescript", "--app", name)
        assert (failed.exit_code, why.lower() in failed.stderr.lower()) == (1, True), failed.stderr


def test_types_of_a_second_server_can_be_written_without_registering_them(config: str) -> None:
    assert "interface Register" in run("types", "typescript", "--config", config).stdout
    assert "interface Register" not in run("types", "typescript", "--no-register", "--config", config).stdout


def test_what_cannot_be_done_is_said_in_a_sentence(tmp_path: Path, config: str) -> None:
    nothing = run("types", "pydantic", "--data", str(tmp_path))
    assert (nothing.exit_code, "declare a collection: there is no" in nothing.stderr) == (1, True)
    assert run("types", "pydantic", "--config", config, "--check").exit_code == 2
    assert run("types", "cobol", "--config", config).exit_code == 2
    nowhere = run("types", "pydantic", "--config", config, "--output", str(tmp_path / "none" / "x.py"))
    assert (nowhere.exit_code, "cannot be used" in nowhere.stderr) == (1, True)
