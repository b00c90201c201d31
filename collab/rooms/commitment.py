"""Waiting for commits, with a timeout."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from collab.errors import Unavailable

T = TypeVar("T")

_PATIENCE = 10.0  # seconds


async def committed(told: asyncio.Future[T]) -> T:
    """The result of a commit.

    Raises :class:`Unavailable` after ten seconds: the write is accepted and waits for the storage, so it may still be
    stored. A caller that named it (``Idempotency-Key``) can retry without writing twice.
    """
    patience = told.get_loop().call_later(_PATIENCE, _give_up, told)  # asyncio.timeout costs several times as much
    try:
        return await told
    finally:
        patience.cancel()


async def all_committed(flush: Callable[[], Awaitable[None]]) -> None:
    """Call ``flush``, which returns once everything accepted is committed. Raises as :func:`committed`."""
    try:
        async with asyncio.timeout(_PATIENCE):
            await flush()
    except TimeoutError:
        raise _not_yet() from None


def _give_up(told: asyncio.Future[Any]) -> None:
    if not told.done():
        told.set_exception(_not_yet())


def _not_yet() -> Unavailable:
    return Unavailable("not stored yet, but may still be: the storage accepts no writes now", retryAfter=5.0)
