"""Settings of a Django project that make no sense stop it at its start, and say why."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    importlib.import_module("examples.mount_django")


def config() -> Any:
    from django.apps import apps

    return apps.get_app_config("collab")


def test_the_members_have_defaults(tmp_path: Path) -> None:
    from django.test import override_settings

    with override_settings(COLLAB={"data": tmp_path, "port": 9000}):
        made = config().make()
        assert config().path == "/collab"
        assert (made.settings.data, made.settings.port) == (str(tmp_path), 9000)
        assert type(made.hooks).__name__ == "SessionHooks"
        assert made.hooks.rules == {}
        assert not made.admission.is_open, "sessions are credentials"
        assert config().collab is made


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ([], "must be a dict"),
        ({"path": "collab"}, "must be a path"),
        ({"path": "/"}, "must be a path"),
        ({"path": None}, "must be a path"),
        ({"rules": {"notes": "write"}}, "pattern"),
        ({"rules": {"notes/*": "admin"}}, "none, read, write"),
        ({"prot": 8000}, "prot"),
        ({"port": "8000"}, "port"),
    ],
)
def test_settings_that_make_no_sense_are_named(said: Any, complaint: str) -> None:
    from django.core.exceptions import ImproperlyConfigured
    from django.test import override_settings

    with override_settings(COLLAB=said), pytest.raises(ImproperlyConfigured, match=complaint):
        config().ready()


@pytest.mark.parametrize("hooks", ["collab.Settings", "collab.parse_where"])
def test_hooks_must_be_hooks(hooks: str) -> None:
    from django.core.exceptions import ImproperlyConfigured
    from django.test import override_settings

    with override_settings(COLLAB={"hooks": hooks}), pytest.raises(ImproperlyConfigured, match="is not a subclass"):
        config().make()


def test_a_logout_where_no_server_runs_does_nothing() -> None:
    from django.contrib.auth.signals import user_logged_out

    class Request:
        session = type("Session", (), {"session_key": "k"})()

    config().stopped()
    user_logged_out.send(sender=None, request=Request(), user=None)
    user_logged_out.send(sender=None, request=None, user=None)
