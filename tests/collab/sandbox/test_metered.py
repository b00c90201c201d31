"""The CPU time of a task is charged to its payer."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable
from time import perf_counter

import pytest

from collab.access.price import METER, Ledger, Meter, Payer, Share
from collab.sandbox.metered import metered
from tests.collab.garbage import without_collector

ADA = Payer("p", "user", "ada")


def ledger() -> Ledger:
    return Ledger(user=Share(0.25), address=Share(0.5), project=Share(0.0))


async def test_a_task_is_charged_for_the_time_that_it_keeps_the_loop_and_not_for_waiting() -> None:
    book = ledger()
    meter = Meter(book, Payer(None, "address", "::1"))

    async def work() -> None:
        running = METER.get()
        assert running is meter
        running.payer = ADA
        await asyncio.sleep(0.2)
        until = perf_counter() + 0.02
        while perf_counter() < until:
            pass

    await metered(work, meter)
    assert METER.get() is None
    assert book.used["p", "user"] >= 0.02
    assert ("", "address") not in book.used


async def test_metering_preserves_exceptions_and_cancellation() -> None:
    meter = Meter(ledger(), ADA)

    async def fail() -> None:
        await asyncio.sleep(0)
        raise KeyError("x")

    with pytest.raises(KeyError):
        await metered(fail, meter)
    ended = []

    async def wait() -> None:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            ended.append(1)
            raise

    task = asyncio.ensure_future(metered(wait, meter))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [1]


async def test_what_a_cancelled_task_held_needs_no_garbage_collector() -> None:
    meter = Meter(ledger(), ADA)

    class Held:
        """What only the work refers to."""

    gone: list[weakref.ref[Held]] = []

    async def wait() -> None:
        held = Held()
        gone.append(weakref.ref(held))
        await asyncio.sleep(100)

    with without_collector():
        task = asyncio.ensure_future(metered(wait, meter))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert gone[0]() is not None, "the task keeps its traceback"
        del task
        await asyncio.sleep(0)
        assert gone[0]() is None


async def test_a_task_that_is_cancelled_before_it_begins_has_made_nothing() -> None:
    made = []

    def work() -> Awaitable[None]:
        made.append(asyncio.sleep(0))
        return made[-1]

    task = asyncio.ensure_future(metered(work, Meter(ledger(), ADA)))
    task.cancel()
    await asyncio.wait([task])
    assert (task.cancelled(), made) == (True, [])
