"""Hooks of an application: decisions and notifications. Subclass :class:`Hooks` and override methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from collab.access.identity import Identity
from collab.access.rules import Access
from collab.names import RoomKey
from collab.query.query import Condition


@dataclass(frozen=True, slots=True)
class Request:
    """The credentials a client sent. ``headers`` have lower-case names; ``client`` is the IP address."""

    token: str | None
    headers: Mapping[str, str]
    query: Mapping[str, str]
    client: str | None


@dataclass(frozen=True, slots=True)
class Changed:
    """A document after a commit. ``seq``: its newest log row; ``user_ids``: who wrote since the previous call."""

    key: RoomKey
    seq: int
    user_ids: frozenset[str | None]


@dataclass(frozen=True, slots=True)
class ProposedWrite:
    """A write to an entity that was allowed, and has not been made.

    ``before`` is the entity as it is (``{id, ...fields, createdAt, updatedAt}``; ``None``: it does not exist, or is
    deleted), ``after`` as it would be (``None``: deleted). ``changes`` are the fields that an application sets,
    ``unset`` those it removes. ``by_editor``: it is the edit of a document by an editor, which cannot be completed.
    """

    action: Literal["create", "update", "delete", "restore", "erase"]
    identity: Identity
    key: RoomKey
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    changes: Mapping[str, Any] = field(default_factory=dict)
    unset: frozenset[str] = frozenset()
    by_editor: bool = False


class Hooks:
    """A slow hook delays only the client or document that it is called for.

    Raise a :class:`collab.errors.CollabError` to refuse. Any other exception is logged and refuses with
    ``InternalError``.
    """

    async def authenticate(self, request: Request) -> Identity | None:
        """Identify a caller. ``None`` falls back to the configured keys and issuers, or refuses if there are none."""
        return None

    async def authorize(self, identity: Identity, key: RoomKey) -> Access:
        """Return the rights of this identity on a document. Default: the identity's own rules."""
        return identity.access_to(key)

    async def authorize_row(self, identity: Identity, key: RoomKey, data: Mapping[str, Any] | None) -> Access:
        """Return the rights of this identity on an entity with this ``data`` (``None``: unknown or absent).

        Default: the result of :meth:`authorize` if a subclass overrides it, else the identity's own rules for such a
        row.
        """
        if data is None or type(self).authorize is not Hooks.authorize:
            return await self.authorize(identity, key)
        return identity.access_to_row(key, data)

    async def visible(self, identity: Identity, collection: str) -> Condition | None:
        """Return which rows of a collection this identity may list and subscribe to. ``None``: no rows.

        Default: the identity's own rules. Override this together with :meth:`authorize`, because lists do not check
        each row.
        """
        return identity.filter_of(collection)

    async def before_write(self, write: ProposedWrite) -> Mapping[str, Any] | None:
        """Decide about a write to an entity, after the caller's rights were checked.

        Raise to refuse. For ``create`` and ``update`` by an application, the returned fields are set as well; they
        replace those of the caller. Called again if the entity changes meanwhile, so it should have no effects.
        """
        return None

    async def load(self, key: RoomKey) -> bytes | None:
        """Return the initial content of a document that was never written, as a Yjs update (``doc.get_update()``).

        Called before anyone joins. The result is committed exactly once, even when several clients join at the same
        time.
        """
        return None

    async def changed(self, change: Changed) -> None:
        """A document has committed changes. Calls for one document never overlap; rapid changes share one call."""

    async def session_opened(self, identity: Identity, key: RoomKey) -> None:
        """A client has joined a document."""

    async def session_closed(self, identity: Identity, key: RoomKey) -> None:
        """A client has left a document."""

    async def stateless(self, identity: Identity, key: RoomKey, payload: str) -> str | None:
        """A stateless message from a Hocuspocus client. The return value is sent back to that client."""
        return None
