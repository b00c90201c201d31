"""Operations on entities with arguments instead of messages, to shorten tests."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

from collab.event import EntityEvent
from collab.records.reads import Caller
from collab.records.records import Collections
from collab.wire.realtime.messages import Count, Create, Delete, FindById, FindMany, History, Restore, Update
from collab.wire.realtime.values import Found, FoundMany, Written


class Operations:
    def __init__(self, records: Collections) -> None:
        self._records = records

    async def create(
        self,
        caller: Caller,
        collection: str,
        data: Mapping[str, Any],
        *,
        entity: str | None = None,
        request: str | None = None,
    ) -> Written:
        message = Create(id=0, collection=collection, data=dict(data), entity=entity, request=request)
        return await self._records.create(caller, message)

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
        message = Update(
            id=0,
            collection=collection,
            entity=entity,
            changes=dict(changes),
            unset=tuple(unset),
            version=version,
            on_conflict=on_conflict,
            request=request,
        )
        return await self._records.update(caller, message)

    async def delete(self, caller: Caller, collection: str, entity: str, *, request: str | None = None) -> Written:
        return await self._records.delete(caller, Delete(id=0, collection=collection, entity=entity, request=request))

    async def restore(
        self, caller: Caller, collection: str, entity: str, *, version: int | None = None, request: str | None = None
    ) -> Written:
        message = Restore(id=0, collection=collection, entity=entity, version=version, request=request)
        return await self._records.restore(caller, message)

    async def find_by_id(self, caller: Caller, collection: str, entity: str, **options: Any) -> Found:
        return await self._records.find_by_id(caller, FindById(id=0, collection=collection, entity=entity, **options))

    async def find_many(self, caller: Caller, collection: str, query: Mapping[str, Any], **options: Any) -> FoundMany:
        message = FindMany(id=0, collection=collection, query=dict(query), **options)
        return await self._records.find_many(caller, message)

    async def count(self, caller: Caller, collection: str, query: Mapping[str, Any]) -> int:
        return await self._records.count(caller, Count(id=0, collection=collection, query=dict(query)))

    async def history(self, caller: Caller, collection: str, entity: str, **options: Any) -> list[EntityEvent]:
        return await self._records.history(caller, History(id=0, collection=collection, entity=entity, **options))

    async def erase(self, caller: Caller, collection: str, entity: str) -> Written:
        return await self._records.erase(caller, collection, entity)
