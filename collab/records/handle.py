"""A collection for Python code on the server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Collection as Names
from typing import Any, Literal

from collab.access.identity import Identity
from collab.access.rules import Access, Rule
from collab.consumers.handlers import EventHandler, Handlers
from collab.errors import CollabError
from collab.event import EntityEvent
from collab.records.reads import Caller
from collab.records.records import Collections
from collab.wire.realtime.messages import Aggregate, Count, Create, Delete, FindById, FindMany, History, Restore, Update
from collab.wire.realtime.updates import read_update
from collab.wire.realtime.values import CreateOne, DeleteOne, Found, FoundMany, Groups, Written

_EVERYTHING = (Rule("*/*", Access.WRITE),)


def of_server(project: str, user: str | None) -> Identity:
    """Return an identity whose rules allow everything in a project: the program itself, or its acting as ``user``."""
    return Identity(project, user, rules=_EVERYTHING, trusted=user is None)


class Collection:
    """Operations on one collection, with the rights of ``identity``. All raise :class:`collab.errors.CollabError`."""

    def __init__(self, collections: Collections, handlers: Handlers, name: str, identity: Identity) -> None:
        self.project = identity.project
        self.name = name
        self._collections = collections
        self._handlers = handlers
        self._caller = Caller(identity, f"server:{identity.user_id}")

    async def create(self, data: Mapping[str, Any], *, id: str | None = None, request: str | None = None) -> Written:  # noqa: A002
        """Create an entity. Its id is ``id``, else ``data["id"]``, else chosen by the server. ``request``: run once."""
        return await self._collections.create(
            self._caller, Create(id=0, collection=self.name, data=dict(data), entity=id, request=request)
        )

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
        """Set and remove fields of an entity. ``version``: the last version seen, to detect conflicts."""
        message = Update(
            id=0,
            collection=self.name,
            entity=id,
            changes=dict(changes),
            unset=tuple(unset),
            version=version,
            on_conflict=on_conflict,
            request=request,
        )
        return await self._collections.update(self._caller, message)

    async def delete(self, id: str) -> Written:  # noqa: A002
        """Delete an entity; its history is kept."""
        return await self._collections.delete(self._caller, Delete(id=0, collection=self.name, entity=id))

    async def create_many(self, entities: Sequence[Mapping[str, Any]]) -> list[Written | CollabError]:
        """Create up to 1,000 entities, each on its own. Returns for each what was written, or why it was not."""
        return await self._collections.write_many(
            self._caller, [CreateOne(collection=self.name, data=dict(data)) for data in entities]
        )

    async def update_many(self, updates: Sequence[Mapping[str, Any]]) -> list[Written | CollabError]:
        """Update up to 1,000 entities, each on its own, as :meth:`create_many` creates them.

        Each of ``updates`` is ``{"id", "changes", "unset", "version", "on_conflict"}``, all but ``id`` optional.
        """
        return await self._collections.write_many(self._caller, [read_update(self.name, each) for each in updates])

    async def delete_many(self, ids: Sequence[str]) -> list[Written | CollabError]:
        """Delete up to 1,000 entities, each on its own, as :meth:`create_many` creates them."""
        return await self._collections.write_many(
            self._caller, [DeleteOne(collection=self.name, entity=each) for each in ids]
        )

    async def erase(self, id: str) -> Written:  # noqa: A002
        """Delete an entity permanently, with its history."""
        return await self._collections.erase(self._caller, self.name, id)

    async def restore(self, id: str, *, version: int | None = None) -> Written:  # noqa: A002
        """Restore a deleted entity, or reset any entity to ``version``."""
        message = Restore(id=0, collection=self.name, entity=id, version=version)
        return await self._collections.restore(self._caller, message)

    async def find_by_id(
        self,
        id: str,  # noqa: A002
        *,
        content: bool = False,
        version: int | None = None,
        at: str | None = None,
    ) -> Found:
        """Get an entity, now, as of a version, or as of a time (RFC 3339)."""
        message = FindById(id=0, collection=self.name, entity=id, content=content, version=version, at=at)
        return await self._collections.find_by_id(self._caller, message)

    async def find_many(
        self, query: Mapping[str, Any] | None = None, *, fields: Sequence[str] | None = None
    ) -> FoundMany:
        """Get the rows of a query: ``{"where": …, "orderBy": …, "limit": …, "offset": …, "after": …, "include": …}``.

        With ``include``, ``related`` of the result returns what is related to one of its rows.
        """
        message = FindMany(
            id=0, collection=self.name, query=dict(query or {}), fields=None if fields is None else tuple(fields)
        )
        return await self._collections.find_many(self._caller, message)

    async def count(self, query: Mapping[str, Any] | None = None) -> int:
        """Count matching rows."""
        message = Count(id=0, collection=self.name, query=dict(query or {}))
        return await self._collections.count(self._caller, message)

    async def aggregate(self, query: Mapping[str, Any] | None = None) -> Groups:
        """Add up matching rows: ``{"where": …, "groupBy": …, "sum": …, "avg": …, "min": …, "max": …}``."""
        message = Aggregate(id=0, collection=self.name, query=dict(query or {}))
        return await self._collections.aggregate(self._caller, message)

    async def history(self, id: str, *, limit: int = 50, before: int | None = None) -> list[EntityEvent]:  # noqa: A002
        """Get events of an entity, newest first."""
        message = History(id=0, collection=self.name, entity=id, limit=limit, before=before)
        return await self._collections.history(self._caller, message)

    def on(self, handler: EventHandler) -> Callable[[], None]:
        """Call ``handler(event)`` for every later event of the collection. Returns a function that removes it."""
        return self._handlers.add(self.project, self.name, handler)
