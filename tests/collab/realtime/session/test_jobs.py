from __future__ import annotations

import asyncio
from collections.abc import Callable

import anyio
import pytest

from collab.errors import RateLimitExceeded
from collab.realtime.session.jobs import Jobs, Work


class Gate:
    """Work that waits to be let through, and remembers what began and what ended."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.begun: list[str] = []
        self.ended: list[str] = []

    def work(self, name: str) -> Work:
        async def work() -> None:
            self.begun.append(name)
            await self.open.wait()
            self.ended.append(name)

        return work


async def until(true: Callable[[], bool]) -> None:
    with anyio.fail_after(40):
        while not true():
            await asyncio.sleep(0)


async def test_only_so_many_run_at_once_and_the_rest_in_order() -> None:
    jobs, gate = Jobs(at_once=2), Gate()
    for name in "abcd":
        jobs.add(gate.work(name))
    await until(lambda: len(gate.begun) == 2)
    assert len(jobs) == 4
    gate.open.set()
    await until(lambda: not len(jobs))
    assert gate.begun == list("abcd")


async def test_a_lane_is_done_in_order_and_others_pass_it() -> None:
    jobs, slow, fast = Jobs(), Gate(), Gate()
    for name in "abc":
        jobs.add(slow.work(name), lanes=("x",))
    jobs.add(fast.work("d"), lanes=("y",))
    fast.open.set()
    await until(lambda: fast.ended == ["d"])
    assert slow.begun == ["a"]
    slow.open.set()
    await until(lambda: not len(jobs))
    assert slow.ended == list("abc")
    assert not jobs._lanes


async def test_too_many_or_too_large_are_refused_but_never_own_work() -> None:
    jobs, gate = Jobs(at_once=1, waiting=2, waiting_bytes=100), Gate()
    jobs.add(gate.work("runs"), size=1000)
    jobs.add(gate.work("waits"), size=60)
    with pytest.raises(RateLimitExceeded):
        jobs.add(gate.work("large"), size=60)
    jobs.add(gate.work("small"), size=10)
    with pytest.raises(RateLimitExceeded):
        jobs.add(gate.work("third"))
    jobs.add(gate.work("own"), own=True)
    gate.open.set()
    await until(lambda: not len(jobs))
    assert gate.ended == ["runs", "waits", "small", "own"]


async def test_paused_nothing_begins() -> None:
    jobs, gate = Jobs(), Gate()
    jobs.pause(True)
    jobs.add(gate.work("a"))
    await asyncio.sleep(0)
    assert gate.begun == []
    jobs.pause(False)
    await until(lambda: gate.begun == ["a"])
    jobs.stop()


async def test_what_failed_frees_its_place() -> None:
    async def fails() -> None:
        raise RuntimeError

    jobs, gate = Jobs(at_once=1), Gate()
    gate.open.set()
    jobs.add(fails, lanes=("x",))
    jobs.add(gate.work("a"), lanes=("x",))
    await until(lambda: gate.ended == ["a"])


async def test_stopping_forgets_what_waits_cancels_what_runs_and_lets_end_what_is_to_finish() -> None:
    jobs, gate = Jobs(at_once=2), Gate()
    jobs.add(gate.work("read"))
    jobs.add(gate.work("write"), finish=True)
    jobs.add(gate.work("never"), lanes=("x",))
    await until(lambda: len(gate.begun) == 2)
    jobs.stop()
    gate.open.set()
    await until(lambda: not len(jobs))
    assert gate.ended == ["write"]
    assert gate.begun == ["read", "write"]


async def test_a_job_in_several_lanes_waits_for_all_and_holds_all() -> None:
    jobs, first, both, last = Jobs(), Gate(), Gate(), Gate()
    jobs.add(first.work("x1"), lanes=("x",))
    jobs.add(first.work("y1"), lanes=("y",))
    jobs.add(both.work("xy"), lanes=("x", "y", "x"))
    jobs.add(last.work("x2"), lanes=("x",))
    jobs.add(last.work("y2"), lanes=("y", "z"))
    jobs.add(last.work("z2"), lanes=("z",))
    await until(lambda: first.begun == ["x1", "y1"])
    assert not both.begun
    first.open.set()
    await until(lambda: both.begun == ["xy"])
    assert not last.begun
    last.open.set()
    both.open.set()
    await until(lambda: not len(jobs))
    assert last.ended == ["x2", "y2", "z2"]
    assert not jobs._lanes


async def test_what_comes_after_a_lane_waits_for_what_is_in_it_and_keeps_its_own_lane() -> None:
    jobs, slow, fast = Jobs(), Gate(), Gate()
    fast.open.set()
    jobs.add(slow.work("a"), lanes=("x",))
    jobs.add(slow.work("b"), lanes=("x",))
    jobs.add(fast.work("write"), lanes=("y",), after="x")
    jobs.add(fast.work("read"), lanes=("y",))
    jobs.add(slow.work("c"), lanes=("x",))
    jobs.add(fast.work("other"))
    await until(lambda: fast.ended == ["other"])
    assert slow.begun == ["a"]
    slow.open.set()
    await until(lambda: not len(jobs))
    assert fast.ended == ["other", "write", "read"]
    assert slow.ended == list("abc")
    assert not jobs._lanes
