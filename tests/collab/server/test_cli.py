"""The command as its user meets it: what it prints, what it refuses, how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from collab.access.credentials import Authenticator
from collab.access.identity import Access
from collab.names import RoomKey
from collab.server import cli
from collab.server.cli import main
from collab.server.configure import options
from collab.server.settings import secret_issuer

ROOT = Path(__file__).parents[3]
SECRET = "a secret of the tests, of more than 32 bytes"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("COLLAB_")]:
        monkeypatch.delenv(name)


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
        process.communicate(timeout=20)


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
        assert "open" in lines[5]
        assert httpx.get(f"{address[1]}/readyz").text == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_serve_without_credentials_answers_to_names_of_this_machine_only(tmp_path: Path) -> None:
    with serving(tmp_path, "serve") as (_, lines):
        url = lines[0].split()[-1] + "/rooms/a"
        assert httpx.get(url).status_code == 200
        assert httpx.get(url, headers={"host": "localhost"}).status_code == 200
        assert httpx.get(url, headers={"host": "rebound.evil.com"}).status_code == 403
        assert httpx.post(url, headers={"origin": "https://evil.com"}, content=b"\0\0").status_code == 403


def test_serve_with_credentials_asks_for_them_and_may_be_reached_from_outside(tmp_path: Path) -> None:
    with serving(tmp_path, "serve", "--host", "0.0.0.0", COLLAB_JWT_SECRET=SECRET) as (_, lines):
        assert lines[0].startswith("Listening on http://0.0.0.0:")
        assert lines[5].split() == ["access", "by", "credential"]
        url = "http://127.0.0.1:" + lines[0].rpartition(":")[2] + "/rooms/a"
        assert httpx.get(url).status_code == 401
        token = run("token", "--user", "ada", COLLAB_JWT_SECRET=SECRET).output.strip()
        assert httpx.get(url, headers={"authorization": f"Bearer {token}"}).status_code == 200
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
    assert "COLLAB_PROT names no setting" in run("serve", "--host", "0.0.0.0", COLLAB_PROT="1").stderr


def test_the_help_tells_of_every_option_but_offers_no_secret_as_a_flag() -> None:
    text = run("serve", "--help").output
    for option in options():
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
        page = httpx.get(lines[0].split()[-1])
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
