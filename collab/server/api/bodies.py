"""What requests and answers hold, beside what the application protocol has a message for."""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec

from collab.errors import InvalidRequest
from collab.event import EntityEvent
from collab.wire.realtime import MAX_DEPTH
from collab.wire.realtime_values import wrong_value

Body = TypeVar("Body", bound=msgspec.Struct)


class _Said(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What a client says."""


class Changes(_Said, frozen=True, kw_only=True):
    """New values of some fields; ``unset`` fields are removed.

    ``version`` is the last that the writer has seen: what others wrote to the same fields since then is a conflict.
    ``onConflict: "reject"`` asks for an error instead of a write in that case.
    """

    changes: dict[str, Any] = {}
    unset: tuple[str, ...] = ()
    version: int | None = None
    on_conflict: Literal["merge", "reject"] = "merge"


class Restoring(_Said, frozen=True, kw_only=True):
    """``version``: what the entity is to be again; without it, a deleted one is brought back as it was."""

    version: int | None = None


class Where(_Said, frozen=True, kw_only=True):
    """Which entities are meant."""

    where: dict[str, Any] = {}


class Asked(_Said, frozen=True, kw_only=True):
    """A query, as in the application protocol, with the ``fields`` that its rows are to have."""

    where: dict[str, Any] | None = None
    order_by: dict[str, Any] | list[dict[str, Any]] | None = None
    limit: int | None = None
    offset: int | None = None
    after: str | None = None
    fields: tuple[str, ...] | None = None
    include_permissions: bool = False

    def query(self) -> dict[str, Any]:
        """What :func:`collab.query.parse.parse_query` reads."""
        said = {
            "where": self.where,
            "orderBy": self.order_by,
            "limit": self.limit,
            "offset": self.offset,
            "after": self.after,
        }
        return {name: value for name, value in said.items() if value is not None}


class Permissions(_Said, frozen=True, kw_only=True):
    """Whose rights have changed, and on what: ``resourceId`` is ``collection/id``. Left out: everybody's, on all."""

    resource_id: str | None = None
    user_id: str | None = None


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows match."""

    count: int


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """Events of one entity, the newest first."""

    events: list[EntityEvent]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """``ok``, or why this server should get no traffic now."""

    status: str


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """The declared collections that the caller may read: ``{name: {"schema", "content", "version"}}``."""

    collections: dict[str, dict[str, Any]]


class _Object(msgspec.Struct, frozen=True):
    """An object, to be looked through."""

    value: dict[str, Any]


_any_object = msgspec.json.Decoder(dict[str, Any])


def read_object(data: bytes) -> dict[str, Any]:
    """A body that is any JSON object. Raises :class:`InvalidRequest`."""
    try:
        value = _any_object.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise InvalidRequest(f"the body is no JSON object: {error}") from None
    _check(_Object(value))
    return value


def read(data: bytes, kind: type[Body]) -> Body:
    """A body of that kind; an empty one says nothing. Raises :class:`InvalidRequest`."""
    try:
        body = msgspec.json.decode(data or b"{}", type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise InvalidRequest(f"the body: {error}") from None
    _check(body)
    return body


def _check(body: msgspec.Struct) -> None:
    wrong = wrong_value(body, MAX_DEPTH)
    if wrong is not None:
        raise InvalidRequest(f"the body holds {wrong}")
