"""Memory that is not needed any more goes back to the system."""

from __future__ import annotations

import ctypes
import gc
import sys

_ROOMS = 100  # and as many as are open: then what they leave behind is worth a collection
_SHARE = 0.01  # of the time; everybody waits meanwhile, half a second where there are 100,000 live queries


class Leftovers:
    """When to give back what closed rooms leave behind.

    Rooms are in no cycles, but what had to do with them may be; and the allocator keeps what they took.
    """

    def __init__(self) -> None:
        self._rooms = 0
        self._not_before = 0.0

    def add(self) -> None:
        """A room has been closed."""
        self._rooms += 1

    def worth_it(self, open_rooms: int, now: float) -> bool:
        """Whether there is enough of it, and the last time is long enough ago."""
        return self._rooms > max(_ROOMS, open_rooms) and now >= self._not_before

    def given_back(self, began: float, now: float) -> None:
        """It has been given back, which took from ``began`` to ``now``."""
        self._rooms = 0
        self._not_before = now + (now - began) / _SHARE


def give_memory_back() -> None:
    """Collect cycles, and have the allocator let go of what is free.

    Python's own allocator holds 1 MiB as long as one object in it lives, which after a surge of clients is for ever;
    the supervisor starts workers with the system's allocator instead (``PYTHONMALLOC=malloc``), which can be trimmed.
    """
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; musl has none
        if trim is not None:
            trim(0)
