"""One collection from Python on the server: everything is allowed, and done in the name of ``user``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Collection as Names
from typing import Any, Literal

from collab.access.identity import Identity
from collab.access.rules import Access, Rule
from collab.event import EntityEvent
from collab.realtime.collections import Collections
from collab.realtime.handlers import Handler, Handlers
from collab.realtime.reads import Caller
from collab.wire.realtime import Found, FoundMany, Written

_EVERYTHING = (Rule("*/*", Access.WRITE),)


class Collection:
    """The operations on one collection. All raise :class:`collab.errors.CollabError`."""

    def __init__(
        self, collections: Collections, handlers: Handlers, project: str, name: str, user: str | None = None
    ) -> None:
        self.project = project
        self.name = name
        self._collections = collections
        self._handlers = handlers
        self._caller = Caller(Identity(project, user, rules=_EVERYTHING), f"server:{user}")

    async def create(self, data: Mapping[str, Any], *, id: str | None = None, request: str | None = None) -> Written:  # noqa: A002
        """A new entity, named by ``id``, else by ``data["id"]``, else by the server. ``request``: have effect once."""
        return await self._collections.create(self._caller, self.name, data, entity=id, request=request)

    async def update(
        self,
        id: str,  # noqa: A002
        changes: Mapping[str, Any],
        *,
        unset: Names[str] = (),
        version: int | None = None,
        on_conflict: Literal["merge", "reject"] = "merge",
        request: str | None = None,
    ) -> Written:
        """Set and remove fields of an entity. ``version``: the last one seen, for the detection of conflicts."""
        return await self._collections.update(
            self._caller,
            self.name,
            id,
            changes,
            unset=unset,
            version=version,
            on_conflict=on_conflict,
            request=request,
        )

    async def delete(self, id: str) -> Written:  # noqa: A002
        """Delete an entity; its history is kept."""
        return await self._collections.delete(self._caller, self.name, id)

    async def restore(self, id: str, *, version: int | None = None) -> Written:  # noqa: A002
        """Bring a deleted entity back, or any entity to what it was in ``version``."""
        return await self._collections.restore(self._caller, self.name, id, version=version)

    async def find_by_id(
        self,
        id: str,  # noqa: A002
        *,
        content: bool = False,
        version: int | None = None,
        at: str | None = None,
    ) -> Found:
        """An entity as it is, or was in a version or at a moment (RFC 3339)."""
        return await self._collections.find_by_id(self._caller, self.name, id, content=content, version=version, at=at)

    async def find_many(
        self, query: Mapping[str, Any] | None = None, *, fields: Sequence[str] | None = None
    ) -> FoundMany:
        """The rows of a query: ``{"where": …, "orderBy": …, "limit": …, "offset": …, "after": …}``."""
        return await self._collections.find_many(self._caller, self.name, query or {}, fields=fields)

    async def count(self, query: Mapping[str, Any] | None = None) -> int:
        """How many rows match."""
        return await self._collections.count(self._caller, self.name, query or {})

    async def history(self, id: str, *, limit: int = 50, before: int | None = None) -> list[EntityEvent]:  # noqa: A002
        """Events of an entity, the newest first."""
        return await self._collections.history(self._caller, self.name, id, limit=limit, before=before)

    def on(self, handler: Handler) -> Callable[[], None]:
        """Call ``handler(event)`` with every event of the collection from now on. Returns what ends that."""
        return self._handlers.add(self.project, self.name, handler)
