"""Reads that are asked for at once are made by one statement."""

import asyncio
from collections.abc import Sequence

import pytest

from collab.storage.base import StorageError
from collab.storage.postgres.together import Together


class Reads:
    """Squares numbers, and remembers which were asked for at once."""

    def __init__(self) -> None:
        self.asked: list[Sequence[int]] = []
        self.answer = asyncio.Event()
        self.answer.set()

    async def read(self, keys: Sequence[int]) -> Sequence[int]:
        self.asked.append(keys)
        await self.answer.wait()
        if 13 in keys:
            raise StorageError("away")
        return [key * key for key in keys]


async def test_what_is_asked_for_in_one_turn_is_read_at_once_and_each_gets_its_own() -> None:
    reads = Reads()
    together = Together(reads.read)
    assert await asyncio.gather(*(together.find(n) for n in (3, 1, 3))) == [9, 1, 9]
    assert await together.find(2) == 4
    assert reads.asked == [[3, 1, 3], [2]]


async def test_a_read_is_of_a_bounded_number() -> None:
    reads = Reads()
    together = Together(reads.read)
    assert await asyncio.gather(*(together.find(n) for n in range(20, 270))) == [n * n for n in range(20, 270)]
    assert [len(asked) for asked in reads.asked] == [100, 100, 50]


async def test_a_read_that_fails_fails_for_all_who_asked_and_for_nobody_else() -> None:
    together = Together(Reads().read)
    failed = await asyncio.gather(together.find(1), together.find(13), return_exceptions=True)
    assert [str(error) for error in failed] == ["away", "away"]
    assert await together.find(1) == 1


async def test_who_leaves_takes_nothing_from_the_others() -> None:
    reads = Reads()
    reads.answer.clear()
    together = Together(reads.read)
    staying, leaving = asyncio.create_task(together.find(2)), asyncio.create_task(together.find(3))
    while not reads.asked:
        await asyncio.sleep(0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    reads.answer.set()
    assert await staying == 4
