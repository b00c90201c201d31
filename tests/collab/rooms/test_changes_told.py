from __future__ import annotations

import asyncio
from collections.abc import Coroutine

import pytest

from collab.hooks import Changed, Hooks
from collab.names import RoomKey
from collab.rooms.changes_told import ChangesTold

KEY, OTHER = RoomKey("p", "documents", "d"), RoomKey("p", "documents", "e")


class Told(Hooks):
    """Remembers the calls; each waits until it may end, or fails."""

    def __init__(self) -> None:
        self.calls: list[Changed] = []
        self.may_end = asyncio.Event()
        self.fails = False

    async def changed(self, change: Changed) -> None:
        self.calls.append(change)
        if self.fails:
            raise RuntimeError("the hook is broken")
        await self.may_end.wait()


class Spawned:
    """Starts background work, and waits for all of it."""

    def __init__(self) -> None:
        self.tasks: list[asyncio.Task[None]] = []

    def __call__(self, work: Coroutine[object, object, None]) -> None:
        self.tasks.append(asyncio.create_task(work))

    async def done(self) -> None:
        await asyncio.gather(*self.tasks)


async def test_changes_during_a_call_are_told_together_in_the_next() -> None:
    hooks, spawned = Told(), Spawned()
    told = ChangesTold(hooks, spawned)
    told.note(KEY, 1, "ann")
    await asyncio.sleep(0)
    told.note(KEY, 2, "bob")
    told.note(KEY, 3, None)
    told.note(OTHER, 1, "ann")
    await asyncio.sleep(0)
    assert hooks.calls == [Changed(KEY, 1, frozenset({"ann"})), Changed(OTHER, 1, frozenset({"ann"}))]
    hooks.may_end.set()
    await spawned.done()
    assert hooks.calls[2:] == [Changed(KEY, 3, frozenset({"bob", None}))]


async def test_a_hook_that_fails_is_logged_and_called_for_the_next_change(caplog: pytest.LogCaptureFixture) -> None:
    hooks, spawned = Told(), Spawned()
    hooks.fails = True
    told = ChangesTold(hooks, spawned)
    for seq in (1, 2):
        told.note(KEY, seq, "ann")
        await spawned.done()
    assert [change.seq for change in hooks.calls] == [1, 2]
    assert caplog.text.count("the changed hook failed for") == 2


async def test_an_application_without_the_hook_costs_nothing() -> None:
    spawned = Spawned()
    ChangesTold(Hooks(), spawned).note(KEY, 1, "ann")
    assert not spawned.tasks
