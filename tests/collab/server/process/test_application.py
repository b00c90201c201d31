"""A worker serves the Collab of a module, and says in one line why it cannot."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import httpx
import psutil
import pytest

from collab import Settings
from collab.names import RoomKey
from collab.rooms.blackbox import NoBlackBox, SharedBlackBox
from collab.server.process.application import ApplicationError, load
from collab.server.supervision import Supervision, offered
from collab.storage.base import SetAside
from tests.collab.server.command_line import serving

APP = """
from collab import Access, Collab, Hooks, Identity, Rule, Settings


class Known(Hooks):
    async def authenticate(self, request):
        user = request.headers.get("x-user")
        return None if user is None else Identity("default", user, rules=(Rule("notes/*", Access.WRITE),))


collab = Collab(Settings.from_env(max_subscriptions=7), hooks=Known())


def make():
    return collab


class Other:
    inner = collab


async def page(scope, receive, send): ...


def broken():
    raise RuntimeError("no database")
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Writes a module of a new name, in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    written: list[str] = []

    def write(source: str) -> str:
        name = f"application_{tmp_path.name.replace('-', '_')}_{len(written)}"
        (tmp_path / f"{name}.py").write_text(source)
        written.append(name)
        return name

    return write


def supervised() -> Supervision:
    entry = SetAside(RoomKey("default", "documents", "d"), 1, b"x", "crashed", 1.0)
    return Supervision(SharedBlackBox.create(1024), quarantined=[entry], node_name="node-1")


@pytest.mark.parametrize("name", ["collab", "make", "Other.inner"])
def test_the_collab_of_a_module_gets_the_settings_of_the_command_and_the_supervision(
    name: str, write: Callable[[str], str], tmp_path: Path
) -> None:
    settings = Settings(data=str(tmp_path / "d"), jwt_secret="s" * 32, port=9000)
    app = load(f"{write(APP)}:{name}", settings, supervised())
    assert (app.settings.port, app.settings.jwt_secret, app.settings.max_subscriptions) == (9000, "s" * 32, 7)
    assert app.is_supervised
    assert not app.admission.is_open
    assert not isinstance(offered().blackbox, SharedBlackBox), "what is created later gets nothing"
    assert isinstance(offered().blackbox, NoBlackBox)


@pytest.mark.parametrize(
    ("source", "name", "complaint"),
    [
        (APP, "", "must be like module:attribute"),
        (APP, "colab", "has no attribute colab; did you mean collab?"),
        (APP, "Other.outer", "has no attribute outer"),
        (APP, "Other", "is a type, not a Collab: name the Collab that it mounts"),
        (APP, "page", "failed: TypeError"),
        (APP, "broken", "failed: RuntimeError: no database"),
        ("import unheard_of", "collab", "there is no module unheard_of"),
        ("1 / 0", "collab", "cannot be imported: ZeroDivisionError"),
        ("from collab import Collab, Settings\na, b = Collab(Settings()), Collab(Settings())", "b", "before any other"),
        ("from collab import Collab, Settings\na = Collab(Settings())", "a", "0.0.0.0 can be reached from outside"),
    ],
)
def test_an_application_that_cannot_be_served_is_named_with_the_reason(
    source: str, name: str, complaint: str, write: Callable[[str], str]
) -> None:
    with pytest.raises(ApplicationError) as error:
        load(f"{write(source)}:{name}", Settings(host="0.0.0.0"), supervised())
    assert complaint in str(error.value)


def test_a_module_that_is_not_there_is_looked_for_in_the_working_directory(tmp_path: Path) -> None:
    with pytest.raises(ApplicationError, match="there is no module unheard_of_module"):
        load("unheard_of_module:collab", Settings(), supervised())


def test_a_module_that_does_not_read_the_settings_is_told(
    write: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    name = write("from collab import Collab, Settings\ncollab = Collab(Settings(api_key='a' * 16))")
    load(f"{name}:collab", Settings(host="0.0.0.0"), supervised())
    assert "does not read the settings of this command" in caplog.text


def test_serve_runs_hooks_under_the_supervisor_which_replaces_a_worker_that_dies(tmp_path: Path) -> None:
    (tmp_path / "notes_app.py").write_text(APP)
    with serving(tmp_path, "serve", "--app", "notes_app:collab", "--host", "0.0.0.0") as (process, lines):
        assert lines[4].split() == ["access", "as", "notes_app:collab", "decides"]
        url = f"http://127.0.0.1:{lines[0].rpartition(':')[2]}"
        notes = f"{url}/api/v1/collections/notes"

        def create(user: str) -> int:
            return httpx.post(notes, json={}, headers={"x-user": user}, timeout=40).status_code

        assert httpx.get(notes, timeout=40).status_code == 401, "the hook is asked"
        assert create("ada") == 201
        (worker,) = psutil.Process(process.pid).children()
        worker.send_signal(signal.SIGKILL)
        worker.wait(40)
        until = monotonic() + 40
        while monotonic() < until:
            try:
                assert create("bob") == 201
                break
            except httpx.TransportError:
                sleep(0.05)
        rows = httpx.get(notes, headers={"x-user": "eve"}, timeout=40).json()["rows"]
        assert len(rows) == 2


def test_serve_ends_with_2_if_the_application_cannot_be_loaded(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "collab", "serve", "--port", "0", "--app", "missing:collab"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "there is no module missing" in ended.stderr
    assert "Traceback" not in ended.stderr
