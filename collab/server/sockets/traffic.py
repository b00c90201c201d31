"""Bytes of WebSockets, added up by project. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from collab.project_names import ProjectNames


class SocketBytes(NamedTuple):
    """Bytes of messages that a project's sockets have received and sent."""

    received: int = 0
    sent: int = 0


class Traffic:
    """What closed sockets have received and sent. The project of a socket without a credential is empty."""

    def __init__(self, names: ProjectNames | None = None) -> None:
        self._names = names if names is not None else ProjectNames()
        self._closed: dict[str, SocketBytes] = {}

    def closed(self, project: str | None, received: int, sent: int) -> None:
        """A socket has closed."""
        self._add(self._closed, project, received, sent)

    def with_open(self, sockets: Iterable[tuple[str | None, int, int]]) -> Mapping[str, SocketBytes]:
        """All sums, with those of open sockets: project, received, sent."""
        sums = dict(self._closed)
        for project, received, sent in sockets:
            self._add(sums, project, received, sent)
        return sums

    def _add(self, sums: dict[str, SocketBytes], project: str | None, received: int, sent: int) -> None:
        name = self._names.of(project)
        known = sums.get(name, SocketBytes())
        sums[name] = SocketBytes(known.received + received, known.sent + sent)
