"""A server for tests in other languages: reads one JSON command per line, writes one JSON answer per line.

The commands are the methods of :class:`World`.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jwt

from collab.server.config.settings import secret_issuer
from tests.e2e.server import Server

SECRET = "a secret of the tests, of more than 32 bytes"


class World:
    """The commands."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server: Server | None = None

    def start(self, *, guarded: bool = False, **settings: Any) -> str:
        """Start, or restart on the same port and data with changed settings; returns the URL."""
        written = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in settings.items()}
        if self.server is None:
            self.server = Server(self.folder, secret=SECRET if guarded else None, **written)
        self.server.settings |= written
        self.server.start()
        return self.server.http

    def stop(self) -> int:
        assert self.server is not None
        return self.server.stop()

    def kill(self) -> None:
        assert self.server is not None
        self.server.kill()

    def token(self, user: str, access: dict[str, str] | None = None, seconds: float = 3600) -> str:
        """A token; ``access`` are patterns with their rights."""
        issuer = secret_issuer(SECRET)
        claims = {
            "iss": issuer.issuer,
            "aud": issuer.audience,
            "sub": user,
            "name": user.title(),
            "exp": time.time() + seconds,
            "access": access or {"*/*": "write"},
        }
        return jwt.encode(claims, SECRET, algorithm="HS256")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder) / "server")
        try:
            for line in sys.stdin:
                command = json.loads(line)
                command.pop("id", None)
                try:
                    answer = {"result": getattr(world, command.pop("command"))(**command)}
                except Exception as error:
                    answer = {"error": f"{type(error).__name__}: {error}"}
                print(json.dumps(answer), flush=True)
        finally:
            if world.server is not None:
                world.server.kill()


if __name__ == "__main__":
    main()
