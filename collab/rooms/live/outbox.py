"""The bounded send queue of one session.

Each of four kinds of traffic treats a slow reader differently. *Replies* wait in order; their number is limited,
because the reader asked for each. *Updates* wait in order up to a number of bytes; beyond it they are dropped, and one
diff replaces them when the socket drains. Of *presence* only the newest state of each client is sent.
*Acknowledgements* are all alike and only counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from collab.errors import RateLimitExceeded

Clocks = Mapping[int, int]


class RoomOutbox:
    """The queue between a room and one session's socket.

    ``ready`` is called when an empty queue gets something to drain.
    """

    __slots__ = (
        "_ack",
        "_acks",
        "_behind",
        "_limit",
        "_presence",
        "_queue",
        "_ready",
        "_replies",
        "_reply_limit",
        "_stale",
        "_update_bytes",
        "acknowledged",
    )

    def __init__(self, ready: Callable[[], None], limit: int, reply_limit: int = 1024) -> None:
        self._ready = ready
        self._limit = limit
        self._reply_limit = reply_limit
        # (frame, clocks before it) for an update; (frame, None) for a reply
        self._queue: list[tuple[bytes, Clocks | None]] = []
        self._update_bytes = 0
        self._replies = 0
        self.acknowledged = 0  # edits that the reader was told are saved
        self._ack = b""
        self._acks = 0
        self._behind: dict[int, int] | None = None
        self._presence: tuple[bytes, frozenset[int]] | None = None
        self._stale: set[int] | None = None

    def __bool__(self) -> bool:
        return (
            bool(self._queue)
            or self._acks > 0
            or self._presence is not None
            or self._behind is not None
            or self._stale is not None
        )

    @property
    def update_bytes(self) -> int:
        """Bytes of queued updates."""
        return self._update_bytes

    @property
    def is_behind(self) -> bool:
        """Whether updates were dropped, to be replaced by a diff."""
        return self._behind is not None

    def reply(self, frame: bytes) -> None:
        """Queue an answer. Raises :class:`RateLimitExceeded` if the client asks without reading the answers."""
        if self._replies >= self._reply_limit:
            raise RateLimitExceeded("too many unread replies")
        was_empty = not self
        self._queue.append((frame, None))
        self._replies += 1
        if was_empty:
            self._ready()

    def acknowledge(self, frame: bytes) -> None:
        """Count one more edit as saved. ``frame`` acknowledges one edit and is the same every time."""
        was_empty = not self
        self._ack = frame
        self._acks += 1
        if was_empty:
            self._ready()

    def update(self, frame: bytes, before: Clocks) -> None:
        """Queue an update of the document. ``before`` holds the clock before it of each client that it writes for."""
        if self._behind is not None:
            self._fall_behind(before)
            return
        if self._update_bytes + len(frame) > self._limit and self._update_bytes:
            self._forget_updates()
            self._fall_behind(before)
            return
        was_empty = not self
        self._queue.append((frame, before))
        self._update_bytes += len(frame)
        if was_empty:
            self._ready()

    def miss(self, before: Clocks) -> None:
        """An update could not be queued: drop the queued updates, and let a diff replace them."""
        was_empty = not self
        if self._behind is None:
            self._forget_updates()
        self._fall_behind(before)
        if was_empty:
            self._ready()

    def wake(self) -> None:
        """Call ``ready`` again if there is something to drain."""
        if self:
            self._ready()

    def presence(self, frame: bytes, clients: frozenset[int]) -> None:
        """Queue the newest awareness states of ``clients``, as one shared frame."""
        if self._stale is not None:
            self._stale |= clients
        elif self._presence is not None:
            self._stale = set(self._presence[1] | clients)
            self._presence = None
        else:
            was_empty = not self
            self._presence = (frame, clients)
            if was_empty:
                self._ready()

    def drain(
        self, catch_up: Callable[[Clocks], Iterable[bytes]], encode_presence: Callable[[Iterable[int]], bytes]
    ) -> list[bytes]:
        """Remove everything and return it in order.

        ``catch_up`` frames a diff: it gets the reader's clock of each client whose updates were dropped.
        ``encode_presence`` frames the current awareness states of some clients.
        """
        frames = [frame for frame, _ in self._queue]
        self._queue.clear()
        self._update_bytes = self._replies = 0
        if self._behind is not None:
            behind, self._behind = self._behind, None
            frames.extend(catch_up(behind))
        if self._acks:
            frames.extend([self._ack] * self._acks)
            self.acknowledged += self._acks
            self._acks = 0
        if self._presence is not None:
            frames.append(self._presence[0])
            self._presence = None
        if self._stale is not None:
            frames.append(encode_presence(self._stale))
            self._stale = None
        return frames

    def clear(self) -> None:
        """Drop everything; the reader is gone."""
        self._queue.clear()
        self._behind = self._presence = self._stale = None
        self._update_bytes = self._replies = self._acks = 0

    def detach(self) -> None:
        """Never call ``ready`` again."""
        self._ready = _wake_nobody

    def _forget_updates(self) -> None:
        self._behind = {}
        kept: list[tuple[bytes, Clocks | None]] = []
        for entry in self._queue:
            if entry[1] is None:
                kept.append(entry)
            else:
                self._fall_behind(entry[1])
        self._queue = kept
        self._update_bytes = 0

    def _fall_behind(self, before: Clocks) -> None:
        assert self._behind is not None
        for client, clock in before.items():
            self._behind.setdefault(client, clock)


def _wake_nobody() -> None: ...
