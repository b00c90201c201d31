"""What an application may decide or hear about. Subclass :class:`Hooks` and override what you need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from collab.access.identity import Access, Identity
from collab.names import RoomKey
from collab.query.query import Condition


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent to identify itself. ``headers`` are lower-case; ``client`` is its IP address."""

    token: str | None
    headers: Mapping[str, str]
    query: Mapping[str, str]
    client: str | None


@dataclass(frozen=True, slots=True)
class Changed:
    """A document after a commit: ``seq`` is its newest log row, ``user_ids`` those who wrote since the last call."""

    key: RoomKey
    seq: int
    user_ids: frozenset[str | None]


class Hooks:
    """Every hook may be awaited for as long as it takes; it delays nobody but the one it is about.

    Raise a :class:`collab.errors.CollabError` to refuse; any other exception is logged and refuses with
    ``InternalError``.
    """

    async def authenticate(self, request: Request) -> Identity | None:
        """Who is this? ``None`` leaves the answer to the configured keys and issuers; without any it is no."""
        return None

    async def authorize(self, identity: Identity, key: RoomKey) -> Access:
        """What may this identity do here? By default what the identity's own rules say."""
        return identity.access_to(key)

    async def authorize_row(self, identity: Identity, key: RoomKey, data: Mapping[str, Any] | None) -> Access:
        """What may this identity do with an entity of this ``data`` (``None``: not known, or not there)?

        By default what :meth:`authorize` says if an application answers that, else what the identity's own rules say of
        such a row.
        """
        if data is None or type(self).authorize is not Hooks.authorize:
            return await self.authorize(identity, key)
        return identity.access_to_row(key, data)

    async def visible(self, identity: Identity, collection: str) -> Condition | None:
        """Which rows of a collection may this identity list and subscribe to? ``None``: none at all.

        By default what its own rules say. An application that answers :meth:`authorize` itself answers this too:
        a list is not asked row by row.
        """
        return identity.filter_of(collection)

    async def load(self, key: RoomKey) -> bytes | None:
        """The first content of a document that was never written, as a Yjs update (``doc.get_update()``).

        Called before anyone joins. What it returns is committed exactly once, also when many join at the same
        moment, and never again for this document.
        """
        return None

    async def changed(self, change: Changed) -> None:
        """A document has committed changes. Calls for one document never overlap; quick changes are gathered."""

    async def session_opened(self, identity: Identity, key: RoomKey) -> None:
        """A client has joined a document."""

    async def session_closed(self, identity: Identity, key: RoomKey) -> None:
        """A client has left a document."""

    async def stateless(self, identity: Identity, key: RoomKey, payload: str) -> str | None:
        """An application message from a Hocuspocus client. What is returned is sent back to that client."""
        return None
