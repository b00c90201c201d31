"""Rate limits and quotas of one caller. Pure: time is an argument, from any monotonic clock."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable

_CALLERS = 10_000  # callers remembered; the least recently active is dropped first


class TokenBucket:
    """Limits messages and bytes per second of one connection; a rate of 0 is no limit.

    Unused capacity accumulates, up to ``burst`` seconds' worth. A message may overdraw the bucket and the next ones
    wait for the debt, so a single large message passes at any rate.
    """

    __slots__ = ("_at", "_burst", "_byte_rate", "_bytes", "_message_rate", "_messages")

    def __init__(self, messages_per_second: float, bytes_per_second: float, burst: float = 10.0) -> None:
        self._message_rate = messages_per_second
        self._byte_rate = bytes_per_second
        self._burst = burst
        self._messages = messages_per_second * burst
        self._bytes = bytes_per_second * burst
        self._at: float | None = None

    def take(self, size: int, now: float, count: int = 1) -> bool:
        """Count a message of ``size`` bytes, which counts as ``count`` messages.

        Returns whether it is within the limits; if not, nothing is counted.
        """
        passed = 0.0 if self._at is None else max(0.0, now - self._at)
        self._at = now
        self._messages = min(self._messages + passed * self._message_rate, self._message_rate * self._burst)
        self._bytes = min(self._bytes + passed * self._byte_rate, self._byte_rate * self._burst)
        if (self._message_rate and self._messages < 1) or (self._byte_rate and self._bytes <= 0):
            return False
        self._messages -= count
        self._bytes -= size
        return True

    @property
    def wait(self) -> float:
        """Seconds from the last :meth:`take` until the next one will be within the limits."""
        wait = (1 - self._messages) / self._message_rate if self._message_rate else 0.0
        return max(wait, -self._bytes / self._byte_rate if self._byte_rate else 0.0, 0.0)


class Rates:
    """A :class:`TokenBucket` for each caller, for requests without a connection."""

    __slots__ = ("_buckets", "_bytes_per_second", "_messages_per_second")

    def __init__(self, messages_per_second: float, bytes_per_second: float) -> None:
        self._messages_per_second = messages_per_second
        self._bytes_per_second = bytes_per_second
        self._buckets: OrderedDict[Hashable, TokenBucket] = OrderedDict()

    def take(self, who: Hashable, size: int, now: float, count: int = 1) -> float:
        """Count ``count`` requests of ``size`` bytes together.

        Returns 0 if they are within the limits, else the seconds to wait.
        """
        bucket = self._buckets.get(who)
        if bucket is None:
            bucket = self._buckets[who] = TokenBucket(self._messages_per_second, self._bytes_per_second)
            if len(self._buckets) > _CALLERS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(who)
        return 0.0 if bucket.take(size, now, count) else max(bucket.wait, 0.001)

    def __len__(self) -> int:
        return len(self._buckets)


class Strikes:
    """Counts clients that reconnect after a permanent refusal.

    After ``count`` strikes within ``window`` seconds the caller is refused until ``penalty`` seconds after the last
    strike. y-websocket 2 reconnects immediately whatever the close code; a refused handshake makes it back off.
    """

    __slots__ = ("_callers", "_count", "_penalty", "_window")

    def __init__(self, count: int = 5, window: float = 60.0, penalty: float = 30.0) -> None:
        self._count = count
        self._window = window
        self._penalty = penalty
        self._callers: OrderedDict[Hashable, deque[float]] = OrderedDict()

    def allowed(self, who: Hashable, now: float) -> bool:
        """Whether ``who`` may connect."""
        times = self._callers.get(who)
        if times is None or len(times) < self._count:
            return True
        return times[-1] - times[0] > self._window or now >= times[-1] + self._penalty

    def strike(self, who: Hashable, now: float) -> None:
        """Record a permanent refusal of ``who``."""
        times = self._callers.pop(who, None)
        if times is None or now >= times[-1] + max(self._window, self._penalty):
            times = deque(maxlen=self._count)
        times.append(now)
        self._callers[who] = times
        if len(self._callers) > _CALLERS:
            self._callers.popitem(last=False)

    def __len__(self) -> int:
        return len(self._callers)
