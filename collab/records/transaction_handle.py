"""A transaction for Python code on the server."""

from __future__ import annotations

from collections.abc import Collection as Names
from collections.abc import Mapping
from typing import Any, Literal

from collab.access.identity import Identity
from collab.records.reads import Caller
from collab.records.records import Collections
from collab.wire.realtime.values import AnyWrite, CreateOne, DeleteOne, UpdateOne, Written


class Transaction:
    """Up to 100 writes of different entities of a project, with the rights of ``identity``.

    :meth:`commit` makes all of them, or none.
    """

    def __init__(self, collections: Collections, identity: Identity) -> None:
        self._collections = collections
        self._caller = Caller(identity, f"server:{identity.user_id}")
        self._writes: list[AnyWrite] = []

    def create(self, collection: str, data: Mapping[str, Any], *, id: str | None = None) -> Transaction:  # noqa: A002
        """Add the creation of an entity. Its id is ``id``, else ``data["id"]``, else chosen by the server."""
        self._writes.append(CreateOne(collection=collection, data=dict(data), entity=id))
        return self

    def update(
        self,
        collection: str,
        id: str,  # noqa: A002
        changes: Mapping[str, Any],
        *,
        unset: Names[str] = (),
        version: int | None = None,
        on_conflict: Literal["merge", "reject"] = "merge",
    ) -> Transaction:
        """Add an update. With ``on_conflict="reject"``, a conflict refuses the whole transaction."""
        self._writes.append(
            UpdateOne(
                collection=collection,
                entity=id,
                changes=dict(changes),
                unset=tuple(unset),
                version=version,
                on_conflict=on_conflict,
            )
        )
        return self

    def delete(self, collection: str, id: str) -> Transaction:  # noqa: A002
        """Add the deletion of an entity."""
        self._writes.append(DeleteOne(collection=collection, entity=id))
        return self

    async def commit(self, *, request: str | None = None) -> list[Written]:
        """Make all writes in one commit, or none. Returns what each has written, in order. ``request``: run once.

        Raises :class:`collab.errors.CollabError`, with the number of the write in the details (``write``).
        """
        return await self._collections.transact(self._caller, tuple(self._writes), request)
