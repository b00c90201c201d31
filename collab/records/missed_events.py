"""Read events that a caller has missed, in the caller's turn."""

from __future__ import annotations

from collections.abc import Sequence

from collab.event import EntityEvent
from collab.storage.base import EntityStorage, Span
from collab.turns import TurnOwner, Turns


class MissedEvents:
    """``turns`` are shared with all queries of the storage."""

    def __init__(self, storage: EntityStorage, turns: Turns) -> None:
        self._storage = storage
        self._turns = turns

    async def events(
        self,
        owner: TurnOwner,
        after: int,
        *,
        limit: int,
        collection: str | None = None,
        entity: str | None = None,
    ) -> Sequence[EntityEvent]:
        """Return events of the owner's project after a position, by position."""
        async with self._turns.turn(owner):
            return await self._storage.events(owner.project, after, limit=limit, collection=collection, entity=entity)

    async def span(self, project: str) -> Span:
        """Return which events of a project are known."""
        return await self._storage.span(project)
