"""The nodes of a record in memory, and which of them owns which room and has which job."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from secrets import token_bytes
from typing import Final

from collab.names import RoomKey
from collab.storage.base import StorageError
from collab.storage.nodes import ANNOUNCED_SECONDS, Announced, Announcement, Fenced, NodeRow, Opens

NOBODY: Final = 0
"""The number of who is no node."""


class MemoryNodes:
    """Nodes by number; rooms and jobs with the numbers of their owners."""

    def __init__(self) -> None:
        self.key = token_bytes(32)
        self._nodes: dict[int, NodeRow] = {}
        self._owners: dict[RoomKey, int] = {}
        self._jobs: dict[str, int] = {}
        self._announced: list[tuple[float, Announced]] = []
        self.announced = 0
        """The number of the newest announcement."""

    def enter(self, opens: Opens, now: float, url: str = "") -> int:
        """Make a node, and return its number."""
        if opens == "to read":
            return NOBODY
        others = [nid for nid, node in self._nodes.items() if not node.dead]
        if others and opens == "if free":
            raise StorageError("a server uses this database")
        if opens == "take over":
            for nid in others:
                self.leave(nid)
        nid = len(self._nodes) + 1
        self._nodes[nid] = NodeRow(nid, f"memory/{nid}", "", now, 0, False, 0, url)
        return nid

    def leave(self, nid: int) -> None:
        """Declare a node dead, if there is one."""
        if nid in self._nodes:
            self._nodes[nid] = self._nodes[nid]._replace(dead=True)

    def is_dead(self, nid: int) -> bool:
        """Whether this is no node that lives."""
        return nid not in self._nodes or self._nodes[nid].dead

    def fence(self, nid: int) -> None:
        """Raise :class:`Fenced` unless the node lives."""
        if self.is_dead(nid):
            raise Fenced("another process has taken over this database: this one writes no more")

    def all(self) -> Sequence[NodeRow]:
        """All nodes, by number."""
        owners = list(self._owners.values())
        return [node._replace(rooms=owners.count(nid)) for nid, node in self._nodes.items()]

    def beat(self, nid: int) -> None:
        """Count a beat."""
        self._nodes[nid] = self._nodes[nid]._replace(beats=self._nodes[nid].beats + 1)

    def declare_dead(self, nid: int, beats: int) -> bool:
        """Declare a node dead unless it has beaten since. Returns whether this did so."""
        if self.is_dead(nid) or self._nodes[nid].beats != beats:
            return False
        self.leave(nid)
        return True

    def acquire(self, nid: int, key: RoomKey) -> int:
        """Make ``nid`` the owner of a room if it has none that lives. Returns the owner."""
        if self.is_dead(self._owners.get(key, NOBODY)):
            self._owners[key] = nid
        return self._owners[key]

    def owner(self, key: RoomKey) -> int | None:
        """The owner of a room, if it lives."""
        nid = self._owners.get(key, NOBODY)
        return None if self.is_dead(nid) else nid

    def release(self, nid: int, keys: Iterable[RoomKey]) -> None:
        """Take these rooms from ``nid``."""
        for key in keys:
            if self._owners.get(key) == nid:
                del self._owners[key]

    def claim_jobs(self, nid: int, names: Sequence[str]) -> Sequence[str]:
        """Give ``nid`` those of these jobs that nobody who lives has. Returns those that it has then."""
        for name in names:
            if self.is_dead(self._jobs.get(name, NOBODY)):
                self._jobs[name] = nid
        return [name for name in names if self._jobs[name] == nid]

    def announce(self, announcement: Announcement, now: float) -> int:
        """Number an announcement and keep it for an hour."""
        self.announced += 1
        self._announced = [(at, one) for at, one in self._announced if at >= now - ANNOUNCED_SECONDS]
        self._announced.append((now, Announced(self.announced, announcement)))
        return self.announced

    def announcements(self, after: int, limit: int) -> Sequence[Announced]:
        """Those after a number."""
        return [one for _, one in self._announced if one.number > after][:limit]

    def release_jobs(self, nid: int, names: Sequence[str]) -> None:
        """Take these jobs from ``nid``."""
        for name in names:
            if self._jobs.get(name) == nid:
                del self._jobs[name]
