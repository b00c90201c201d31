"""``collab doctor``: what it says, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.collab.server.command_line import run, serving

SECRET = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def test_a_server_in_order_is_said_to_be(tmp_path: Path) -> None:
    credential = {"COLLAB_JWT_SECRET": SECRET}
    with serving(tmp_path, "serve", **credential) as (_, lines):
        url = lines[0].split()[-1]
        (tmp_path / "data").chmod(0o700)
        done = run("doctor", "--url", url, "--data", str(tmp_path / "data"), **credential)
        assert (done.exit_code, done.output) == (0, "nothing is wrong\n")
        told = run("doctor", "--json", "--data", str(tmp_path / "data"), **credential)
        assert json.loads(told.stdout) == {"ok": True, "findings": []}


def test_what_is_wrong_comes_first_with_what_to_do_and_ends_with_a_status_of_its_own(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    weak = "our secret that nobody will ever guess"
    done = run("doctor", "--host", "0.0.0.0", "--allowed-origins", "*", "--data", data, COLLAB_JWT_SECRET=weak)
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert lines[0].startswith("WRONG pages: allowed_origins is *")
    assert lines[1].startswith("      -> list the origins")
    assert lines[2].startswith("WRONG secrets: COLLAB_JWT_SECRET can be guessed")
    assert lines[-1] == "2 wrong, 2 notes"
    assert weak not in done.output
    told = json.loads(run("doctor", "--json", "--open", "--data", data).stdout)
    assert not told["ok"]
    assert [each["area"] for each in told["findings"] if each["level"] == "wrong"] == ["access"]


def test_notes_alone_are_no_fault(tmp_path: Path) -> None:
    done = run("doctor", "--data", str(tmp_path / "none"))
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == "0 wrong, 2 notes"
    assert not (tmp_path / "none").exists(), "it changes nothing"


def test_a_configuration_that_others_may_read_is_wrong_if_it_holds_secrets(tmp_path: Path) -> None:
    config = tmp_path / "collab.toml"
    config.write_text(f'jwt_secret = "{SECRET}"\n')
    config.chmod(0o644)
    done = run("doctor", "--config", str(config), "--data", str(tmp_path / "data"))
    assert (done.exit_code, f"chmod o= {config}" in done.stdout) == (1, True)
    config.chmod(0o600)
    assert run("doctor", "--config", str(config), "--data", str(tmp_path / "data")).exit_code == 0
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o640)
    config.write_text('jwt_secret_file = "secret"\n[collections.tasks]\n')
    config.chmod(0o644)
    done = run("doctor", "--config", str(config), "--data", str(tmp_path / "data"))
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "0 wrong, 1 note"), "it only names the secret's file"
    secret.chmod(0o644)
    done = run("doctor", "--config", str(config), "--data", str(tmp_path / "data"))
    assert (done.exit_code, f"chmod o= {secret}" in done.stdout) == (1, True)
    config.write_text(f'[[webhooks]]\nname = "a"\nurl = "https://a.example"\nsecret = "whsec_{"A" * 43}="\n')
    assert f"chmod o= {config}" in run("doctor", "--config", str(config), "--data", str(tmp_path / "data")).stdout
    done = run("doctor", "--data", str(tmp_path / "data"), COLLAB_JWT_SECRET_FILE=str(secret))
    assert (done.exit_code, f"chmod o= {secret}" in done.stdout) == (1, True)


@pytest.mark.parametrize("arguments", [["--port", "http"], ["--trusted-proxies", "nginx"]])
def test_settings_that_are_none_are_refused(arguments: list[str]) -> None:
    assert run("doctor", *arguments).exit_code == 2
