"""Threads that work for the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")


class _Job(NamedTuple):
    work: Callable[[], Any]
    answer: asyncio.Future[Any]


class Workers:
    """At most ``count`` threads, which begin work in the order in which it was asked for. Each calls ``begin`` first.

    Like an executor, but to hand work over and its result back takes a fraction of the steps. The threads end with
    :meth:`stop`, or with the process: whatever they do must survive that.
    """

    def __init__(self, name: str, count: int = 1, begin: Callable[[], object] = lambda: None) -> None:
        self._name = name
        self._count = count
        self._begin = begin
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads: list[Thread] = []
        self._stopped = False

    async def run(self, work: Callable[[], T]) -> T:
        """Return what ``work`` returns in a thread, or raise what it raises.

        If the caller is cancelled before ``work`` begins, it is left out. Raises :class:`RuntimeError` after
        :meth:`stop`.
        """
        if self._stopped:
            raise RuntimeError("these threads have ended")
        if len(self._threads) < self._count:
            thread = Thread(target=self._work, name=self._name, daemon=True)
            self._threads.append(thread)
            thread.start()
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job(work, answer))
        return await answer

    def stop(self) -> None:
        """Finish what was asked for, and end the threads."""
        self._stopped = True
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        self._begin()
        while (job := self._jobs.get()) is not None:
            _do(*job)
            del job  # it may hold much, and the next one may take its time


def _do(work: Callable[[], Any], answer: asyncio.Future[Any]) -> None:
    if answer.cancelled():
        return
    value, error = None, None
    try:
        value = work()
    except BaseException as failure:
        error = failure
    with suppress(RuntimeError):  # the event loop is closed: nobody waits
        answer.get_loop().call_soon_threadsafe(_settle, answer, value, error)


def _settle(answer: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(value)
