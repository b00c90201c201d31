"""Memory that is not needed any more goes back to the system."""

from __future__ import annotations

import ctypes
import gc
import sys


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
