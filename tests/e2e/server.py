"""`collab serve` in its own process; tests connect to it, stop, kill and restart it."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import jwt

from collab.server.config.settings import secret_issuer

ROOT = Path(__file__).parents[2]
_LISTENING = re.compile(r"Listening on http://([^:]+):(\d+)\n.*?access +[^\n]+\n", re.DOTALL)


class Server:
    """A server with its own folder. ``settings`` are those of ``collab serve``, by name.

    With ``secret`` it requires tokens, which :meth:`token` creates.
    """

    def __init__(self, folder: Path, *, secret: str | None = None, **settings: object) -> None:
        self.folder = folder
        self.secret = secret
        self.settings = settings
        self.options: Sequence[str] = ()
        """Options of the command that are no settings."""
        self.host = "127.0.0.1"
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.log_file = folder / "server.log"

    def start(self) -> None:
        """Start on the same port and data as before; returns when it listens."""
        self.folder.mkdir(parents=True, exist_ok=True)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COLLAB_")}
        environment |= {f"COLLAB_{name.upper()}": str(value) for name, value in self.settings.items()}
        if self.secret is not None:
            environment["COLLAB_JWT_SECRET"] = self.secret
        command = [sys.executable, "-m", "collab", "serve", "--port", str(self.port), "--data", "data"]
        command += self.options
        before = self.log_file.stat().st_size if self.log_file.exists() else 0
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env={**environment, "PYTHONPATH": str(ROOT)}, stdout=log, stderr=log
            )
        deadline = time.monotonic() + 60
        while (found := _LISTENING.search(self.log_file.read_bytes()[before:].decode())) is None:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the server does not start:\n{self.log()}")
            time.sleep(0.02)
        self.port = int(found[2])

    def stop(self) -> int:
        """Stop it with SIGTERM. Returns the exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it and its worker with SIGKILL."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        if self.process is None:
            return 0
        process, self.process = self.process, None
        process.send_signal(number)
        return process.wait(20)

    def log(self) -> str:
        """Everything that it printed."""
        return self.log_file.read_text()

    @property
    def rooms(self) -> str:
        """URL for y-websocket."""
        return f"ws://{self.host}:{self.port}/rooms"

    @property
    def hocuspocus(self) -> str:
        """URL for Hocuspocus."""
        return f"ws://{self.host}:{self.port}/hocuspocus"

    @property
    def http(self) -> str:
        """URL of its HTTP API."""
        return f"http://{self.host}:{self.port}"

    def token(self, user: str, name: str | None = None, access: str = "write", seconds: float = 3600) -> str:
        """A token for all documents. ``access`` is ``none``, ``read`` or ``write``."""
        assert self.secret is not None
        issuer = secret_issuer(self.secret)
        claims: dict[str, object] = {
            "iss": issuer.issuer,
            "aud": issuer.audience,
            "sub": user,
            "exp": time.time() + seconds,
            "access": {"*/*": access},
        }
        if name is not None:
            claims["name"] = name
        return jwt.encode(claims, self.secret, algorithm="HS256")


@contextmanager
def nothing_can_be_committed(server: Server) -> Iterator[None]:
    """Hold the write lock of the server's database."""
    connection = sqlite3.connect(server.folder / "data" / "collab.db", isolation_level=None, timeout=40)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()
