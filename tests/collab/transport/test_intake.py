from __future__ import annotations

import asyncio

from collab.transport.intake import Intake


async def test_a_few_begin_in_each_turn_of_the_loop_and_the_others_wait_in_order() -> None:
    intake = Intake(asyncio.get_running_loop(), each=2)
    begun: list[int] = []
    assert [intake.is_open() for _ in range(3)] == [True, True, False]
    for number in range(5):
        intake.wait(lambda n=number: begun.append(n))  # type: ignore[misc]
    seen = []
    while len(intake):
        await asyncio.sleep(0)
        seen.append(list(begun))
    assert [len(turn) for turn in seen if turn] == [2, 4, 5]
    assert begun == [0, 1, 2, 3, 4]


async def test_who_comes_later_does_not_overtake_those_who_wait() -> None:
    intake = Intake(asyncio.get_running_loop(), each=1)
    assert intake.is_open()
    begun: list[str] = []
    intake.wait(lambda: begun.append("first"))
    intake.wait(lambda: begun.append("second"))
    await asyncio.sleep(0)
    assert begun == ["first"]
    assert not intake.is_open()
    await asyncio.sleep(0)
    assert begun == ["first", "second"]


async def test_after_a_quiet_turn_all_places_are_free() -> None:
    intake = Intake(asyncio.get_running_loop(), each=2)
    for _ in range(3):
        assert [intake.is_open() for _ in range(2)] == [True, True]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
