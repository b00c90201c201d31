"""One client in one room: who it is, what it may do, what it owns, and what it still has to be sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from collab.access.identity import Access, Identity
from collab.errors import CollabError
from collab.rooms.framing import Framing
from collab.rooms.outbox import Outbox

if TYPE_CHECKING:
    from collab.rooms.room import Room


class Session:
    """A membership of one connection in one room.

    ``close`` ends the membership with the reason for the peer; it is the connection's, and may be called from
    inside a room at any time. ``ready`` is called when :attr:`outbox` has something to drain.
    """

    __slots__ = (
        "access",
        "asked",
        "close",
        "early",
        "framing",
        "identity",
        "lost",
        "missed",
        "outbox",
        "room",
        "synced",
        "writes",
    )

    def __init__(
        self,
        identity: Identity,
        access: Access,
        framing: Framing,
        *,
        ready: Callable[[], None],
        close: Callable[[CollabError], None],
        outbox_bytes: int,
    ) -> None:
        self.identity = identity
        self.access = access
        self.framing = framing
        self.close = close
        self.outbox = Outbox(ready, outbox_bytes)
        self.room: Room | None = None  # set by the room that takes it in
        self.synced = False  # asked for the document, and is sent its updates since
        self.asked: list[bool] = []  # our open first steps; whether the client counts its answer as unsaved
        self.early = 0  # updates that are acknowledged together with the answer to our first counted question
        self.missed = 0  # updates not taken in because something before them is lacking; a resync brings them
        self.writes: set[int] = set()  # Yjs client ids that this session writes under
        self.lost: set[int] = set()  # those that a newer session of the same user took over

    def detach(self) -> None:
        """The connection is gone. Without the ties to it, neither waits for the garbage collector."""
        self.room = None
        self.close = _ignore
        self.outbox.clear()
        self.outbox.detach()


def _ignore(error: CollabError) -> None:
    """Nobody is there to be told."""
