"""The command as its user meets it: what it prints, what it refuses, how it ends."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import httpx
import pytest

from collab.access.credentials import Authenticator
from collab.access.rules import Access
from collab.names import RoomKey
from collab.server import cli
from collab.server.config.load import options
from collab.server.config.settings import Settings, secret_issuer
from tests.collab.server.command_line import ROOT, run, serving
from tests.postgres import PostgresServer

SECRET = "a secret of the tests, of more than 32 bytes"


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


def test_serve_prints_a_link_to_the_inspector_that_signs_in_once(tmp_path: Path) -> None:
    with serving(tmp_path, "serve", "--inspect") as (_, lines):
        found = next(line.split()[1] for line in lines if line.split()[0] == "inspector")
        page, _, link = found.partition("#")
        assert page == lines[0].split()[-1] + "/inspect/"
        assert lines[lines.index(f"  inspector    {found}") + 1].strip().startswith("(this link signs in once")
        answers = [httpx.post(f"{page}api/sign-in", json={"link": link}, timeout=40) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 401]


def test_serve_prints_no_link_and_has_no_inspector_unless_it_is_told_to(tmp_path: Path) -> None:
    with serving(tmp_path, "serve", COLLAB_INSPECT_SECRET=SECRET) as (_, lines):
        assert not [line for line in lines if "inspect" in line]
        assert httpx.get(lines[0].split()[-1] + "/inspect/", timeout=40).status_code == 404


def test_serve_without_the_page_of_the_inspector_says_how_to_build_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "INSPECTOR_PAGE", tmp_path)
    refused = run("serve", "--inspect")
    assert (refused.exit_code, "python3 dev.py setup" in refused.stderr) == (2, True)


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


# databases


@pytest.mark.parametrize("command", [["serve"], ["erase", "a/b"], ["webhooks", "list"], ["migrate"], ["nodes"]])
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
