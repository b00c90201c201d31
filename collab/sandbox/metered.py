"""Measures the CPU time of a task."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from time import perf_counter
from types import CoroutineType
from typing import Any

from collab.access.price import METER, Meter

_WORTH_ADDING = 0.0005  # seconds: most steps take less


async def metered(work: Callable[[], Awaitable[None]], meter: Meter) -> None:
    """Run ``work`` and charge the time during which it occupies the event loop.

    It takes a function, because a coroutine would never be awaited if the task is cancelled before it begins.
    """
    token = METER.set(meter)
    try:
        await _Timed(work(), meter)
    finally:
        METER.reset(token)


class _Timed:
    __slots__ = ("_meter", "_work")

    def __init__(self, work: Awaitable[None], meter: Meter) -> None:
        self._work = work
        self._meter = meter

    def __await__(self) -> Generator[Any, Any, None]:
        work = self._work if type(self._work) is CoroutineType else _coroutine(self._work)
        step: Callable[[Any], Any] = work.send
        value: Any = None
        spent = 0.0
        try:
            while True:
                began = perf_counter()
                try:
                    waits_for = step(value)
                except StopIteration:
                    return
                finally:
                    spent += perf_counter() - began
                    if spent > _WORTH_ADDING:
                        self._meter.add(spent)
                        spent = 0.0
                try:
                    value = yield waits_for
                    step = work.send
                except BaseException as error:
                    step, value = work.throw, error
        finally:
            value = None  # an exception's traceback refers to this frame, which must not refer back
            self._meter.add(spent)


async def _coroutine(work: Awaitable[None]) -> None:
    await work
