"""The command as its user meets it: what it prints, what it refuses, how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from click.testing import CliRunner, Result

from collab.access.credentials import Authenticator
from collab.access.rules import Access
from collab.event import EntityEvent
from collab.names import RoomKey
from collab.server import cli
from collab.server.cli import main
from collab.server.config.load import options
from collab.server.config.settings import Settings, secret_issuer
from collab.storage.base import Append, DeadLetter
from collab.storage.location import shown
from collab.storage.postgres.storage import PostgresStorage
from collab.storage.sqlite.storage import SqliteStorage
from tests.collab.storage.database import VERSION_1
from tests.postgres import PostgresServer, programs

ROOT = Path(__file__).parents[3]
SECRET = "a secret of the tests, of more than 32 bytes"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("COLLAB_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    """The URL of a PostgreSQL database without a record."""
    with postgres.records() as lend:
        yield lend()


def run(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(main, arguments, env=environ, prog_name="collab")


@contextmanager
def serving(folder: Path, *arguments: str, **environ: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """``collab …`` as a process, and the lines that it prints up to the last of its greeting."""
    process = subprocess.Popen(
        [sys.executable, "-m", "collab", *arguments, "--port", "0"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        lines = []
        for line in process.stdout:
            lines.append(line.rstrip())
            if line.startswith("  access"):
                break
        else:
            raise AssertionError(process.stderr.read())
        yield process, lines
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=40)


# serve


def test_serve_says_where_it_is_and_that_it_is_open_and_stops_in_good_order(tmp_path: Path) -> None:
    with serving(tmp_path, "serve") as (process, lines):
        address = re.fullmatch(r"Listening on (http://127\.0\.0\.1:(\d+))", lines[0])
        assert address is not None
        port = address[2]
        assert lines[1].split() == ["y-websocket", f"ws://127.0.0.1:{port}/rooms"]
        assert lines[2].split() == ["Hocuspocus", f"ws://127.0.0.1:{port}/hocuspocus"]
        assert lines[3].split() == ["application", f"ws://127.0.0.1:{port}/realtime,", f"{address[1]}/api/v1"]
        assert lines[4].split() == ["data", str(tmp_path / "data")]
        assert lines[5].split(maxsplit=1) == [
            "access",
            "open: everybody on this machine may read and write everything",
        ]
        assert httpx.get(f"{address[1]}/readyz", timeout=40).text == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_serve_without_credentials_answers_to_names_of_this_machine_only(tmp_path: Path) -> None:
    with serving(tmp_path, "serve") as (_, lines):
        url = lines[0].split()[-1] + "/rooms/a"
        assert httpx.get(url, timeout=40).status_code == 200
        assert httpx.get(url, headers={"host": "localhost"}, timeout=40).status_code == 200
        assert httpx.get(url, headers={"host": "rebound.evil.com"}, timeout=40).status_code == 403
        assert httpx.post(url, headers={"origin": "https://evil.com"}, content=b"\0\0", timeout=40).status_code == 403


def test_serve_lets_pages_of_a_development_server_in_and_says_how_to_let_others_in(tmp_path: Path) -> None:
    with serving(tmp_path, "serve") as (process, lines):
        url = lines[0].split()[-1] + "/rooms/a"
        for origin in ("http://localhost:5173", "http://127.0.0.1:3000", "http://[::1]:8080"):
            answer = httpx.post(url, headers={"origin": origin}, content=b"\0\0", timeout=40)
            assert answer.status_code == 204
            assert answer.headers["access-control-allow-origin"] == origin
        for _ in range(3):
            assert (
                httpx.post(url, headers={"origin": "https://a.example"}, content=b"\0\0", timeout=40).status_code == 403
            )
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        told = [line for line in process.stderr if "https://a.example" in line]
    assert len(told) == 1
    assert "--allowed-origins" in told[0]


def test_serve_that_is_told_to_be_open_serves_everybody(tmp_path: Path) -> None:
    with serving(tmp_path, "serve", "--host", "0.0.0.0", "--open") as (_, lines):
        assert lines[5].split()[:2] == ["access", "open:"]
        url = "http://127.0.0.1:" + lines[0].rpartition(":")[2] + "/rooms/a"
        assert httpx.get(url, headers={"host": "any.example"}, timeout=40).status_code == 200


def test_serve_with_credentials_asks_for_them_and_may_be_reached_from_outside(tmp_path: Path) -> None:
    with serving(tmp_path, "serve", "--host", "0.0.0.0", COLLAB_JWT_SECRET=SECRET) as (_, lines):
        assert lines[0].startswith("Listening on http://0.0.0.0:")
        assert lines[5].split() == ["access", "by", "credential"]
        url = "http://127.0.0.1:" + lines[0].rpartition(":")[2] + "/rooms/a"
        assert httpx.get(url, timeout=40).status_code == 401
        token = run("token", "--user", "ada", COLLAB_JWT_SECRET=SECRET).output.strip()
        assert httpx.get(url, headers={"authorization": f"Bearer {token}"}, timeout=40).status_code == 200
        seen = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        assert SECRET not in seen, "the worker is given its secrets where nobody else can read them"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.com"])
def test_serve_refuses_an_address_that_others_reach_without_credentials(host: str) -> None:
    result = run("serve", "--host", host)
    assert result.exit_code == 2
    assert "no credentials are configured" in result.stderr
    assert "COLLAB_JWT_SECRET" in result.stderr


def test_serve_says_why_it_cannot_listen(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = run("serve", "--data", str(tmp_path), "--port", str(taken.getsockname()[1]))
    assert result.exit_code == 1
    assert "cannot listen on 127.0.0.1" in result.stderr


def test_serve_says_in_one_line_why_it_cannot_use_its_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "collab", "serve", "--port", "0", "--data"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with serving(tmp_path, "serve"):
        for folder, reason in (("file/x", "cannot use file/x"), ("data", "another process is using data")):
            done = subprocess.run([*command, folder], cwd=tmp_path, env=environ, capture_output=True, text=True)
            assert done.returncode == 1
            assert f"ERROR could not start: {reason}" in done.stderr
            assert "Traceback" not in done.stderr
            assert len(done.stderr.splitlines()) <= 3


def test_serve_refuses_settings_that_make_no_sense(tmp_path: Path) -> None:
    file = tmp_path / "collab.toml"
    file.write_text("prot = 1")
    result = run("serve", "--config", str(file))
    assert result.exit_code == 2
    assert f"{file}: unknown setting prot" in result.stderr
    result = run("serve", COLLAB_PORT="http")
    assert result.exit_code == 2
    assert "COLLAB_PORT: Expected `int`" in result.stderr


def test_serve_warns_of_a_variable_that_names_nothing() -> None:
    credential = {"COLLAB_API_KEY": "k" * 16}
    assert (
        "COLLAB_PROT names no setting; did you mean COLLAB_PORT?"
        in run("token", "--user", "a", COLLAB_PROT="1", **credential).stderr
    )


@pytest.mark.parametrize("environ", [{"COLLAB_JWT_SECRET": ""}, {"COLLAB_API_KEY": ""}, {"COLLAB_JWT_SECRETS": SECRET}])
def test_serve_does_not_become_open_by_a_slip(environ: dict[str, str]) -> None:
    result = run("serve", **environ)
    assert result.exit_code == 2
    assert next(iter(environ)) in result.stderr


def test_the_help_tells_of_every_option_but_offers_no_secret_as_a_flag() -> None:
    text = run("serve", "--help").output
    for option in options(Settings):
        flag = f"--{option.name.replace('_', '-')}"
        assert (flag in text) == option.flag
        assert option.variable in text
    for group in ("Where:", "Who:", "Limits:", "Pace:", "Logging:"):
        assert group in text
    assert run("serve", "--jwt-secret", SECRET).exit_code == 2


# demo


def test_demo_serves_its_page_at_the_root(tmp_path: Path) -> None:
    if not (cli.DEMO_PAGE / "index.html").exists():
        assert run("demo").exit_code == 1
        return
    with serving(tmp_path, "demo") as (_, lines):
        assert lines[4].split() == ["data", str(tmp_path / "data" / "demo")]
        page = httpx.get(lines[0].split()[-1], timeout=40)
        assert "<html" in page.text


def test_demo_without_its_page_says_how_to_build_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "DEMO_PAGE", tmp_path)
    result = run("demo")
    assert result.exit_code == 1
    assert "python3 dev.py demo" in result.output


# token


def test_a_minted_token_is_good_for_what_was_asked() -> None:
    access = ["--access", "documents/secret=none", "--access", "documents/*=read"]
    asked = ["--user", "ada", "--name", "Ada", "--project", "acme", *access, "--expires", "15m"]
    before = time.time()
    token = run("token", *asked, COLLAB_JWT_SECRET=SECRET).output.strip()
    identity = Authenticator(issuers=[secret_issuer(SECRET)]).authenticate(token, time.time())
    assert (identity.project, identity.user_id, identity.name) == ("acme", "ada", "Ada")
    assert identity.access_to(RoomKey("acme", "documents", "secret")) is Access.NONE
    assert identity.access_to(RoomKey("acme", "documents", "a")) is Access.READ
    assert identity.expires_at is not None
    assert 899 <= identity.expires_at - before - 5 <= 1000
    assert token == run("token", "--help").output or "." in token


def test_a_token_may_be_signed_with_a_given_secret() -> None:
    token = run("token", "--user", "ada", "--secret", SECRET).output.strip()
    identity = Authenticator(issuers=[secret_issuer(SECRET)]).authenticate(token, time.time())
    assert identity.access_to(RoomKey("default", "documents", "a")) is Access.WRITE


def test_of_several_issuers_one_has_to_be_named(tmp_path: Path) -> None:
    file = tmp_path / "collab.toml"
    entry = "[[issuers]]\nissuer = '{0}'\naudience = 'collab'\nalgorithm = 'HS256'\nsecret = '{0} {1}'\n"
    file.write_text("".join(entry.format(name, SECRET) for name in ("one", "two")))
    common = ["token", "--user", "ada", "--config", str(file)]
    assert run(*common).exit_code == 2
    assert "one, two" in run(*common).stderr
    assert run(*common, "--issuer", "two").exit_code == 0
    assert run(*common, "--issuer", "three").exit_code == 2
    refused = run(*common, "--issuer", "two", "--project", "elsewhere")
    assert refused.exit_code == 2
    assert "would refuse this token" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "set COLLAB_JWT_SECRET"),
        (["--secret", "short"], "32 bytes"),
        (["--secret", SECRET, "--access", "documents/*"], "none, read, write"),
        (["--secret", SECRET, "--access", "*=write"], "pattern"),
        (["--secret", SECRET, "--expires", "soon"], "a number and s, m, h or d"),
        (["--secret", SECRET, "--expires", "0"], "a number and s, m, h or d"),
    ],
)
def test_a_token_that_makes_no_sense_is_not_minted(arguments: list[str], complaint: str) -> None:
    result = run("token", "--user", "ada", *arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr


def test_the_version_is_told() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", run("--version").output)


# erase


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
    assert run("erase", "tasks/t1", "--data", str(data)).output == "erased tasks/t1\n"
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


# databases


@pytest.mark.parametrize("command", [["serve"], ["erase", "a/b"], ["dead-letters", "crm"], ["migrate"], ["nodes"]])
def test_a_password_on_the_command_line_is_refused_and_not_repeated(command: list[str]) -> None:
    refused = run(*command, "--database", "postgresql://u:s3cret@127.0.0.1:1/db")
    assert refused.exit_code == 2
    assert "COLLAB_DATABASE_FILE" in refused.stderr
    assert "s3cret" not in refused.stderr


def test_serve_says_in_one_line_why_a_database_cannot_be_used(tmp_path: Path) -> None:
    for url, said in (
        ("postgresql://127.0.0.1:1/none", "could not start: the database cannot be reached: "),
        ("mysql://127.0.0.1/db", "database must be like postgresql://"),
    ):
        ended = subprocess.run(
            [sys.executable, "-m", "collab", "serve", "--port", "0"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT), "COLLAB_DATABASE": url},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode in (1, 2)
        assert len([line for line in ended.stderr.splitlines() if said in line]) == 1
        assert "Traceback" not in ended.stderr


def refused(folder: Path, url: str) -> str:
    """Why ``collab serve`` cannot use a database, which it says in one line."""
    command = [sys.executable, "-m", "collab", "serve", "--port", "0"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "COLLAB_DATABASE": url}
    ended = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    (line,) = [line for line in ended.stderr.splitlines() if "could not start: " in line]
    return line.partition("could not start: ")[2]


def test_serve_does_not_wait_for_a_database_that_never_answers(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/db"
        assert refused(tmp_path, url) == "the database cannot be reached: no answer"


def test_serve_refuses_a_database_of_others_and_one_of_a_newer_version(
    tmp_path: Path, postgres: PostgresServer, database: str
) -> None:
    async def execute(url: str, statement: str) -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(statement)
        await connection.close()

    taken = postgres.database()
    asyncio.run(execute(taken, "CREATE SCHEMA collab; CREATE TABLE collab.things (n int)"))
    assert "belongs to another application" in refused(tmp_path, taken)
    with serving(tmp_path, "serve", COLLAB_DATABASE=database):
        pass
    asyncio.run(execute(database, "UPDATE collab.record SET version = version + 1"))
    try:
        assert "a newer version wrote it" in refused(tmp_path, database)
    finally:
        asyncio.run(execute(database, "UPDATE collab.record SET version = version - 1"))


# dead letters


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


# nodes


def test_nodes_are_listed_with_those_that_live(tmp_path: Path, database: str) -> None:
    def listed() -> list[dict[str, Any]]:
        return [json.loads(line) for line in run("nodes", "--json", "--database", database).output.splitlines()]

    with serving(tmp_path, "serve", COLLAB_DATABASE=database) as (process, _):
        (first,) = listed()
        assert not first["dead"]
        while listed()[0]["beats"] <= first["beats"]:
            time.sleep(0.05)
        process.kill()
    assert not listed()[0]["dead"], "nobody has said so"
    with serving(tmp_path, "serve", COLLAB_DATABASE=database):
        dead, living = listed()
        assert (dead["nid"], dead["dead"], living["dead"]) == (first["nid"], True, False)
        assert living["nid"] > dead["nid"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", living["started"])
    names, *rows = [line.split() for line in run("nodes", "--database", database).output.splitlines()]
    assert names == ["NODE", "NAME", "VERSION", "STARTED", "BEATS", "STATE", "ROOMS"]
    assert [(row[0], row[5], row[6]) for row in rows] == [(str(node["nid"]), "dead", "0") for node in (dead, living)]


def test_a_folder_has_no_nodes(tmp_path: Path) -> None:
    refused = run("nodes", "--data", str(tmp_path))
    assert refused.exit_code == 1
    assert "only a PostgreSQL database has nodes" in refused.stderr


# copy and migrate


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
    assert run("copy", str(tmp_path), database).exit_code == 0
    current = run("migrate", COLLAB_DATABASE=database)
    assert re.fullmatch(rf"{re.escape(shown(database))} has schema version \d+, the newest\n", current.output)


# backing up


def test_a_backup_made_as_documented_while_the_server_runs_is_restored(tmp_path: Path) -> None:
    recipe = re.search(r"## Backing up.*?```python\n(.*?)```", (ROOT / "docs/deploying.md").read_text(), re.DOTALL)
    assert recipe is not None
    with serving(tmp_path, "serve") as (_, lines):
        api = lines[0].split()[-1] + "/api/v1"
        assert (
            httpx.post(f"{api}/collections/tasks", json={"id": "t1", "title": "before"}, timeout=40).status_code == 201
        )
        subprocess.run([sys.executable, "-c", recipe[1]], cwd=tmp_path, check=True)
        assert (
            httpx.patch(f"{api}/collections/tasks/t1", json={"changes": {"title": "after"}}, timeout=40).status_code
            == 200
        )
        first = httpx.get(f"{api}/collections/tasks/t1/history", timeout=40).json()
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "data").mkdir()
    (tmp_path / "backup.db").rename(tmp_path / "data" / "collab.db")
    with serving(tmp_path, "serve") as (_, lines):
        api = lines[0].split()[-1] + "/api/v1"
        assert httpx.get(f"{api}/collections/tasks/t1", timeout=40).json()["data"]["title"] == "before"
        assert (
            httpx.patch(f"{api}/collections/tasks/t1", json={"changes": {"title": "again"}}, timeout=40).status_code
            == 200
        )
        assert len(httpx.get(f"{api}/collections/tasks/t1/history", timeout=40).json()) == len(first)


def test_a_dump_of_postgresql_made_as_documented_while_the_server_runs_is_restored(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    text = (ROOT / "docs/deploying.md").read_text()
    recipe = re.search(r"### PostgreSQL\n.*?```console\n(.*?)```.*?```sql\n(.*?)```", text, re.DOTALL)
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
