import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from time import thread_time
from typing import Any

import pytest

from collab.access.price import METER, Ledger, Meter, Payer, Share
from collab.storage.base import StorageError
from collab.storage.sqlite.loads import Loads


class Thread:
    """The thread of the reads. Counts what is handed over to it."""

    def __init__(self) -> None:
        self.executor = ThreadPoolExecutor(1)
        self.connection = sqlite3.connect(":memory:", check_same_thread=False)
        self.handed_over = 0
        self.gone = False

    async def run(self, work: Callable[[], Any]) -> Any:
        if self.gone:
            raise StorageError("the storage is closed")
        self.handed_over += 1
        return await asyncio.get_running_loop().run_in_executor(self.executor, work)


@pytest.fixture
async def thread() -> AsyncIterator[Thread]:
    thread = Thread()
    yield thread
    thread.executor.shutdown()
    thread.connection.close()


@pytest.fixture
def loads(thread: Thread) -> Loads:
    return Loads(lambda: thread.connection, thread.run)


def number(n: int) -> Callable[[sqlite3.Connection], int]:
    return lambda connection: int(connection.execute("SELECT ?", (n,)).fetchone()[0])


def busy_for(seconds: float) -> Callable[[sqlite3.Connection], None]:
    def burn(connection: sqlite3.Connection) -> None:
        began = thread_time()
        while thread_time() - began < seconds:
            pass

    return burn


async def test_reads_that_are_asked_for_at_once_are_handed_over_together(thread: Thread, loads: Loads) -> None:
    assert await asyncio.gather(*(loads.load(number(n)) for n in range(12))) == list(range(12))
    assert thread.handed_over == 1
    assert await loads.load(number(3)) == 3
    assert thread.handed_over == 2


async def test_more_than_a_thread_takes_at_once_are_answered_in_order(loads: Loads) -> None:
    done: list[int] = []

    async def load(n: int) -> None:
        done.append(await loads.load(number(n)))

    await asyncio.gather(*map(load, range(100)))
    assert done == list(range(100))


async def test_an_error_is_only_for_its_caller(loads: Loads) -> None:
    found = await asyncio.gather(
        loads.load(number(1)),
        loads.load(lambda connection: connection.execute("SELECT nothing")),
        loads.load(number(2)),
        return_exceptions=True,
    )
    assert (found[0], found[2]) == (1, 2)
    assert isinstance(found[1], StorageError)


async def test_a_quick_read_is_answered_before_the_one_behind_a_long_one_begins(thread: Thread, loads: Loads) -> None:
    await asyncio.gather(loads.load(number(1)), loads.load(busy_for(0.002)), loads.load(number(2)))
    assert thread.handed_over == 2


async def test_each_caller_pays_for_its_own_read_even_if_it_is_cancelled(loads: Loads) -> None:
    share = Share(1.0)
    ledger = Ledger(user=share, address=share, project=share)
    long, quick = (Payer("acme", "user", name) for name in ("long", "quick"))

    async def load(payer: Payer, read: Callable[[sqlite3.Connection], Any]) -> None:
        METER.set(Meter(ledger, payer))
        await loads.load(read)

    tasks = [asyncio.create_task(load(long, busy_for(0.3))), asyncio.create_task(load(quick, number(1)))]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert tasks[0].cancelled()
    assert ledger.used["acme", "user"] >= 0.3
    assert ledger.is_busy(long, 0.0)
    assert not ledger.is_busy(quick, 0.0)


async def test_without_a_thread_everybody_gets_the_error(thread: Thread, loads: Loads) -> None:
    thread.gone = True
    found = await asyncio.gather(loads.load(number(1)), loads.load(number(2)), return_exceptions=True)
    assert [type(error) for error in found] == [StorageError, StorageError]
    thread.gone = False
    assert await loads.load(number(3)) == 3
