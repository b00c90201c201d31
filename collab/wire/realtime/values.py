"""The values in messages of the application protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from collab.errors import CollabError
from collab.event import FieldConflict
from collab.jsonable import Jsonable

Number: TypeAlias = Annotated[int, Meta(ge=0, le=2**53 - 1)]
"""The number of a request or a subscription, or a version: an integer that every language can represent."""


class Target(
    msgspec.Struct,
    tag_field="kind",
    frozen=True,
    kw_only=True,
    rename="camel",
    omit_defaults=True,
    forbid_unknown_fields=True,
):
    """The target of a subscription."""


class Entities(Target, tag="entities", frozen=True, kw_only=True):
    """Events of one entity, or of all in a collection (``*``). ``fields``: only changes of these fields.

    ``cursor`` is that of the last event seen, to resume after it.
    """

    collection: str
    entity: str = "*"
    fields: tuple[str, ...] | None = None
    include_permissions: bool = False
    cursor: str | None = None


class Rows(Target, tag="rows", frozen=True, kw_only=True):
    """A live query."""

    collection: str
    query: dict[str, Any] = {}
    fields: tuple[str, ...] | None = None
    include_permissions: bool = False


class Aggregated(Target, tag="aggregate", frozen=True, kw_only=True):
    """A live aggregate: its groups arrive like the rows of a live query."""

    collection: str
    query: dict[str, Any] = {}


class Custom(Target, tag="custom", frozen=True, kw_only=True):
    """Custom events of one type."""

    event: str
    cursor: str | None = None


class System(Target, tag="system", frozen=True, kw_only=True):
    """``schema_updated``, ``permissions_changed`` or ``health``.

    ``schema_updated`` with ``cursor`` begins with the declarations since then.
    """

    event: str
    cursor: str | None = None


class Analytics(Target, tag="analytics", frozen=True, kw_only=True):
    """A metric that is sent whenever it changes: ``active_users``."""

    metric: str


class Presence(Target, tag="presence", frozen=True, kw_only=True):
    """Presence in a room (``collection/id``, or ``id`` of ``documents``)."""

    room: str


AnyTarget: TypeAlias = Entities | Rows | Aggregated | Custom | System | Analytics | Presence


class OneWrite(
    msgspec.Struct,
    tag_field="type",
    frozen=True,
    kw_only=True,
    rename="camel",
    omit_defaults=True,
    forbid_unknown_fields=True,
):
    """One of several writes. Its members are those of the message of the same type."""


class CreateOne(OneWrite, tag="create", frozen=True, kw_only=True):
    """Create an entity."""

    collection: str
    data: dict[str, Any]
    entity: str | None = None
    request: str | None = None


class UpdateOne(OneWrite, tag="update", frozen=True, kw_only=True):
    """Set some fields, and remove the ``unset`` ones."""

    collection: str
    entity: str
    changes: dict[str, Any] = {}
    unset: tuple[str, ...] = ()
    version: Number | None = None
    on_conflict: Literal["merge", "reject"] = "merge"
    request: str | None = None


class DeleteOne(OneWrite, tag="delete", frozen=True, kw_only=True):
    """Delete an entity."""

    collection: str
    entity: str
    request: str | None = None


AnyWrite: TypeAlias = CreateOne | UpdateOne | DeleteOne

MOST_WRITES = 1000
"""Maximum number of writes in one request, each on its own."""
MOST_IN_TRANSACTION = 100
"""Maximum number of writes in a transaction: all of them are applied in one turn of the server."""


class Limits(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The limits of this session; 0 means no limit."""

    max_subscriptions: int
    max_events_per_second: int
    max_message_bytes: int


