import asyncio
import gc
import threading
import weakref
from collections.abc import Iterator
from functools import partial

import pytest

from collab.storage.sqlite.workers import Workers


@pytest.fixture
def workers() -> Iterator[Workers]:
    workers = Workers("test")
    yield workers
    workers.stop()


async def test_work_is_done_in_the_order_in_which_it_was_asked_for_in_one_thread(workers: Workers) -> None:
    done: list[int] = []

    def work(number: int) -> str:
        done.append(number)
        return threading.current_thread().name

    names = await asyncio.gather(*(workers.run(partial(work, number)) for number in range(100)))
    assert done == list(range(100))
    assert set(names) == {"test"}


async def test_an_exception_is_only_for_its_caller(workers: Workers) -> None:
    found = await asyncio.gather(
        workers.run(lambda: 1), workers.run(lambda: 1 // 0), workers.run(lambda: 2), return_exceptions=True
    )
    assert (found[0], found[2]) == (1, 2)
    assert isinstance(found[1], ZeroDivisionError)


async def test_what_nobody_waits_for_any_more_is_not_begun(workers: Workers) -> None:
    go = threading.Event()
    done: list[str] = []
    first = asyncio.create_task(workers.run(go.wait))
    unwanted = asyncio.create_task(workers.run(lambda: done.append("unwanted")))
    wanted = asyncio.create_task(workers.run(lambda: done.append("wanted")))
    await asyncio.sleep(0)
    unwanted.cancel()
    await asyncio.gather(unwanted, return_exceptions=True)
    go.set()
    await asyncio.gather(first, wanted)
    assert done == ["wanted"]


async def test_several_threads_work_at_once_and_each_begins_in_its_own_way() -> None:
    begun: list[int] = []
    workers = Workers("test", 3, lambda: begun.append(threading.get_ident()))
    together = threading.Barrier(3)
    idents = await asyncio.gather(*(workers.run(lambda: (together.wait(), threading.get_ident())) for _ in range(3)))
    assert {ident for _, ident in idents} == set(begun)
    assert len(begun) == 3
    workers.stop()


async def test_the_end_waits_for_what_was_asked_for_and_nothing_begins_after_it() -> None:
    workers = Workers("test")
    done: list[int] = []
    tasks = [asyncio.create_task(workers.run(partial(done.append, number))) for number in range(10)]
    await asyncio.sleep(0)
    workers.stop()
    assert done == list(range(10))
    await asyncio.gather(*tasks)
    with pytest.raises(RuntimeError, match="have ended"):
        await workers.run(lambda: done.append(10))
    Workers("never used").stop()


async def test_a_thread_keeps_nothing_of_its_last_work(workers: Workers) -> None:
    class Answer:
        pass

    gc.disable()
    try:
        answer = await workers.run(Answer)
        gone = weakref.ref(answer)
        del answer
        await workers.run(int)  # the thread has left the work before
        assert gone() is None
    finally:
        gc.enable()


def test_work_for_an_event_loop_that_is_closed_ends_without_a_word() -> None:
    workers = Workers("test")
    begun, go = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go.wait()

    async def leave() -> None:
        task = asyncio.create_task(workers.run(work))
        await asyncio.sleep(0)
        begun.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(leave())
    go.set()
    workers.stop()

    async def come_back() -> None:
        with pytest.raises(RuntimeError):
            await workers.run(int)

    asyncio.run(come_back())
