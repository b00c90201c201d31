"""Garbage that reference counting does not find, and return of unused memory to the operating system.

Python's collector looks at all objects again and again while their number grows: 10,000 sessions that came back at once
had two pauses of a second. In a worker, what survives one full collection is therefore not looked at in the next ones
(``gc.freeze``), so that each takes some milliseconds, until :class:`Leftovers` finds it worth to look at everything.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from time import monotonic

_AT_LEAST = 100  # look at everything once more rooms and sockets were closed than this, and than are open
_SHARE = 0.01  # of the time; everybody waits meanwhile: half a second with 100,000 live queries
_THRESHOLDS = (700, 10, 5)
"""Of the collector: a full collection after 35,000 new objects, which takes some 10 ms."""
_MANY = 50  # full collections whose survivors nobody has looked at since, in quiet times
_TOO_MANY = 150  # the same, in any times
_QUIET = 10.0  # seconds without one


class Leftovers:
    """Decides when to free the memory that closed rooms, and sockets of several documents, leave behind.

    They are in no reference cycles, but objects around them may be; and the allocator keeps the memory that they took.
    A socket of one document counts with its room.
    """

    def __init__(self) -> None:
        self._open = 0
        self._closed = 0
        self._not_before = 0.0
        self._freezes = False
        self._frozen = 0  # full collections since the last look at everything
        self._frozen_at = 0.0

    def start(self) -> None:
        """Collect in short pauses from now on, in this whole process; what exists now is permanent."""
        self._freezes = True
        gc.freeze()
        gc.set_threshold(*_THRESHOLDS)
        gc.callbacks.append(self._collected)

    def stop(self) -> None:
        """Undo :meth:`start`, except for the thresholds."""
        self._freezes = False
        gc.callbacks.remove(self._collected)
        gc.unfreeze()

    def _collected(self, phase: str, info: dict[str, int]) -> None:
        if phase == "stop" and info["generation"] == 2:
            gc.freeze()
            self.froze(monotonic())

    def froze(self, now: float) -> None:
        """What survived a full collection is not looked at any more."""
        self._frozen += 1
        self._frozen_at = now

    def opened(self) -> None:
        """A room or a socket has been opened."""
        self._open += 1

    def closed(self) -> None:
        """A room or a socket has been closed."""
        self._open -= 1
        self._closed += 1

    def worth_it(self, now: float) -> bool:
        """Whether enough was closed or not looked at, and the last look at everything is long enough ago."""
        many = _MANY if self._frozen_at + _QUIET <= now else _TOO_MANY
        return (self._closed > max(_AT_LEAST, self._open) or self._frozen >= many) and now >= self._not_before

    def given_back(self, began: float, now: float) -> None:
        """Memory was freed, from ``began`` to ``now``."""
        self._closed = self._frozen = 0
        self._not_before = now + (now - began) / _SHARE

    def give_back(self) -> None:
        """Collect cycles, and have the allocator return its free memory.

        Python's own allocator keeps 1 MiB as long as one object in it lives: for ever, after a surge of clients. So the
        supervisor starts workers with the system's allocator (``PYTHONMALLOC=malloc``), which can be trimmed.
        """
        began = monotonic()
        if self._freezes:
            gc.unfreeze()
        gc.collect()
        if sys.platform == "linux":
            trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl does not
            if trim is not None:
                trim(0)
        self.given_back(began, monotonic())
