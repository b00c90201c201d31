"""Nodes: the processes that write to one record, and which of them owns which room.

A process that opens a record becomes a node, with a number that no other node ever has. Whether a node is dead is a
matter of the record alone: it is dead once that is declared there, even if its process runs. A write of a node is
wholly before its declaration, or refused. So whoever takes a room over from a dead node sees all that the node has
committed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from collab.names import RoomKey
from collab.storage.base import Storage, StorageError

Opens = Literal["take over", "if free", "join", "to read"]
"""How a process opens a record.

``"take over"`` declares all other nodes dead, ``"if free"`` refuses if one lives, ``"join"`` lives beside them. Who
opens ``"to read"`` is no node and writes nothing.
"""


class Fenced(StorageError):
    """This process is no node, or its node was declared dead: it writes no more, however often it tries."""


class NodeRow(NamedTuple):
    """One node. ``started`` is in seconds since the epoch, ``beats`` counts its beats, ``rooms`` the rooms it owns."""

    nid: int
    name: str
    version: str
    started: float
    beats: int
    dead: bool
    rooms: int


@runtime_checkable
class Nodes(Protocol):
    """What a storage has for several nodes. Every method but :meth:`nodes` raises :class:`Fenced` for a dead node."""

    @property
    def nid(self) -> int:
        """The number of this node; 0 if it is none."""

    async def nodes(self) -> Sequence[NodeRow]:
        """All nodes by number, of the dead at least the last hundred."""

    async def beat(self) -> None:
        """Count one beat of this node."""

    async def declare_dead(self, nid: int, beats: int) -> bool:
        """Declare a node dead unless it has beaten since ``beats``. Returns whether this did so."""

    async def acquire(self, key: RoomKey) -> int:
        """Own a room unless another node that is not dead owns it. Returns the number of its owner."""

    async def release(self, keys: Sequence[RoomKey]) -> None:
        """Own these rooms no longer. Their last writes must have been answered."""


class NodeStorage(Storage, Nodes, Protocol):
    """A record for several nodes."""


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
