from __future__ import annotations

from collab.records.missed_events import MissedEvents
from collab.storage.base import Span
from collab.storage.memory import MemoryStorage
from collab.testing.storage_case import KEY, OTHER, fact
from collab.turns import TurnOwner, Turns


async def test_missed_events_are_read_in_turn_by_position_of_a_collection_or_of_an_entity() -> None:
    storage = MemoryStorage()
    await storage.commit([], [fact(1), fact(1, key=OTHER), fact(2), fact(3)])
    missed, owner = MissedEvents(storage, Turns(1)), TurnOwner(KEY.project, "ada")
    assert await missed.span(KEY.project) == await storage.span(KEY.project) == Span(0, 4)
    for more, positions in (
        ({}, [2, 3]),
        ({"collection": KEY.collection, "entity": KEY.id}, [3, 4]),
        ({"collection": "nothing"}, []),
    ):
        found = await missed.events(owner, 1, limit=2, **more)
        assert [event.position for event in found] == positions
    assert await missed.events(owner, 4, limit=2) == []
