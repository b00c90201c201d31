"""Return of unused memory to the operating system."""

from __future__ import annotations

import ctypes
import gc
import sys

_ROOMS = 100  # collect once more rooms were closed than this, and than are open
_SHARE = 0.01  # of the time; everybody waits meanwhile: half a second with 100,000 live queries


class Leftovers:
    """Decides when to free the memory that closed rooms leave behind.

    Rooms are in no reference cycles, but objects around them may be; and the allocator keeps the memory that they took.
    """

    def __init__(self) -> None:
        self._rooms = 0
        self._not_before = 0.0

    def add(self) -> None:
        """A room has been closed."""
        self._rooms += 1

    def worth_it(self, open_rooms: int, now: float) -> bool:
        """Whether enough rooms were closed, and the last collection is long enough ago."""
        return self._rooms > max(_ROOMS, open_rooms) and now >= self._not_before

    def given_back(self, began: float, now: float) -> None:
        """Memory was freed, from ``began`` to ``now``."""
        self._rooms = 0
        self._not_before = now + (now - began) / _SHARE


def give_memory_back() -> None:
    """Collect cycles, and have the allocator return its free memory.

    Python's own allocator keeps 1 MiB as long as one object in it lives: for ever, after a surge of clients. So the
    supervisor starts workers with the system's allocator (``PYTHONMALLOC=malloc``), which can be trimmed.
    """
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it, musl does not
        if trim is not None:
            trim(0)
