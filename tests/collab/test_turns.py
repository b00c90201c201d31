"""Fair turns: the order of a queue, its bounds, and what tasks that leave give back."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collab.errors import RateLimitExceeded, Unavailable
from collab.turns import FairQueue, TurnOwner, Turns

A1, A2, B1 = TurnOwner("a", 1), TurnOwner("a", 2), TurnOwner("b", 1)


def served(queue: FairQueue[tuple[TurnOwner, int]], count: int) -> list[tuple[TurnOwner, int]]:
    """The next items, one at a time."""
    found = []
    for _ in range(count):
        item = queue.begin()
        assert item is not None
        found.append(item)
        queue.end(item[0])
    return found


def test_projects_are_served_in_turn_however_much_one_of_them_asks() -> None:
    queue: FairQueue[tuple[TurnOwner, int]] = FairQueue(1)
    for number in range(50):
        queue.add(A1, (A1, number))
    queue.add(B1, (B1, 0))
    assert (B1, 0) in served(queue, 2)


def test_callers_of_a_project_are_served_in_turn_and_each_in_its_order() -> None:
    queue: FairQueue[tuple[TurnOwner, int]] = FairQueue(1)
    for number in range(3):
        queue.add(A1, (A1, number))
    for number in range(3):
        queue.add(A2, (A2, number))
    assert served(queue, 6) == [(A1, 0), (A2, 0), (A1, 1), (A2, 1), (A1, 2), (A2, 2)]


def test_a_project_leaves_a_place_to_others_and_a_caller_leaves_one_to_its_project() -> None:
    queue: FairQueue[TurnOwner] = FairQueue(3)
    for _ in range(5):
        queue.add(A1, A1)
    assert [queue.begin(), queue.begin()] == [A1, None]
    queue.add(A2, A2)
    queue.add(A2, A2)
    assert [queue.begin(), queue.begin()] == [A2, None]
    queue.add(B1, B1)
    assert queue.begin() == B1
    queue.end(A1)
    assert queue.begin() == A1


def test_only_so_many_wait() -> None:
    queue: FairQueue[int] = FairQueue(1, per_caller=2, per_project=3)
    queue.add(A1, 1)
    queue.add(A1, 2)
    with pytest.raises(RateLimitExceeded):
        queue.add(A1, 3)
    queue.add(A2, 3)
    with pytest.raises(RateLimitExceeded):
        queue.add(A2, 4)
    queue.add(B1, 5)
    assert len(queue) == 4
    queue.remove(A1, 1)
    queue.add(A2, 4)


OWNERS = st.sampled_from([TurnOwner(project, caller) for project in "abc" for caller in (1, 2)])


@given(st.lists(st.tuples(st.booleans(), OWNERS), max_size=80), st.integers(1, 5))
def test_law_everything_is_served_once_within_the_bounds(steps: list[tuple[bool, TurnOwner]], places: int) -> None:
    queue: FairQueue[tuple[TurnOwner, int]] = FairQueue(places)
    asked: list[tuple[TurnOwner, int]] = []
    running: list[tuple[TurnOwner, int]] = []
    done: list[tuple[TurnOwner, int]] = []

    def begin_all() -> None:
        while (item := queue.begin()) is not None:
            running.append(item)
        assert len(running) <= places
        for owner, _ in running:
            assert sum(o.project == owner.project for o, _ in running) <= max(1, places - 1)
            assert sum(o == owner for o, _ in running) <= max(1, places - 2)

    def end_one() -> None:
        item = running.pop(0)
        queue.end(item[0])
        done.append(item)

    for number, (asks, owner) in enumerate(steps):
        if asks:
            asked.append((owner, number))
            queue.add(owner, (owner, number))
        elif running:
            end_one()
        begin_all()
    while running:
        end_one()
        begin_all()
    assert not len(queue)
    assert sorted(done) == sorted(asked)
    for owner in {owner for owner, _ in asked}:
        assert [item for item in done if item[0] == owner] == [item for item in asked if item[0] == owner]


async def test_a_task_that_is_cancelled_gives_its_place_or_its_wait_back() -> None:
    turns = Turns(1)
    entered = asyncio.Event()

    async def hold() -> None:
        async with turns.turn(A1):
            entered.set()
            await asyncio.Event().wait()

    holding = asyncio.create_task(hold())
    await entered.wait()
    waiting = asyncio.create_task(hold())
    while not len(turns):
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert not len(turns)
    entered.clear()
    next_ = asyncio.create_task(hold())
    while not len(turns):
        await asyncio.sleep(0)
    late = asyncio.create_task(hold())
    while len(turns) < 2:
        await asyncio.sleep(0)
    next_.cancel()  # in the same turn of the loop in which the place becomes free
    holding.cancel()
    await asyncio.gather(next_, holding, return_exceptions=True)
    await entered.wait()
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    async with turns.turn(B1):
        assert not len(turns)


async def test_what_takes_too_long_is_ended_and_says_the_limit() -> None:
    turns = Turns(1, seconds=0.01)
    with pytest.raises(RateLimitExceeded) as failure:
        async with turns.turn(A1):
            await asyncio.Event().wait()
    assert failure.value.details["limitSeconds"] == 0.01
    with pytest.raises(TimeoutError):
        async with turns.turn(A1):
            raise TimeoutError  # of the block itself


async def test_who_waits_too_long_is_told_to_come_back() -> None:
    turns = Turns(1, wait_seconds=0.01)
    async with turns.turn(A1):
        with pytest.raises(Unavailable):
            async with turns.turn(B1):
                pass
    async with turns.turn(B1):
        pass


async def test_who_owes_too_much_is_let_in_later_and_holds_no_place_meanwhile() -> None:
    debts = {A1: 0.05}
    turns = Turns(1, owed=lambda: debts.pop(A1, 0.0))
    order = []

    async def take(owner: TurnOwner) -> None:
        async with turns.turn(owner):
            order.append(owner)

    late = asyncio.create_task(take(A1))
    await asyncio.sleep(0)
    await take(B1)
    await late
    assert order == [B1, A1]


async def test_what_was_done_while_one_waited_counts() -> None:
    debt = 0.0
    turns = Turns(1, owed=lambda: debt)
    order = []

    async def take(owner: TurnOwner) -> None:
        async with turns.turn(owner):
            order.append(owner)

    async with turns.turn(A1):
        late = asyncio.create_task(take(A1))
        await asyncio.sleep(0)
        debt = 0.01
    while len(turns):
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert order == []
    debt = 0.0
    await late
    assert order == [A1]


async def test_who_owes_more_than_one_waits_for_is_refused_with_the_time() -> None:
    turns = Turns(1, wait_seconds=1.0, owed=lambda: 7.0)
    with pytest.raises(RateLimitExceeded) as refused:
        async with turns.turn(A1):
            pass
    assert refused.value.details["retryAfter"] == 7.0
    assert len(turns) == 0
