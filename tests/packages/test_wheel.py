"""The wheel, installed into an empty environment of each Python that is here, serves and is spoken to."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import machine

MINORS = (11, 12, 13, 14)

APPLICATION = """
from fastapi import FastAPI
from collab import Collab, Settings

collab = Collab(Settings(data="./data"))
app = FastAPI(lifespan=collab.lifespan)
app.mount("/collab", collab)
print(type(app).__name__, len(app.routes) > 0)
"""

CLIENT = """
import asyncio, sys
from collab.client import LumenizeClient

async def main() -> None:
    async with LumenizeClient(sys.argv[1]) as client:
        task = await client.tasks.create({"title": "Write it down"})
        await client.tasks.update(task["id"], {"done": True})
        print(await client.tasks.find_many({"where": {"done": True}}, fields=["title"]))

asyncio.run(main())
"""


def pythons() -> dict[str, Path]:
    """The Pythons of this machine that we support: those on PATH, those of pyenv, and our own."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = {f"3.{sys.version_info.minor}": Path(sys.executable).resolve()}
    for minor in MINORS:
        name = f"python3.{minor}"
        candidates = [*sorted(versions.glob(f"3.{minor}.*/bin/{name}")), Path(shutil.which(name) or name)]
        for candidate in candidates:
            if f"3.{minor}" not in found and _runs(candidate, minor):
                found[f"3.{minor}"] = candidate
    return found


def _runs(python: Path, minor: int) -> bool:
    try:
        done = subprocess.run([python, "--version"], capture_output=True, text=True, check=False, timeout=60)
    except OSError:
        return False
    return done.returncode == 0 and done.stdout.startswith(f"Python 3.{minor}.")


PYTHONS = pythons()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as it would be published."""
    target = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", f"--wheel-dir={target}", machine.ROOT],
        check=True,
    )
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module", params=PYTHONS)
def environment(request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of one Python that holds the wheel, with what the client needs, and FastAPI."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([PYTHONS[request.param], "-m", "venv", folder], check=True)
    pip: list[str | Path] = [
        folder / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    subprocess.run([*pip, f"{wheel}[client]", "fastapi>=0.120,<1"], check=True)
    return folder / "bin"


def _clean(folder: Path) -> dict[str, str]:
    """An environment in which nothing of this checkout is found."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COLLAB_", "PYTHON"))}
    return {**kept, "HOME": str(folder)}


@pytest.fixture
def address(environment: Path, tmp_path: Path) -> Iterator[str]:
    """Where a server of the wheel listens."""
    command: list[str | Path] = [environment / "collab", "serve", "--port", "0", "--data", tmp_path / "data"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=_clean(tmp_path))
    assert server.stdout is not None
    try:
        for line in server.stdout:
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                yield found[0]
                break
        else:
            raise AssertionError("the server ended before it listened")
    finally:
        server.terminate()
        server.communicate(timeout=30)
    assert server.returncode == 0


def test_it_serves_and_its_client_speaks_to_it(environment: Path, address: str, tmp_path: Path) -> None:
    script = tmp_path / "client.py"
    script.write_text(CLIENT)
    command: list[str | Path] = [environment / "python", script, address]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env=_clean(tmp_path), timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "Write it down" in done.stdout


def test_it_is_mounted_in_an_application(environment: Path, tmp_path: Path) -> None:
    script = tmp_path / "application.py"
    script.write_text(APPLICATION)
    done = subprocess.run(
        [environment / "python", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=_clean(tmp_path),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["FastAPI", "True"]
