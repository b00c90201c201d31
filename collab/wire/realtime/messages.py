"""The application protocol: messages of ``/realtime``. Its rules are in docs/protocol.md."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from collab.wire.realtime.values import (
    AnyTarget,
    AnyWrite,
    Error,
    Included,
    IncludedSteps,
    Limits,
    Number,
    Person,
    Step,
)

VERSION = 1
"""The version of the protocol."""


class Message(msgspec.Struct, tag_field="type", frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of all messages, tagged by ``type``."""


class Asked(Message, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request. The server answers with one :class:`Reply` or :class:`Failure` with the same ``id``.

    ``traceparent`` (W3C Trace Context) names the span of the client that asks.
    """

    id: Number
    traceparent: str | None = None


# from the client: the session


class Hello(Message, tag="hello", frozen=True, kw_only=True):
    """The first message. Answered by :class:`Welcome`, or by :class:`Failure` and the end of the connection.

    ``api_key`` identifies the application, ``token`` (a JWT) the user. ``project_id`` and ``user_id`` must match the
    credential; ``user_id`` alone suffices only if the server requires no credential. ``max_subscriptions`` and
    ``max_events_per_second`` may lower the server's limits, never raise them.
    """

    protocol: int = VERSION
    project_id: str | None = None
    api_key: str | None = None
    user_id: str | None = None
    token: str | None = None
    max_subscriptions: Number | None = None
    max_events_per_second: Number | None = None


class Authenticate(Asked, tag="authenticate", frozen=True, kw_only=True):
    """The next credential of the same user, sent before the current one expires."""

    token: str
    user_id: str | None = None


class Ping(Message, tag="ping", frozen=True, kw_only=True):
    """Answered by :class:`Pong`."""


# from the client: entities


class Create(Asked, tag="create", frozen=True, kw_only=True):
    """Create an entity; without ``entity`` the server chooses its id. Answered by :class:`Written`.

    ``request`` (here and below; unique, at most 64 characters) makes a repeated write take effect once.
    """

    collection: str
    data: dict[str, Any]
    entity: str | None = None
    request: str | None = None


class Update(Asked, tag="update", frozen=True, kw_only=True):
    """Set some fields, and remove the ``unset`` ones. Answered by :class:`Written`.

    ``version`` is the last one that the writer has seen: later writes to the same fields by others are conflicts. With
    ``on_conflict="reject"`` a conflict is an error instead of a write.
    """

    collection: str
    entity: str
    changes: dict[str, Any]
    unset: tuple[str, ...] = ()
    version: Number | None = None
    on_conflict: Literal["merge", "reject"] = "merge"
    request: str | None = None


class Delete(Asked, tag="delete", frozen=True, kw_only=True):
    """Delete an entity; its history is kept. Answered by :class:`Written`."""

    collection: str
    entity: str
    request: str | None = None


class Restore(Asked, tag="restore", frozen=True, kw_only=True):
    """Restore a deleted entity; with ``version``, restore the state of that version, as a new edit."""

    collection: str
    entity: str
    version: Number | None = None
    request: str | None = None


class WriteMany(Asked, tag="writeMany", frozen=True, kw_only=True):
    """Up to ``MOST_WRITES`` writes, each on its own. Answered by one :class:`WriteResult` for each, in order."""

    writes: tuple[AnyWrite, ...]


class Transaction(Asked, tag="transaction", frozen=True, kw_only=True):
    """Up to ``MOST_IN_TRANSACTION`` writes of different entities, all of which are made, or none.

    Answered by one :class:`WriteResult` for each, in order. ``request`` names all of them; they have no names of their
    own.
    """

    writes: tuple[AnyWrite, ...]
    request: str | None = None


class FindById(Asked, tag="findById", frozen=True, kw_only=True):
    """One entity. Answered by :class:`Found`; ``content`` requests its content roots as plain values.

    ``version`` or ``at`` (RFC 3339) requests a past state.
    """

    collection: str
    entity: str
    content: bool = False
    version: Number | None = None
    at: str | None = None
    include_permissions: bool = False


class FindMany(Asked, tag="findMany", frozen=True, kw_only=True):
    """The rows of a query. Answered by :class:`FoundMany`. ``query`` is as in :mod:`collab.query.parse`."""

    collection: str
    query: dict[str, Any] = {}
    fields: tuple[str, ...] | None = None
    include_permissions: bool = False


class Count(Asked, tag="count", frozen=True, kw_only=True):
    """The number of matching rows. Answered by a number."""

    collection: str
    query: dict[str, Any] = {}


class Aggregate(Asked, tag="aggregate", frozen=True, kw_only=True):
    """Count, sum, average, minimum and maximum of matching rows, by group. Answered by :class:`Groups`.

    ``query`` is as in :mod:`collab.query.parse_aggregation`.
    """

    collection: str
    query: dict[str, Any] = {}


class History(Asked, tag="history", frozen=True, kw_only=True):
    """Events of one entity, newest first. Answered by a list of :class:`collab.event.EntityEvent`."""

    collection: str
    entity: str
    limit: int = 50
    before: Number | None = None  # version


class Schema(Asked, tag="schema", frozen=True, kw_only=True):
    """The declared collections. Answered by ``{collection: {"schema": …, "content": {root: kind}, "version": n}}``."""


# from the client: subscriptions


class Subscription(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One subscription; ``sub`` is a number chosen by the client that is not in use on this connection."""

    sub: Number
    target: AnyTarget


class Subscribe(Asked, tag="subscribe", frozen=True, kw_only=True):
    """Any number of subscriptions. Answered by one :class:`Subscribed` for each, in order."""

    subscriptions: tuple[Subscription, ...]


class Unsubscribe(Asked, tag="unsubscribe", frozen=True, kw_only=True):
    """End subscriptions. After the answer no more is sent for them."""

    subs: tuple[int, ...]


class Emit(Asked, tag="emit", frozen=True, kw_only=True):
    """A custom event: an object with a string ``type``, optional ``channels``, and any other members.

    Repeated with the same ``request``, it is delivered once.
    """

    event: dict[str, Any]
    request: str | None = None


class JoinChannel(Asked, tag="joinChannel", frozen=True, kw_only=True):
    """Start receiving the events of a channel."""

    channel: str


class LeaveChannel(Asked, tag="leaveChannel", frozen=True, kw_only=True):
    """Stop receiving the events of a channel."""

    channel: str


class JoinPresence(Asked, tag="joinPresence", frozen=True, kw_only=True):
    """Appear in a room with this state. If already present, replace the state."""

    room: str
    state: dict[str, Any]


class UpdatePresence(Asked, tag="updatePresence", frozen=True, kw_only=True):
    """Change some members of one's own state."""

    room: str
    state: dict[str, Any]


class LeavePresence(Asked, tag="leavePresence", frozen=True, kw_only=True):
    """Disappear from a room."""

    room: str


ClientMessage: TypeAlias = (
    Hello
    | Authenticate
    | Ping
    | Create
    | Update
    | Delete
    | Restore
    | WriteMany
    | Transaction
    | FindById
    | FindMany
    | Count
    | Aggregate
    | History
    | Schema
    | Subscribe
    | Unsubscribe
    | Emit
    | JoinChannel
    | LeaveChannel
    | JoinPresence
    | UpdatePresence
    | LeavePresence
)


# from the server


class Welcome(Message, tag="welcome", frozen=True, kw_only=True):
    """The session has begun. ``cursor`` is the current position in the stream of events.

    ``at`` is the server's time (RFC 3339), by which it forgets the names of writes; older servers do not send it.
    """

    protocol: int
    project_id: str
    user_id: str | None
    session: str
    cursor: str
    heartbeat_seconds: float
    limits: Limits
    at: str | None = None


class Pong(Message, tag="pong", frozen=True, kw_only=True):
    """The answer to :class:`Ping`."""


class Reply(Message, tag="reply", frozen=True, kw_only=True):
    """The answer to the request with this ``id``."""

    id: int
    result: Any = None


class Failure(Message, tag="failure", frozen=True, kw_only=True):
    """The request ``id`` was refused; or the subscription ``sub`` has ended; or, without either, the session has."""

    error: Error
    id: int | None = None
    sub: int | None = None


class Event(Message, tag="event", frozen=True, kw_only=True):
    """An entity event (:class:`collab.event.EntityEvent`, already encoded) for these subscriptions of the client."""

    subs: tuple[int, ...]
    cursor: str
    event: Any
    permissions: dict[str, bool] | None = None


class RowsAre(Message, tag="rows", frozen=True, kw_only=True):
    """All rows of a live query, in order: at first, and whenever a diff is not possible.

    ``included`` is what is related to them, by the name of the relation, if the query has ``include``.
    """

    sub: int
    rows: list[dict[str, Any]]
    versions: list[int]
    permissions: list[dict[str, bool]] | None = None
    included: dict[str, Included] | None = None


class RowsChanged(Message, tag="diff", frozen=True, kw_only=True):
    """A diff of the rows of a live query, and then of the rows that it includes."""

    sub: int
    steps: list[Step]
    included: list[IncludedSteps] = []


class CustomEvent(Message, tag="custom", frozen=True, kw_only=True):
    """A custom event: the emitted object with ``at``, and ``userId`` if the sender was verified."""

    subs: tuple[int, ...]
    cursor: str
    event: dict[str, Any]


class SystemEvent(Message, tag="system", frozen=True, kw_only=True):
    """A system event: an object with ``type`` and ``at``. ``schema_updated`` has a cursor."""

    subs: tuple[int, ...]
    event: dict[str, Any]
    cursor: str | None = None


class Metric(Message, tag="metric", frozen=True, kw_only=True):
    """The current value of a metric."""

    subs: tuple[int, ...]
    value: int | float


class People(Message, tag="presence", frozen=True, kw_only=True):
    """Presence in a room. ``people`` are those who joined or changed, ``left`` the keys of those who left.

    ``complete``: the list is complete (at first, and whenever a diff is not possible). ``count`` may be larger than the
    number of people listed: for a crowded room a sample is sent.
    """

    subs: tuple[int, ...]
    count: int
    people: list[Person]
    left: tuple[str, ...] = ()
    complete: bool = False


ServerMessage: TypeAlias = (
    Welcome | Pong | Reply | Failure | Event | RowsAre | RowsChanged | CustomEvent | SystemEvent | Metric | People
)
