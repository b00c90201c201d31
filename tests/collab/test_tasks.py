"""Tasks that no caller waits for: kept until they end, and heard of when they fail."""

from __future__ import annotations

import asyncio
import gc

import pytest

from collab.tasks import BackgroundTasks, for_each


async def test_a_task_is_kept_until_it_ends_though_nobody_else_refers_to_it() -> None:
    go, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await go.wait()
        ended.set()

    tasks = BackgroundTasks(lambda error: None)
    tasks.spawn(work())
    await asyncio.sleep(0)
    gc.collect()
    assert len(tasks) == 1
    go.set()
    await tasks.wait()
    assert ended.is_set()
    assert len(tasks) == 0


async def test_an_exception_is_reported_and_the_other_tasks_go_on() -> None:
    errors: list[BaseException] = []
    done: list[int] = []

    async def work(number: int) -> None:
        await asyncio.sleep(0)
        if number == 1:
            raise ValueError(number)
        done.append(number)

    tasks = BackgroundTasks(errors.append)
    for number in range(3):
        tasks.spawn(work(number))
    await tasks.wait()
    assert done == [0, 2]
    assert [str(error) for error in errors] == ["1"]


async def test_cancelled_tasks_end_and_report_nothing() -> None:
    errors: list[BaseException] = []
    tasks = BackgroundTasks(errors.append)
    tasks.spawn(asyncio.sleep(3600))
    tasks.spawn(asyncio.sleep(3600))
    tasks.cancel()
    await tasks.wait()
    assert list(tasks) == []
    assert errors == []


async def test_one_that_takes_long_holds_up_no_more_than_its_place() -> None:
    go, begun, done = asyncio.Event(), 0, list[int]()

    async def work(number: int) -> None:
        nonlocal begun
        begun += 1
        assert begun <= 3
        await (go.wait() if number == 0 else asyncio.sleep(0))
        done.append(number)
        begun -= 1

    working = asyncio.create_task(for_each(range(10), work, at_once=3))
    while len(done) < 9:
        await asyncio.sleep(0)
    assert not working.done()
    go.set()
    await working
    assert sorted(done) == list(range(10))


async def test_the_error_of_one_is_raised() -> None:
    async def work(number: int) -> None:
        raise ValueError(number)

    with pytest.raises(ValueError, match="7"):
        await for_each([7], work, at_once=2)
    await for_each([], work, at_once=2)
