"""Rights on entities: the one place that asks for them, for every kind of access.

A right may depend on the row, and an operation concerns several rows: the one that was read or restored, the current
one, and the new one. Callers pass all of them, and the lowest right counts.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

from collab.access.identity import Identity
from collab.access.rules import Access
from collab.errors import CollabError, InternalError, PermissionDenied
from collab.hooks import Hooks, ProposedWrite
from collab.json_values import same
from collab.names import RoomKey
from collab.query.match import Row
from collab.query.query import Condition
from collab.storage.base import EntityRow

log = logging.getLogger(__name__)

MappedRoots: TypeAlias = Callable[[str], Mapping[str, str]]
"""For a collection: the root types of its documents that hold entities, and the collections of these."""

Children: TypeAlias = Callable[[str, str, str], Awaitable[Sequence[EntityRow]]]
"""The entities of a project and collection whose id begins with a prefix."""


class Authorization:
    """Asks the application's hooks; by default these apply the identity's rules.

    The program itself (:attr:`Identity.trusted`) has the rights of its rules, and no hook is asked for them.
    """

    def __init__(self, hooks: Hooks, mapped: MappedRoots, children: Children) -> None:
        self._hooks = hooks
        self._mapped = mapped
        self._children = children
        self._asks_rows = type(hooks).authorize_row is not Hooks.authorize_row
        self._asks_itself = self._asks_rows or type(hooks).authorize is not Hooks.authorize
        self.asks_before_writes = type(hooks).before_write is not Hooks.before_write
        """Whether the application decides about each write."""

    def depends_on_row(self, identity: Identity) -> bool:
        """Whether an identity's rights on an entity can depend on its row."""
        return (self._asks_rows and not identity.trusted) or identity.has_conditions

    def _asks_about(self, identity: Identity) -> bool:
        """Whether the application decides about the rights of an identity."""
        return self._asks_itself and not identity.trusted

    async def _access_to_row(self, identity: Identity, key: RoomKey, row: Row | None) -> Access:
        if not identity.trusted:
            return await self._hooks.authorize_row(identity, key, row)
        return identity.access_to(key) if row is None else identity.access_to_row(key, row)

    async def access(self, identity: Identity, key: RoomKey, *rows: Row | None) -> Access:
        """The lowest right on an entity for these rows; ``None``, or no row at all, means unknown."""
        if not self.depends_on_row(identity):
            if self._asks_about(identity):
                return await self._hooks.authorize_row(identity, key, None)
            return identity.access_to(key)  # the answer of both hooks then; each write asks for it twice
        least = Access.WRITE
        for row in rows or (None,):
            least = min(least, await self._access_to_row(identity, key, row))
            if least is Access.NONE:
                break
        return least

    async def require(self, identity: Identity, key: RoomKey, wanted: Access, *rows: Row | None) -> Access:
        """Return the same, or raise :class:`PermissionDenied` if it is lower than ``wanted``."""
        access = await self.access(identity, key, *rows)
        if access < Access.READ:
            raise PermissionDenied(f"this identity may not read {key.name}")
        if access < wanted:
            raise PermissionDenied(f"this identity may not write {key.name}")
        return access

    async def require_write(self, identity: Identity, key: RoomKey, rows: Callable[[], Sequence[Row]]) -> None:
        """Raise :class:`PermissionDenied` unless an entity may be written as it is, and as it would be.

        ``rows`` returns both as of now. Answers may take time: if the rows have changed by then, it asks again, so that
        the answer holds for the rows that are there when this returns.
        """
        if not self.depends_on_row(identity):
            await self.require(identity, key, Access.WRITE, None)
            return
        while True:
            asked = list(rows())
            await self.require(identity, key, Access.WRITE, *asked)
            if same(asked, list(rows())):
                return

    async def document_access(self, identity: Identity, key: RoomKey, row: Row | None) -> Access:
        """The right on a whole document, as editors get it: it shows nobody anything that they may not read.

        If entities of other collections live inside it, the caller must be able to read each that could be there; an
        application that decides by itself is asked about each that is there. A caller who may write only some of them
        may write the document: see :meth:`asks_about_edits`.
        """
        access = await self.access(identity, key, row)
        for collection in set(self._mapped(key.collection).values()):
            if access < Access.READ or await self._access_inside(identity, key, collection) < Access.READ:
                return Access.NONE
        return access

    async def _access_inside(self, identity: Identity, key: RoomKey, collection: str) -> Access:
        prefix = f"{key.id}:"
        if not self._asks_about(identity):
            return identity.access_to_all(collection, prefix)
        least = Access.WRITE
        for child in await self._children(key.project, collection, prefix):
            if not child.deleted:
                least = min(least, await self._hooks.authorize_row(identity, child.key, child.data))
        return least

    def may_write_all(self, identity: Identity, collection: str, prefix: str) -> bool:
        """Whether all entities with this id prefix may be written, so that none needs a check."""
        return not self._asks_about(identity) and identity.access_to_all(collection, prefix) >= Access.WRITE

    def depends_on_content(self, identity: Identity, key: RoomKey) -> bool:
        """Whether writes into a document can change the rights on it."""
        return self.depends_on_row(identity) or (self._asks_about(identity) and bool(self._mapped(key.collection)))

    def asks_about_edits(self, identity: Identity, key: RoomKey) -> bool:
        """Whether each edit needs a check in addition to the right to write the document."""
        if self.asks_before_writes or self.depends_on_content(identity, key):
            return True
        inside = set(self._mapped(key.collection).values())
        return any(identity.access_to_all(collection, f"{key.id}:") < Access.WRITE for collection in inside)

    async def before_write(self, write: ProposedWrite) -> dict[str, Any]:
        """Ask the application about a write. Returns the fields that it sets as well. Raises :class:`CollabError`."""
        try:
            more = await self._hooks.before_write(write)
            if more is None:
                return {}
            if write.action not in ("create", "update"):
                raise TypeError(f"before_write must return None for the action {write.action}")
            return dict(more)
        except CollabError:
            raise
        except Exception as error:
            log.exception("the hook before_write failed")
            raise InternalError("could not check the write") from error

    async def visible(self, identity: Identity, collection: str) -> Condition | None:
        """The condition for rows of a collection that may be listed and subscribed to; ``None``: no rows."""
        return identity.filter_of(collection) if identity.trusted else await self._hooks.visible(identity, collection)
