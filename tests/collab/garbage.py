"""Which objects need the garbage collector to go."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager

import anyio


@contextmanager
def without_collector() -> Iterator[None]:
    """Inside the block only reference counting frees objects; :func:`alive` sees only what comes into being there."""
    gc.collect()
    gc.freeze()  # other tests' objects, which pytest and hypothesis may hold
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()


def alive(*kinds: type) -> list[str]:
    """The types of all objects of these kinds, inside of :func:`without_collector` those that are younger."""
    return [type(each).__name__ for each in gc.get_objects() if issubclass(type(each), kinds)]


async def until_gone(*kinds: type) -> None:
    """Wait until no object of these kinds is left; fail with what is."""
    with anyio.move_on_after(40):
        while alive(*kinds):
            await asyncio.sleep(0.05)
    assert alive(*kinds) == []
