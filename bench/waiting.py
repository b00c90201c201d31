"""Waiting for a condition."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter


async def until(holds: Callable[[], bool], seconds: float, every: float = 0.02) -> bool:
    """Poll a condition. Returns whether it became true within ``seconds``."""
    deadline = perf_counter() + seconds
    while not holds():  # polling, because the condition depends on other processes
        if perf_counter() > deadline:
            return False
        await asyncio.sleep(every)
    return True
