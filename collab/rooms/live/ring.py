"""The interface of a room to the outside: its limits, and the async code that acts on its behalf."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from collab.access.rules import glob_matches
from collab.entities.entity import Intent
from collab.gate.fields import Write
from collab.rooms.live.session import Session

RECENT_BYTES = 64 * 1024

RoomT = TypeVar("RoomT", contravariant=True)


@dataclass(frozen=True, slots=True)
class RoomOptions:
    """Limits and paces of a room. Times in seconds, sizes in bytes."""

    flush_shortest: float = 0.010
    flush_longest: float = 0.250
    presence_shortest: float = 0.040
    presence_longest: float = 0.500
    join_longest: float = 1.0
    presence_timeout: float = 30.0
    presence_bytes: int = 64 * 1024
    document_bytes: int = 256 * 1024 * 1024
    outbox_bytes: int = 1024 * 1024
    recent_bytes: int = RECENT_BYTES  # of committed rows that wait for content events; 0: there are none
    reader_bytes: int = 16 * 1024  # check an answer of a read-only client up to this size
    load_seconds: float = 2.0  # of CPU for loading the snapshot, and as much for the rows behind it
    apply_seconds: float = 1.0  # of CPU for an update, plus one for each 4 MiB of it
    keep_deleted: Sequence[str] = ()  # collections (globs) whose documents keep deleted content (no garbage collection)

    def keeps_deleted(self, collection: str) -> bool:
        """Whether documents of a collection keep the content of deleted elements."""
        return any(glob_matches(glob, collection) for glob in self.keep_deleted)


class Ring(Protocol[RoomT]):
    """The async code that acts on behalf of rooms."""

    def take_apart(self, room: RoomT, session: Session, update: bytes, *, live: bool, counted: bool) -> None:
        """Apply a large edit piece by piece with :meth:`Room.take_in`. ``session`` is held until the end."""

    def admit(self, size: int) -> None:
        """Raise :class:`Unavailable` if storage cannot take ``size`` bytes more now."""

    def record(
        self,
        room: RoomT,
        update: bytes,
        user_id: str | None,
        done: Callable[[], None] | None,
        writes: Sequence[Write],
        content: bool,
        intent: Intent | None,
    ) -> None:
        """Append to the log. After the commit call :meth:`Commits.committed`, then ``done``; in order.

        Neither is called before this returns. If this raises, the document is rebuilt without the update. ``writes``
        are the writes to fields of entities; ``content``: the update changes something else too.
        """

    def wake_at(self, room: RoomT, delay: float) -> None:
        """Call :meth:`Room.wake` in ``delay`` seconds."""

    def broken(self, room: RoomT, error: BaseException, culprit: bytes | None) -> None:
        """Rebuild the room from the log: its document may be damaged, or ahead of the log.

        ``culprit`` is the update to quarantine, if any.
        """
