"""Quick reads of many callers in one thread, several at a time: handing one over costs more than reading a row."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from time import thread_time
from typing import Any, NamedTuple, TypeVar

from collab.access.price import METER, Meter
from collab.storage.sqlite.files import translate

T = TypeVar("T")
_Read = Callable[[sqlite3.Connection], Any]

_AT_ONCE = 16
_STRETCH = 0.001  # seconds of CPU after which the answers so far are passed on


class _Asked(NamedTuple):
    read: _Read
    answer: asyncio.Future[Any]
    meter: Meter | None


class _Answer(NamedTuple):
    value: Any
    error: Exception | None
    seconds: float


class Loads:
    """Reads in the order in which they were asked for. ``run`` calls a function in their thread.

    ``connection`` is called there. Each read is charged to the meter of its caller, even if that is cancelled.
    """

    def __init__(
        self,
        connection: Callable[[], sqlite3.Connection],
        run: Callable[[Callable[[], Sequence[_Answer]]], Awaitable[Sequence[_Answer]]],
    ) -> None:
        self._connection = connection
        self._run = run
        self._asked: deque[_Asked] = deque()
        self._work: asyncio.Task[None] | None = None

    async def load(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Return what ``read`` finds."""
        asked = _Asked(read, asyncio.get_running_loop().create_future(), METER.get())
        self._asked.append(asked)
        if self._work is None:
            self._work = asyncio.create_task(self._answer_all())
        answer: T = await asked.answer
        return answer

    async def _answer_all(self) -> None:
        try:
            while self._asked:
                some = [self._asked[at].read for at in range(min(len(self._asked), _AT_ONCE))]
                for value, error, seconds in await self._run(lambda: self._find(some)):  # noqa: B023 - it runs now
                    asked = self._asked.popleft()
                    if asked.meter is not None:
                        asked.meter.add(seconds)
                    if asked.answer.done():
                        continue
                    if error is not None:
                        asked.answer.set_exception(error)
                    else:
                        asked.answer.set_result(value)
        except Exception as error:  # there is no thread any more
            for asked in self._asked:
                if not asked.answer.done():
                    asked.answer.set_exception(error)
            self._asked.clear()
        finally:
            self._work = None

    def _find(self, reads: Sequence[_Read]) -> Sequence[_Answer]:
        answers: list[_Answer] = []
        first = began = thread_time()
        for read in reads:
            value, error = None, None
            try:
                value = translate(lambda: read(self._connection()))  # noqa: B023 - it runs now
            except Exception as failure:
                error = failure
            ended = thread_time()
            answers.append(_Answer(value, error, ended - began))
            if ended - first > _STRETCH:
                break
            began = ended
        return answers
