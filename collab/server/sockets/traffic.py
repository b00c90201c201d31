"""Bytes of WebSockets, added up by project. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from collab.access.price import OTHER_PROJECTS

_PROJECTS = 100  # projects with a sum of their own; the others share one, as for CPU


class SocketBytes(NamedTuple):
    """Bytes of messages that a project's sockets have received and sent."""

    received: int = 0
    sent: int = 0


class Traffic:
    """What closed sockets have received and sent. The project of a socket without a credential is empty."""

    def __init__(self) -> None:
        self._closed: dict[str, SocketBytes] = {}

    def closed(self, project: str | None, received: int, sent: int) -> None:
        """A socket has closed."""
        _add(self._closed, project, received, sent)

    def with_open(self, sockets: Iterable[tuple[str | None, int, int]]) -> Mapping[str, SocketBytes]:
        """All sums, with those of open sockets: project, received, sent."""
        sums = dict(self._closed)
        for project, received, sent in sockets:
            _add(sums, project, received, sent)
        return sums


def _add(sums: dict[str, SocketBytes], project: str | None, received: int, sent: int) -> None:
    name = project or ""
    if name not in sums and len(sums) >= _PROJECTS:
        name = OTHER_PROJECTS
    known = sums.get(name, SocketBytes())
    sums[name] = SocketBytes(known.received + received, known.sent + sent)
