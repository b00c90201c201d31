"""Nodes: the processes that write to one record, which of them owns which room, and what all of them must hear.

A process that opens a record becomes a node, with a number that no other node ever has. Whether a node is dead is a
matter of the record alone: it is dead once that is declared there, even if its process runs. A write of a node is
wholly before its declaration, or refused. So whoever takes a room over from a dead node sees all that the node has
committed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from secrets import token_hex
from socket import gethostname
from typing import Any, Final, Literal, NamedTuple, Protocol, runtime_checkable

from collab.names import RoomKey
from collab.storage.base import Storage, StorageError

Opens = Literal["take over", "if free", "join", "to read"]
"""How a process opens a record.

``"take over"`` declares all other nodes dead, ``"if free"`` refuses if one lives, ``"join"`` lives beside them. Who
opens ``"to read"`` is no node and writes nothing. Servers that take over and nodes that join refuse each other for as
long as the others beat (:func:`find_others`).
"""


class Fenced(StorageError):
    """This process is no node, or its node was declared dead: it writes no more, however often it tries."""


class NodeRow(NamedTuple):
    """One node. ``started`` is in seconds since the epoch, ``beats`` counts its beats, ``rooms`` the rooms it owns.

    Other nodes reach it at ``url``; it is empty for a server that is alone.
    """

    nid: int
    name: str
    version: str
    started: float
    beats: int
    dead: bool
    rooms: int
    url: str


ANNOUNCED_SECONDS: Final = 3600.0
"""An announcement is kept for this long. A node looks for new ones all the time."""


class Announcement(NamedTuple):
    """What all nodes must hear of a project, or of all projects (``None``). ``body`` is JSON."""

    project: str | None
    kind: str
    body: Mapping[str, Any]


class Announced(NamedTuple):
    """An announcement that was made, and its number."""

    number: int
    announcement: Announcement


@runtime_checkable
class Nodes(Protocol):
    """What a storage has for several nodes. Methods that write raise :class:`Fenced` for a dead node."""

    @property
    def nid(self) -> int:
        """The number of this node; 0 if it is none."""

    async def nodes(self) -> Sequence[NodeRow]:
        """All nodes by number, of the dead at least the last hundred."""

    async def cluster_key(self) -> bytes:
        """A random secret that all nodes of this record share."""

    async def beat(self) -> None:
        """Count one beat of this node."""

    async def leave(self) -> None:
        """Declare this node dead: it writes no more."""

    async def declare_dead(self, nid: int, beats: int) -> bool:
        """Declare a node dead unless it has beaten since ``beats``. Returns whether this did so."""

    async def acquire(self, key: RoomKey) -> int:
        """Own a room unless another node that is not dead owns it. Returns the number of its owner."""

    async def owner(self, key: RoomKey) -> int | None:
        """The number of the node that owns a room; ``None`` if no node that lives does."""

    async def release(self, keys: Sequence[RoomKey]) -> None:
        """Own these rooms no longer. Their last writes must have been answered."""

    async def claim_jobs(self, names: Sequence[str]) -> Sequence[str]:
        """Take those of these jobs that no other node that is not dead has. Returns those that this node has then."""

    async def release_jobs(self, names: Sequence[str]) -> None:
        """Have these jobs no longer."""

    async def announce(self, announcement: Announcement) -> int:
        """Tell all nodes. Returns the number: whoever sees it sees all lower ones that there will ever be."""

    async def announced(self) -> int:
        """The number of the newest announcement; 0 if there was none."""

    async def announcements(self, after: int, limit: int = 1000) -> Sequence[Announced]:
        """The announcements of the last hour with higher numbers than ``after``, in order."""


class NodeAddress(NamedTuple):
    """How a node that joins others is known to them: its ``name``, and where they reach it.

    Without a ``url`` it is the address from which it connects to the database, and ``port``.
    """

    name: str
    url: str | None
    port: int

    def url_at(self, address: str) -> str:
        """Its URL, if it connects to the database from ``address`` (an IP address; empty: over a Unix socket)."""
        if self.url is not None:
            return self.url.rstrip("/")
        host = address or "127.0.0.1"
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def new_node_name() -> str:
    """A name for a process, and for those that replace it."""
    return f"{gethostname()}/{token_hex(4)}"


class NodeStorage(Storage, Nodes, Protocol):
    """A record for several nodes."""


def find_others(nodes: Sequence[NodeRow], opens: Opens) -> Sequence[NodeRow]:
    """Nodes that are not dead and do not go together with one that opens so: alone, or beside others."""
    return [node for node in nodes if not node.dead and bool(node.url) == (opens == "take over")]


class Pulse:
    """Which nodes seem to be dead: those whose beats have not changed in ``looks`` looks that followed each other.

    Only a look that succeeded counts: who cannot reach the record knows nothing of anybody. It reads no clock, so a
    process that slept declares nobody dead for that.
    """

    def __init__(self, looks: int) -> None:
        self._looks = looks
        self._seen: dict[int, tuple[int, int]] = {}  # by node: its beats, and how many looks later they were the same

    def look(self, beats: Mapping[int, int]) -> Sequence[int]:
        """Note the beats of all other nodes that live. Returns those that seem to be dead, by number."""
        seen: dict[int, tuple[int, int]] = {}
        for nid, count in beats.items():
            before, still = self._seen.get(nid, (None, 0))
            seen[nid] = (count, still + 1 if count == before else 0)
        self._seen = seen
        return [nid for nid, (_, still) in sorted(seen.items()) if still >= self._looks]
