"""Random histories of a cluster in virtual time, and that each guard of the cluster is needed for them to end well."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from collab.cluster.ownership import NodeOwnership
from collab.entities.order import EventOrder
from collab.event import EntityEvent
from collab.names import RoomKey
from collab.rooms.registry import Registry
from collab.storage.memory import MemoryStorage
from collab.storage.memory_nodes import MemoryNodes
from tests.cluster.simulation import simulate

HISTORIES = 500
PARTS = 10


@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_is_lost_doubled_or_out_of_order_whatever_fails(part: int) -> None:
    for seed in range(part, HISTORIES, PARTS):
        try:
            simulate(seed)
        except Exception as error:
            raise AssertionError(f"history {seed}") from error


Mutate = Callable[[pytest.MonkeyPatch], None]


def without_the_fence(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MemoryNodes, "fence", lambda self, nid: None)


def without_owners(patch: pytest.MonkeyPatch) -> None:
    async def acquire(self: NodeOwnership, key: RoomKey) -> None: ...

    patch.setattr(NodeOwnership, "acquire", acquire)


def without_waiting_for_a_return(patch: pytest.MonkeyPatch) -> None:
    async def give_back(self: NodeOwnership, keys: Sequence[RoomKey]) -> None:
        await self._nodes.release(keys)

    patch.setattr(NodeOwnership, "give_back", give_back)


def without_receipts(patch: pytest.MonkeyPatch) -> None:
    commit = MemoryStorage.commit

    async def forgetful(self: MemoryStorage, batch: Any, facts: Any = (), *, commit_id: Any = None) -> Any:
        return await commit(self, batch, facts)

    patch.setattr(MemoryStorage, "commit", forgetful)


def without_the_check_for_gaps(patch: pytest.MonkeyPatch) -> None:
    def take(self: EventOrder, events: Iterable[EntityEvent]) -> list[EntityEvent]:
        ready = [event for event in events if event.position > self.position]
        self.position = max([self.position, *(event.position for event in ready)])
        return ready

    patch.setattr(EventOrder, "take", take)


def without_waiting_for_commits(patch: pytest.MonkeyPatch) -> None:
    def evict(self: Registry, room: Any, now: float) -> None:
        if not room.sessions and not room.holds and room.key not in self._opening:
            self._evict(room)

    patch.setattr(Registry, "_evict_if_idle", evict)


MUTATIONS: Sequence[Mutate] = (
    without_the_fence,
    without_owners,
    without_waiting_for_a_return,
    without_receipts,
    without_the_check_for_gaps,
    without_waiting_for_commits,
)


@pytest.mark.parametrize("mutate", MUTATIONS, ids=[mutate.__name__ for mutate in MUTATIONS])
def test_a_cluster_does_not_do(mutate: Mutate, monkeypatch: pytest.MonkeyPatch) -> None:
    mutate(monkeypatch)
    for seed in range(HISTORIES):
        try:
            simulate(seed)
        except AssertionError:
            return
    pytest.fail("every history ended well")