class Error(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An error as a value. ``code`` is listed in docs/protocol.md; ``retryable``: the request may succeed later."""

    code: str
    message: str
    details: dict[str, Any] = {}
    retryable: bool = False

    @classmethod
    def of(cls, error: CollabError) -> Error:
        return cls(code=error.code, message=error.message, details=error.details, retryable=error.retryable)


class Written(Jsonable, frozen=True, kw_only=True, rename="camel"):
    """A committed write."""

    data: dict[str, Any]
    version: int
    conflicts: tuple[FieldConflict, ...] = ()


class WriteResult(Jsonable, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The result of one of several writes: ``error``, or else the members of :class:`Written`."""

    data: dict[str, Any] | None = None
    version: int = 0
    conflicts: tuple[FieldConflict, ...] = ()
    error: Error | None = None

    @classmethod
    def of(cls, outcome: Written | CollabError) -> WriteResult:
        if isinstance(outcome, CollabError):
            return cls(error=Error.of(outcome))
        return cls(data=outcome.data, version=outcome.version, conflicts=outcome.conflicts)


class Found(Jsonable, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An entity, now or at a past version."""

    data: dict[str, Any]
    version: int
    deleted: bool = False
    content: dict[str, Any] | None = None
    permissions: dict[str, bool] | None = None


class Included(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What is related to rows by one relation: ``rows``, and their ``versions``, for each value of their member ``by``.

    Related are rows of ``collection`` whose ``member`` has that value. A value to which nothing is related is left out.
    ``one``: there is at most one row for each.
    """

    collection: str
    by: str
    member: str
    one: bool = False
    rows: dict[str, list[dict[str, Any]]]
    versions: dict[str, list[int]]

    def of(self, row: Mapping[str, Any]) -> Any:
        """Return what is related to a row: with ``one`` a row or ``None``, else a list of rows."""
        key = row.get(self.by)
        found = self.rows.get(key, []) if isinstance(key, str) else []
        return next(iter(found), None) if self.one else found


class FoundMany(Jsonable, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Rows; ``next`` is the query's ``after`` for the next page, if there may be one.

    ``included`` is what is related to them, by the name of the relation, if the query has ``include``.
    """

    rows: list[dict[str, Any]]
    versions: list[int]
    next: str | None = None
    permissions: list[dict[str, bool]] | None = None
    included: dict[str, Included] | None = None

    def related(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is related to one of the rows, by relation: a row or ``None``, or a list of rows."""
        return related(row, self.included)


def related(row: Mapping[str, Any], included: Mapping[str, Included] | None) -> dict[str, Any]:
    """Return what is related to a row, by relation: a row or ``None``, or a list of rows."""
    return {name: each.of(row) for name, each in (included or {}).items()}


class Groups(Jsonable, frozen=True, kw_only=True, rename="camel"):
    """The groups of an aggregate: ``{id, group, count}``, with ``sum``, ``avg``, ``min`` and ``max`` as requested."""

    groups: list[dict[str, Any]]


class Subscribed(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One subscription is active from ``cursor`` on, or ``error`` says why not.

    ``recovered`` is false if the events after a given ``cursor`` are no longer known: read the state again. Rows of a
    live query, values of metrics and people in a room follow at once, as messages.
    """

    sub: int
    cursor: str | None = None
    recovered: bool = True
    error: Error | None = None


class Step(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One step from a list of rows to the next, to be applied in order.

    ``enter``: insert ``data`` at ``index``. ``leave``: remove. ``move``: remove and insert at ``index``. ``change``:
    ``set`` and ``unset`` members in place. ``version`` is the row's new version; for a row that leaves, the version
    that made it leave, if the server knows it. ``permissions`` come with ``enter``, if they were requested.
    """

    op: Literal["enter", "leave", "move", "change"]
    id: str
    index: int | None = None
    data: dict[str, Any] | None = None
    set: dict[str, Any] | None = None
    unset: tuple[str, ...] | None = None
    version: int | None = None
    permissions: dict[str, bool] | None = None


class IncludedSteps(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Steps of the rows that are related to rows with the key ``key``; ``fresh``: from an empty list."""

    relation: str
    key: str
    steps: list[Step]
    fresh: bool = False


class Person(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One verified user with the states of all their clients, or one unverified client.

    ``key`` identifies the person within the room. ``state`` is the newest of ``states`` (cursor and any other members).
    """

    key: str
    user_id: str | None = None
    name: str | None = None
    state: dict[str, Any] = {}
    states: list[dict[str, Any]] = []


class Present(Jsonable, frozen=True, kw_only=True, rename="camel"):
    """Who is in a document. ``count`` may be larger than the number of ``people``: of a crowd, a sample is listed."""

    count: int
    people: list[Person]


class ConnectedSession(Jsonable, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A session that is connected now, in a ``document`` or of the application protocol.

    All sessions of one connection share the name ``session``. ``since``: when the connection was made.
    """

    session: str
    user_id: str | None = None
    name: str | None = None
    protocol: Literal["yjs", "hocuspocus", "realtime", "events"]
    document: str | None = None
    address: str | None = None
    since: str


def select(data: dict[str, Any], fields: Sequence[str] | None) -> dict[str, Any]:
    """Select these members of an entity's data, and its ``id``."""
    if fields is None:
        return data
    return {"id": data["id"], **{name: data[name] for name in fields if name in data}}


PROTO = "__proto__"
"""A member name that application objects must not have: JavaScript would change the object's prototype, and its
MessagePack readers refuse the whole message.
"""


def without_proto(value: Any) -> Any:
    """A copy of a JSON value without members named ``__proto__``."""
    if isinstance(value, dict):
        return {name: without_proto(member) for name, member in value.items() if name != PROTO}
    if isinstance(value, list):
        return [without_proto(item) for item in value]
    return value
