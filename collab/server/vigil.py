"""Whether a worker hangs, judged from what can be seen from outside. Pure."""

from __future__ import annotations

from collections.abc import Callable


class Vigil:
    """Watches one worker; asked again and again, about ten times a second.

    A note past its deadline is not yet a hang: on a machine with too much to do, or one that was asleep, the
    worker may not have had the time. It hangs if it then computes for ``grace`` seconds more, or does nothing
    for ``patience`` seconds. A worker without a note hangs if it gives no sign of life in ``looks`` looks.
    """

    def __init__(self, *, grace: float = 0.5, patience: float = 10.0, looks: int = 300) -> None:
        self._grace = grace
        self._patience = patience
        self._looks = looks
        self._overdue: tuple[int, float, float | None] | None = None  # turn, time and processor time when first seen
        self._pulse = -1
        self._same_pulse = 0

    def hangs(self, standing: tuple[int, float] | None, now: float, cpu_seconds: Callable[[], float | None]) -> bool:
        """``standing`` is :meth:`collab.rooms.blackbox.SharedBlackBox.standing`; ``cpu_seconds`` is rarely called."""
        if standing is None or now <= standing[1]:
            self._overdue = None
            return False
        cpu = cpu_seconds()
        if self._overdue is None or self._overdue[0] != standing[0]:
            self._overdue = (standing[0], now, cpu)
            return False
        _, since, before = self._overdue
        if now - since >= self._patience:
            return True
        if cpu is None or before is None:
            return now - since >= self._grace
        return cpu - before >= self._grace

    def silent(self, pulse: int) -> bool:
        """Whether the worker has given no sign of life for too long."""
        if pulse != self._pulse:
            self._pulse = pulse
            self._same_pulse = 0
        self._same_pulse += 1
        return self._same_pulse > self._looks
