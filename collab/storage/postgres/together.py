"""Reads of many callers at once in one statement: a round trip costs more than a row."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from collab.tasks import BackgroundTasks

Key = TypeVar("Key")
Found = TypeVar("Found")

_MOST = 100


class Together(Generic[Key, Found]):
    """Finds something for each key; ``read`` finds it for several, in their order.

    What is asked for in one turn of the event loop is read at once. Whatever ``read`` raises, all its callers get.
    """

    def __init__(self, read: Callable[[Sequence[Key]], Awaitable[Sequence[Found]]]) -> None:
        self._read = read
        self._asked: list[tuple[Key, asyncio.Future[Found]]] = []
        self._tasks = BackgroundTasks(lambda error: None)  # they never fail

    async def find(self, key: Key) -> Found:
        """What belongs to a key."""
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._start)
        found: asyncio.Future[Found] = loop.create_future()
        self._asked.append((key, found))
        return await found

    def _start(self) -> None:
        asked, self._asked = self._asked, []
        for first in range(0, len(asked), _MOST):
            self._tasks.spawn(self._answer(asked[first : first + _MOST]))

    async def _answer(self, asked: Sequence[tuple[Key, asyncio.Future[Found]]]) -> None:
        try:
            answers = await self._read([key for key, _ in asked])
        except Exception as error:
            for _, found in asked:
                if not found.done():
                    found.set_exception(error)
            return
        for (_, found), answer in zip(asked, answers, strict=True):
            if not found.done():
                found.set_result(answer)
