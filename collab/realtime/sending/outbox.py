"""The outgoing queue of a session, with limits on memory and rate.

*Replies* are queued in order, up to a maximum number, because they answer the client's own requests. *Events* are
queued immediately if the rate and the reader allow it. Otherwise they wait in the stream of their subscription, which
can merge them; streams take turns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from collab.access.limits import TokenBucket
from collab.errors import RateLimitExceeded
from collab.realtime.listeners import Later, Timer
from collab.wire.realtime.encoding import Frame

SLOT = 0.05
"""Seconds between attempts to send rate-limited events; events in between are merged."""


class Stream(Protocol):
    """Waiting events of one subscription."""

    def __bool__(self) -> bool:
        """Whether events wait."""

    def take(self) -> Frame | None:
        """Return the next message. ``None``: nothing to send yet, or any more."""

    def close(self) -> None:
        """Drop everything, and cut the references to the subscription: it need not wait for the garbage collector."""


class SessionOutbox:
    """The queue between a session and its socket.

    ``ready`` is called when the queue becomes non-empty. ``limit`` is the maximum number of queued event bytes,
    ``rate`` the maximum number of events per second (0: unlimited).
    """

    __slots__ = (
        "_bucket",
        "_clock",
        "_event_bytes",
        "_later",
        "_limit",
        "_paused",
        "_queue",
        "_rate",
        "_ready",
        "_replies",
        "_reply_bytes",
        "_reply_limit",
        "_streams",
        "_timer",
    )

    def __init__(
        self,
        ready: Callable[[], None],
        *,
        clock: Callable[[], float],
        later: Later,
        limit: int,
        rate: float = 0,
        reply_limit: int = 1024,
    ) -> None:
        self._ready = ready
        self._clock = clock
        self._later = later
        self._limit = limit
        self._reply_limit = reply_limit
        self._queue: list[Frame] = []
        self._replies = 0
        self._reply_bytes = 0
        self._event_bytes = 0
        self._streams: dict[Stream, None] = {}
        self._timer: Timer | None = None
        self._paused = False
        self.limit_rate(rate)

    def limit_rate(self, rate: float) -> None:
        """Set the maximum number of events per second (0: unlimited)."""
        self._rate = rate
        self._bucket = TokenBucket(rate, 0, burst=max(1.0, 1.0 / rate) if rate else 1.0)

    def pause(self, paused: bool) -> None:
        """Queue no more events, or again. Meanwhile they wait in their streams; replies are not affected."""
        self._paused = paused
        if not paused and self._streams:
            self._wake_later()

    @property
    def waiting(self) -> int:
        """Number of streams with waiting events."""
        return len(self._streams)

    @property
    def queued_bytes(self) -> int:
        """Bytes that the reader has not taken yet."""
        return self._event_bytes + self._reply_bytes

    @property
    def reply_bytes(self) -> int:
        """Those bytes that belong to replies."""
        return self._reply_bytes

    def reply(self, frame: Frame) -> None:
        """Queue a reply. Raises :class:`RateLimitExceeded` if the client sends requests without reading."""
        if self._replies >= self._reply_limit:
            raise RateLimitExceeded("too many unread replies")
        self._replies += 1
        self._reply_bytes += len(frame)
        self._push(frame)

    def say(self, frame: Frame) -> None:
        """Queue a message about the session or a subscription; there are few of these."""
        self._reply_bytes += len(frame)
        self._push(frame)

    def event(self, frame: Callable[[], Frame]) -> bool:
        """Queue an event if possible now. Otherwise return false without calling ``frame``."""
        if self._paused or self._streams or self._event_bytes >= self._limit:
            return False
        if not self._bucket.take(0, self._clock()):
            return False
        made = frame()
        self._event_bytes += len(made)
        self._push(made)
        return True

    def wait(self, stream: Stream) -> None:
        """Events wait in ``stream``; send them when possible."""
        if stream not in self._streams:
            self._streams[stream] = None
            self._wake_later()

    def forget(self, stream: Stream) -> None:
        """Drop ``stream``."""
        self._streams.pop(stream, None)

    def drain(self) -> list[Frame]:
        """Take all messages that may be sent now, in order."""
        self._release()
        frames, self._queue = self._queue, []
        self._replies = self._reply_bytes = self._event_bytes = 0
        if self._streams and not self._paused:
            if self._rate:
                self._wake_later()
            else:
                self._ready()
        return frames

    def close(self) -> None:
        """Drop everything and stop calling ``ready``."""
        self._ready = _wake_nobody
        self._queue.clear()
        self._streams.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _push(self, frame: Frame) -> None:
        self._queue.append(frame)
        if len(self._queue) == 1:
            self._ready()

    def _release(self) -> None:
        """Queue waiting events, one message per stream in turn, as far as rate and room allow."""
        if self._paused:
            return
        now = self._clock()
        while self._streams and self._event_bytes < self._limit and self._bucket.take(0, now):
            stream = next(iter(self._streams))
            del self._streams[stream]
            frame = stream.take() if stream else None
            if frame is None:
                continue
            if stream:
                self._streams[stream] = None
            self._event_bytes += len(frame)
            self._push(frame)

    def _wake_later(self) -> None:
        if self._timer is None and not self._paused and self._event_bytes < self._limit:
            wait = SLOT if self._rate else 0.0
            self._timer = self._later(max(wait, self._bucket.wait), self._slot)

    def _slot(self) -> None:
        self._timer = None
        self._release()
        if self._streams:
            self._wake_later()


def _wake_nobody() -> None:
    """No reader remains."""
