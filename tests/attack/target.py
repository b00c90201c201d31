"""The server under attack, and its state as seen from outside."""

from __future__ import annotations

import time
from pathlib import Path

import jwt

from tests.e2e.server import Server

SECRET = "an-attack-needs-a-secret-of-32-bytes"


class Target(Server):
    """A server that requires tokens."""

    def __init__(self, folder: Path, **settings: object) -> None:
        super().__init__(folder, secret=SECRET, **settings)

    @property
    def address(self) -> str:
        """``host:port``."""
        return f"{self.host}:{self.port}"

    def token(
        self, user: str, name: str | None = None, access: str = "write", seconds: float = 3600, project: str = "default"
    ) -> str:
        """A token for all documents of a project."""
        claims = {"iss": "collab", "aud": "collab", "sub": user, "exp": time.time() + seconds, "project": project}
        return jwt.encode({**claims, "access": {"*/*": access}}, SECRET, algorithm="HS256")

    @property
    def deaths(self) -> int:
        """Number of worker deaths so far."""
        return self.log().count("the worker died")

    def rss_mib(self) -> float:
        """Resident memory of the server and its children."""
        assert self.process is not None
        return sum(_rss(pid) for pid in _family(self.process.pid)) / 2**20


def _family(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(grandchild for child in children for grandchild in _family(int(child)))]


def _rss(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    except OSError:
        return 0
