"""Virtual time, controlled by the test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(eq=False)
class Timer:
    at: float
    call: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class VirtualTime:
    """A clock and its scheduled calls."""

    now: float = 1000.0
    timers: list[Timer] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def later(self, delay: float, call: Callable[[], None]) -> Timer:
        timer = Timer(self.now + delay, call)
        self.timers.append(timer)
        return timer

    @property
    def waiting(self) -> int:
        return sum(not timer.cancelled for timer in self.timers)

    def pass_by(self, seconds: float) -> None:
        """Advance the clock and run the calls that become due."""
        end = self.now + seconds
        while due := [timer for timer in self.timers if not timer.cancelled and timer.at <= end]:
            timer = min(due, key=lambda timer: timer.at)
            self.timers.remove(timer)
            self.now = timer.at
            timer.call()
        self.now = end
