"""Decide from outside whether a worker hangs. Pure."""

from __future__ import annotations

from collections.abc import Callable


class Vigil:
    """Watches one worker; called about ten times a second.

    A note past its deadline does not prove a hang: on an overloaded machine, or one that was asleep, the worker may not
    have had CPU time. It hangs if it then uses ``grace`` more seconds of CPU, or ``patience`` seconds pass. A worker
    without a note hangs if its pulse does not change for ``looks`` calls.
    """

    def __init__(self, *, grace: float = 0.5, patience: float = 10.0, looks: int = 300) -> None:
        self._grace = grace
        self._patience = patience
        self._looks = looks
        self._overdue: tuple[int, float, float | None] | None = None  # turn, time and CPU time when first seen
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
        """Whether the worker's pulse has not changed for too long."""
        if pulse != self._pulse:
            self._pulse = pulse
            self._same_pulse = 0
        self._same_pulse += 1
        return self._same_pulse > self._looks
