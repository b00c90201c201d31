"""What compose.yaml describes, as processes: nodes, their balancer, and where it reads their settings."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.server import Server

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"


def program(name: str) -> str:
    """The path of a program that came with a Python package."""
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    assert found is not None, f"{name} comes with the dependency groups of this project"
    return found


def tool(name: str, *arguments: str) -> str:
    """What a program prints; it must succeed."""
    done = subprocess.run([program(name), *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def composed(file: str) -> dict[str, Any]:
    """A compose file of ours, as Compose reads it."""
    found: dict[str, Any] = json.loads(tool("docker-compose", "-f", f"docker/{file}", "config", "--format", "json"))
    return found


def node(folder: Path, secrets: dict[str, str]) -> Server:
    """A node with the settings that the nodes of compose.yaml have; ``secrets`` are the contents of their files."""
    service = composed("compose.yaml")["services"]["collab-1"]
    folder.mkdir(parents=True)
    for secret in service["secrets"]:
        (folder / secret["source"]).write_text(secrets[secret["source"]])
    settings = {
        name.removeprefix("COLLAB_").lower(): value.replace("/run/secrets", str(folder))
        for name, value in service["environment"].items()
    }
    return Server(folder, **settings | {"trusted_proxies": "127.0.0.1"})


class Balancer:
    """Caddy with the Caddyfile of compose.yaml. ``url`` is where it listens."""

    def __init__(self, folder: Path, nodes: list[Server]) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._folder = folder
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "COLLAB_SITE": self.url,
            "COLLAB_NODES": " ".join(f"127.0.0.1:{node.port}" for node in nodes),
        }

    @contextmanager
    def serving(self) -> Iterator[None]:
        """It runs inside the block, from when a node is ready."""
        command = [program("caddy"), "run", "--config", str(DOCKER / "Caddyfile"), "--adapter", "caddyfile"]
        with (self._folder / "balancer.log").open("wb") as log:
            process = subprocess.Popen(command, cwd=self._folder, env=self._environment, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 40
            while not self._is_ready():
                assert process.poll() is None, (self._folder / "balancer.log").read_text()
                assert time.monotonic() < deadline, (self._folder / "balancer.log").read_text()
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait(20)

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz").status_code == 200
        except httpx.HTTPError:
            return False
