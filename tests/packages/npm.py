"""Projects with our npm packages, installed by `npm install`."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tools import machine

JS = machine.ROOT / "js"
PACKAGES = ("client", "react", "svelte", "vue")


def pack(target: Path) -> list[Path]:
    """The packages as they would be published."""
    files = []
    for name in PACKAGES:
        (packed,) = json.loads(machine.npm("pack", "--json", f"--pack-destination={target}", cwd=JS / name).stdout)
        files.append(target / packed["filename"])
    return files


def install(project: Path, *packages: str | Path) -> None:
    """Install into a project, from npm's cache if possible."""
    options = ("--no-audit", "--no-fund", "--no-save", "--prefer-offline", "--legacy-peer-deps")
    machine.npm("install", *options, *map(str, packages), cwd=project)


def run(project: Path, *command: str | Path, **environment: str) -> str:
    """Output of a Node command, which must succeed."""
    done = subprocess.run(
        [machine.node(), *command],
        cwd=project,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def link_packages(source: Path, target: Path) -> None:
    """Link the npm packages of another project into a project."""
    subprocess.run(["cp", "-al", source / "node_modules", target / "node_modules"], check=True)


def words(printed: str) -> Sequence[str]:
    """Words of the last line."""
    return printed.strip().splitlines()[-1].split()
