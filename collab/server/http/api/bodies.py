"""Request and response bodies that the application protocol has no message for."""

from __future__ import annotations

import re
from typing import Any, Literal, TypeVar

import msgspec

from collab.errors import InvalidRequest
from collab.event import EntityEvent
from collab.nearest import did_you_mean
from collab.wire.realtime.encoding import MAX_DEPTH, decode_fault, wrong_value
from collab.wire.realtime.values import AnyWrite, ConnectedSession, Number, WriteResult

Body = TypeVar("Body", bound=msgspec.Struct)


class _Said(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A request body."""


class Changes(_Said, frozen=True, kw_only=True):
    """New values of some fields; ``unset`` fields are removed.

    ``version`` is the last version that the writer has seen: later writes by others to the same fields are conflicts.
    With ``onConflict: "reject"`` a conflict is an error and nothing is written.
    """

    changes: dict[str, Any] = {}
    unset: tuple[str, ...] = ()
    version: Number | None = None
    on_conflict: Literal["merge", "reject"] = "merge"


class Writing(_Said, frozen=True, kw_only=True):
    """Up to 1,000 writes, of any collections. Each has a ``type``; see :class:`Results`."""

    writes: tuple[AnyWrite, ...]


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """One result for each write, in order."""

    results: list[WriteResult]


class Restoring(_Said, frozen=True, kw_only=True):
    """``version``: the version to reset the entity to; without it, a deleted entity is restored unchanged."""

    version: Number | None = None


class Where(_Said, frozen=True, kw_only=True):
    """A filter on entities."""

    where: dict[str, Any] = {}
    search: str | None = None

    def query(self) -> dict[str, Any]:
        """Return the query for :func:`collab.query.parse.parse_query`."""
        return {"where": self.where} if self.search is None else {"where": self.where, "search": self.search}


class Asked(_Said, frozen=True, kw_only=True):
    """A query, as in the application protocol, with the ``fields`` to return."""

    where: dict[str, Any] | None = None
    search: str | None = None
    order_by: dict[str, Any] | list[dict[str, Any]] | None = None
    limit: int | None = None
    offset: int | None = None
    after: str | None = None
    include: dict[str, Any] | None = None
    fields: tuple[str, ...] | None = None
    include_permissions: bool = False

    def query(self) -> dict[str, Any]:
        """Return the query for :func:`collab.query.parse_include.parse_including`."""
        said = {
            "where": self.where,
            "search": self.search,
            "orderBy": self.order_by,
            "limit": self.limit,
            "offset": self.offset,
            "after": self.after,
            "include": self.include,
        }
        return {name: value for name, value in said.items() if value is not None}


class AggregateAsked(_Said, frozen=True, kw_only=True):
    """An aggregate, as in the application protocol: members are names, or lists of them."""

    where: dict[str, Any] | None = None
    search: str | None = None
    group_by: str | tuple[str, ...] | None = None
    sum: str | tuple[str, ...] | None = None
    avg: str | tuple[str, ...] | None = None
    min: str | tuple[str, ...] | None = None
    max: str | tuple[str, ...] | None = None

    def query(self) -> dict[str, Any]:
        """Return the aggregate for :func:`collab.query.parse_aggregation.parse_aggregation`."""
        said = {
            "where": self.where,
            "search": self.search,
            "groupBy": self.group_by,
            "sum": self.sum,
            "avg": self.avg,
            "min": self.min,
            "max": self.max,
        }
        return {name: value for name, value in said.items() if value is not None}


class Permissions(_Said, frozen=True, kw_only=True):
    """Whose rights have changed, and on what: ``resourceId`` is ``collection/id``. By default everybody's, on all."""

    resource_id: str | None = None
    user_id: str | None = None


class Disconnecting(_Said, frozen=True, kw_only=True):
    """Whose sessions to end: those of a user, or one. ``reason`` is sent to them."""

    user_id: str | None = None
    session: str | None = None
    reason: str = "disconnected by the application"


class Revoking(_Said, frozen=True, kw_only=True):
    """What to refuse from now on: ``token``; the token with this id (claim ``jti``); or all tokens of a user.

    Without ``token``, this is remembered for ``seconds``.
    """

    token: str | None = None
    token_id: str | None = None
    user_id: str | None = None
    seconds: float = 30 * 86_400.0


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """It is done, and stays so after a restart."""

    done: bool = True


class Connected(msgspec.Struct, frozen=True, kw_only=True):
    """The sessions that are connected."""

    sessions: list[ConnectedSession]


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """The number of matching rows."""

    count: int


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """Events of one entity, newest first."""

    events: list[EntityEvent]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """``ok``, or why this server should get no traffic now."""

    status: str


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """The declared collections that the caller may read: ``{name: {"schema", "content", "version"}}``."""

    collections: dict[str, dict[str, Any]]


class _Object(msgspec.Struct, frozen=True):
    """A wrapper for the value check."""

    value: dict[str, Any]


_UNKNOWN = re.compile(r"unknown field `(?P<name>[^`]*)`")
_any_object = msgspec.json.Decoder(dict[str, Any])


def read_object(data: bytes) -> dict[str, Any]:
    """Read a body that is any JSON object. Raises :class:`InvalidRequest`."""
    try:
        value = _any_object.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise InvalidRequest(f"the body is not a JSON object: {decode_fault(data, error)}") from None
    _check(_Object(value))
    return value


def read(data: bytes, kind: type[Body]) -> Body:
    """Read a body of that type; an empty body means defaults. Raises :class:`InvalidRequest`."""
    try:
        body = msgspec.json.decode(data or b"{}", type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        unknown = _UNKNOWN.search(str(error))
        meant = did_you_mean(unknown["name"], kind.__struct_encode_fields__) if unknown is not None else ""
        raise InvalidRequest(f"the body: {decode_fault(data, error)}{meant}") from None
    _check(body)
    return body


def _check(body: msgspec.Struct) -> None:
    wrong = wrong_value(body, MAX_DEPTH)
    if wrong is not None:
        raise InvalidRequest(f"the body contains {wrong}")
