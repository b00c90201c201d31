"""What a worker was doing when it died: a note in memory shared with the supervisor.

Before bytes from outside reach the CRDT library the worker notes the document and the bytes; afterwards it
strikes the note. If the library kills or hangs the process, the supervisor finds the note.
"""

from __future__ import annotations

from typing import Protocol

from collab.names import RoomKey


class BlackBox(Protocol):
    """Where a room notes what it is about to hand to the CRDT library."""

    def begin(self, key: RoomKey, update: bytes, seconds: float, seq: int = 0) -> None:
        """Note that ``update`` (log row ``seq``, 0 if live) is being applied and may take ``seconds``."""

    def end(self) -> None:
        """Strike the note."""


class NoBlackBox:
    """For processes without a supervisor."""

    def begin(self, key: RoomKey, update: bytes, seconds: float, seq: int = 0) -> None:
        """Note nothing."""

    def end(self) -> None:
        """Strike nothing."""
