"""What a session needs of the server that it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from collab.access.identity import Access
from collab.event import EntityEvent
from collab.query.query import Condition, Query
from collab.realtime.analytics import Analytics
from collab.realtime.entity_subscriptions import EntitySubscriptions
from collab.realtime.events import CustomEvents
from collab.realtime.live_queries import Watcher
from collab.realtime.reads import Caller
from collab.realtime.system import System
from collab.storage.base import Positions
from collab.wire.realtime import Found, FoundMany, People, Written

Close = Callable[[], None]
"""Ends something. It may be called more than once."""


class Records(Protocol):
    """Operations on entities: :class:`collab.realtime.collections.Collections`."""

    async def create(
        self,
        caller: Caller,
        collection: str,
        data: Mapping[str, Any],
        *,
        entity: str | None = None,
        request: str | None = None,
    ) -> Written:
        """Bring an entity into being."""

    async def update(
        self,
        caller: Caller,
        collection: str,
        entity: str,
        changes: Mapping[str, Any],
        *,
        unset: Collection[str] = (),
        version: int | None = None,
        on_conflict: Literal["merge", "reject"] = "merge",
        request: str | None = None,
    ) -> Written:
        """Set and remove fields."""

    async def delete(self, caller: Caller, collection: str, entity: str, *, request: str | None = None) -> Written:
        """Delete an entity."""

    async def restore(
        self, caller: Caller, collection: str, entity: str, *, version: int | None = None, request: str | None = None
    ) -> Written:
        """Bring an entity back."""

    async def find_by_id(
        self,
        caller: Caller,
        collection: str,
        entity: str,
        *,
        content: bool = False,
        version: int | None = None,
        at: str | None = None,
        include_permissions: bool = False,
    ) -> Found:
        """One entity."""

    async def find_many(
        self,
        caller: Caller,
        collection: str,
        query: Mapping[str, Any],
        *,
        fields: Sequence[str] | None = None,
        include_permissions: bool = False,
    ) -> FoundMany:
        """The rows of a query."""

    async def count(self, caller: Caller, collection: str, query: Mapping[str, Any]) -> int:
        """How many rows match."""

    async def history(
        self, caller: Caller, collection: str, entity: str, *, limit: int = 50, before: int | None = None
    ) -> list[EntityEvent]:
        """Events of one entity."""

    async def visible(self, caller: Caller, collection: str) -> Condition:
        """The row filter of this caller."""

    async def access(self, caller: Caller, collection: str, entity: str) -> Access:
        """What this caller may do with one entity."""


class Queries(Protocol):
    """Live queries: :class:`collab.realtime.live_queries.LiveQueries`."""

    async def open(self, project: str, collection: str, query: Query, watcher: Watcher) -> Close:
        """Keep ``watcher`` up to date; its ``reset`` was called before this returns."""


class Rooms(Protocol):
    """Who is where: :class:`collab.realtime.presence.PresenceRooms`."""

    async def subscribe(self, caller: Caller, room: str, listener: Callable[[People], None]) -> Close:
        """Tell ``listener`` who is in a room: all of them before this returns, then changes."""

    async def join(self, caller: Caller, room: str, state: Mapping[str, Any]) -> None:
        """Be seen in a room."""

    async def update(self, caller: Caller, room: str, state: Mapping[str, Any]) -> None:
        """Change the own state."""

    def leave(self, caller: Caller, room: str) -> None:
        """Be seen no more."""

    def leave_all(self, caller: Caller) -> None:
        """The session is gone."""

    async def recheck(self, caller: Caller) -> None:
        """Rights may have changed."""


class Past(Protocol):
    """Events that were: a :class:`collab.storage.base.Storage`."""

    async def events(
        self,
        after: int,
        *,
        limit: int,
        project: str | None = None,
        collection: str | None = None,
        entity: str | None = None,
    ) -> Sequence[tuple[str, EntityEvent]]:
        """Events behind a position, each with its project."""

    async def positions(self) -> Positions:
        """Which events are known."""


@dataclass(frozen=True, slots=True)
class Services:
    """All of it. ``schema`` gives the declared collections of a project."""

    records: Records
    entities: EntitySubscriptions
    queries: Queries
    events: CustomEvents
    system: System
    analytics: Analytics
    presence: Rooms
    past: Past
    schema: Callable[[str], Mapping[str, Any]]
