"""The CPU time of a task is charged to its payer."""

from __future__ import annotations

import asyncio
from time import perf_counter

import pytest

from collab.access.price import METER, Ledger, Meter, Payer, Share
from collab.sandbox.metered import metered

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

    await metered(work(), meter)
    assert METER.get() is None
    assert book.used["p", "user"] >= 0.02
    assert ("", "address") not in book.used


async def test_metering_preserves_exceptions_and_cancellation() -> None:
    meter = Meter(ledger(), ADA)

    async def fail() -> None:
        await asyncio.sleep(0)
        raise KeyError("x")

    with pytest.raises(KeyError):
        await metered(fail(), meter)
    ended = []

    async def wait() -> None:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            ended.append(1)
            raise

    task = asyncio.ensure_future(metered(wait(), meter))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [1]
