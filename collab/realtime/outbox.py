"""What a session still has to be sent, in bounded memory and at a bounded rate.

*Replies* wait in order; their number is limited, for they answer the reader's own requests. *Events* pass at once
while their rate and the reader allow it. Otherwise they wait in the stream of their subscription, which knows how to
make few of many; streams take turns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from collab.access.limits import TokenBucket
from collab.errors import RateLimitExceeded
from collab.realtime.listeners import Later, Timer

Frame: TypeAlias = bytes | str
"""The content of a binary or a text message."""

SLOT = 0.05
"""Seconds between two attempts to send what waits for its rate: what happens meanwhile is sent as one."""


class Stream(Protocol):
    """What waits for one subscription."""

    def __bool__(self) -> bool:
        """Whether anything waits."""

    def take(self) -> Frame | None:
        """The next message of what waits. ``None``: it is not to be sent yet, or not any more."""


class Outbox:
    """The queue between a session and its socket.

    ``ready`` is called when there is something to drain and nothing was before. ``limit`` is how many bytes of
    events may be queued, ``rate`` how many of them a second (0: any).
    """

    __slots__ = (
        "_bucket",
        "_clock",
        "_event_bytes",
        "_later",
        "_limit",
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
        self.limit_rate(rate)

    def limit_rate(self, rate: float) -> None:
        """From now on, so many events a second (0: any)."""
        self._rate = rate
        self._bucket = TokenBucket(rate, 0, burst=max(1.0, 1.0 / rate) if rate else 1.0)

    @property
    def waiting(self) -> int:
        """How many streams have something that waits."""
        return len(self._streams)

    @property
    def queued_bytes(self) -> int:
        """Bytes that the reader has not taken yet."""
        return self._event_bytes + self._reply_bytes

    @property
    def reply_bytes(self) -> int:
        """Those of replies."""
        return self._reply_bytes

    def reply(self, frame: Frame) -> None:
        """Queue an answer. Raises :class:`RateLimitExceeded` when the reader asks without ever reading."""
        if self._replies >= self._reply_limit:
            raise RateLimitExceeded("too many unread replies")
        self._replies += 1
        self._reply_bytes += len(frame)
        self._push(frame)

    def say(self, frame: Frame) -> None:
        """Queue what is neither: a word about the session or a subscription, of which there are few."""
        self._reply_bytes += len(frame)
        self._push(frame)

    def event(self, frame: Callable[[], Frame]) -> bool:
        """Queue an event if that is possible now. If not, the answer is no, and ``frame`` was not asked for."""
        if self._streams or self._event_bytes >= self._limit or not self._bucket.take(0, self._clock()):
            return False
        made = frame()
        self._event_bytes += len(made)
        self._push(made)
        return True

    def wait(self, stream: Stream) -> None:
        """Something waits in ``stream``."""
        if stream not in self._streams:
            self._streams[stream] = None
            self._wake_later()

    def forget(self, stream: Stream) -> None:
        """Nothing of ``stream`` is to be sent any more."""
        self._streams.pop(stream, None)

    def drain(self) -> list[Frame]:
        """Take everything that may be sent now, in order."""
        self._release()
        frames, self._queue = self._queue, []
        self._replies = self._reply_bytes = self._event_bytes = 0
        if self._streams:
            if self._rate:
                self._wake_later()
            else:
                self._ready()
        return frames

    def close(self) -> None:
        """Forget everything, and wake nobody any more: nobody will read it."""
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
        """Queue what waits, a message of each stream in turn, as far as rate and room allow."""
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
        if self._timer is None and self._event_bytes < self._limit:
            wait = SLOT if self._rate else 0.0
            self._timer = self._later(max(wait, self._bucket.wait), self._slot)

    def _slot(self) -> None:
        self._timer = None
        self._release()
        if self._streams:
            self._wake_later()


def _wake_nobody() -> None:
    """The reader is gone."""
