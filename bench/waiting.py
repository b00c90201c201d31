"""Waiting for a condition."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter


async def until(holds: Callable[[], bool], seconds: float, every: float = 0.02) -> bool:
    """Whether a condition came true within so many seconds."""
    deadline = perf_counter() + seconds
    while not holds():  # looking is the only way: what is waited for happens in other processes
        if perf_counter() > deadline:
            return False
        await asyncio.sleep(every)
    return True
