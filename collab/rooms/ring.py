"""What a room is given: its limits, and the waiting side of the live plane, which acts on its behalf."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from collab.entities.entity import Intent
from collab.wire.fields import Write

if TYPE_CHECKING:
    from collab.rooms.room import Room


@dataclass(frozen=True, slots=True)
class RoomOptions:
    """Limits and paces of a room. Times in seconds, sizes in bytes."""

    flush_shortest: float = 0.010
    flush_longest: float = 0.250
    presence_shortest: float = 0.040
    presence_longest: float = 0.500
    join_longest: float = 1.0
    presence_timeout: float = 30.0
    presence_bytes: int = 4096
    document_bytes: int = 256 * 1024 * 1024
    outbox_bytes: int = 1024 * 1024
    apply_seconds: float = 1.0  # and one more for each 4 MiB of an update


class Ring(Protocol):
    """What waits, on behalf of rooms."""

    def admit(self, size: int) -> None:
        """Raise :class:`Unavailable` if the record cannot take ``size`` bytes more now."""

    def record(
        self,
        room: Room,
        update: bytes,
        user_id: str | None,
        done: Callable[[], None] | None,
        writes: Sequence[Write],
        content: bool,
        intent: Intent | None,
    ) -> None:
        """Append to the log. After the commit :meth:`Room.committed` is called, then ``done``; in order.

        ``writes`` are those to fields of entities; ``content``: it changes something else too.
        """

    def wake_at(self, room: Room, delay: float) -> None:
        """Call :meth:`Room.wake` in ``delay`` seconds."""

    def broken(self, room: Room, update: bytes, error: BaseException) -> None:
        """The document may be damaged: rebuild the room from the log, without ``update``."""
