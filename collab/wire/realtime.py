"""The application protocol: messages of ``/realtime``, as JSON or MessagePack. The rules are in docs/protocol.md.

JSON travels in text frames. MessagePack travels in binary frames behind one zero byte. A binary frame that begins
with anything else is of the Hocuspocus protocol (:mod:`collab.wire.hocuspocus`): it begins with the length of a
document's name, which is never zero. So documents are edited over the socket that carries everything else.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from collab.errors import CollabError, InvalidRequest
from collab.event import Conflict

VERSION = 1
MESSAGE_PACK = b"\x00"
"""What a binary frame with a message begins with."""
MAX_DEPTH = 32
"""Arrays and objects in each other, in anything a client sends."""


class Message(msgspec.Struct, tag_field="type", frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Anything that is said; ``type`` tells which."""


class Asked(Message, frozen=True, kw_only=True):
    """A request. It is answered by one :class:`Reply` or :class:`Failure` with its ``id``."""

    id: int


# from the client: the session


class Hello(Message, tag="hello", frozen=True, kw_only=True):
    """The first message. Answered by :class:`Welcome`, or by :class:`Failure` and the end of the connection.

    ``api_key`` says which application this is, ``token`` (a JWT) which user. ``project_id`` and ``user_id`` must be
    what the credential says; only where no credential is asked for does ``user_id`` stand for itself.
    ``max_subscriptions`` and ``max_events_per_second`` may lower the limits of the server, never raise them.
    """

    protocol: int = VERSION
    project_id: str | None = None
    api_key: str | None = None
    user_id: str | None = None
    token: str | None = None
    max_subscriptions: int | None = None
    max_events_per_second: int | None = None


class Authenticate(Asked, tag="authenticate", frozen=True, kw_only=True):
    """The next credential of the same user, before the last one ends."""

    token: str
    user_id: str | None = None


class Ping(Message, tag="ping", frozen=True, kw_only=True):
    """Answered by :class:`Pong`."""


# from the client: entities


class Create(Asked, tag="create", frozen=True, kw_only=True):
    """A new entity; the server names it unless ``entity`` does. Answered by :class:`Written`.

    ``request`` (here and below; unique, at most 64 characters) makes a write that is sent again have effect once.
    """

    collection: str
    data: dict[str, Any]
    entity: str | None = None
    request: str | None = None


class Update(Asked, tag="update", frozen=True, kw_only=True):
    """New values of some fields. ``unset`` fields are removed. Answered by :class:`Written`.

    ``version`` is the last that the writer has seen: what others wrote to the same fields since then is a conflict.
    ``on_conflict="reject"`` asks for an error instead of a write in that case.
    """

    collection: str
    entity: str
    changes: dict[str, Any]
    unset: tuple[str, ...] = ()
    version: int | None = None
    on_conflict: Literal["merge", "reject"] = "merge"
    request: str | None = None


class Delete(Asked, tag="delete", frozen=True, kw_only=True):
    """Delete an entity; its history is kept. Answered by :class:`Written`."""

    collection: str
    entity: str
    request: str | None = None


class Restore(Asked, tag="restore", frozen=True, kw_only=True):
    """Bring a deleted entity back; with ``version``, bring any entity to what it was then, as a new edit."""

    collection: str
    entity: str
    version: int | None = None
    request: str | None = None


class FindById(Asked, tag="findById", frozen=True, kw_only=True):
    """One entity. Answered by :class:`Found`; ``content`` asks for its content roots as plain values.

    ``version`` or ``at`` (RFC 3339) ask for what it was then.
    """

    collection: str
    entity: str
    content: bool = False
    version: int | None = None
    at: str | None = None
    include_permissions: bool = False


class FindMany(Asked, tag="findMany", frozen=True, kw_only=True):
    """The rows of a query. Answered by :class:`FoundMany`. ``query`` is as in :mod:`collab.query.parse`."""

    collection: str
    query: dict[str, Any] = {}
    fields: tuple[str, ...] | None = None
    include_permissions: bool = False


class Count(Asked, tag="count", frozen=True, kw_only=True):
    """How many rows match. Answered by a number."""

    collection: str
    query: dict[str, Any] = {}


class History(Asked, tag="history", frozen=True, kw_only=True):
    """Events of one entity, the newest first. Answered by a list of :class:`collab.event.EntityEvent`."""

    collection: str
    entity: str
    limit: int = 50
    before: int | None = None  # version


class Schema(Asked, tag="schema", frozen=True, kw_only=True):
    """The declared collections. Answered by ``{collection: {"schema": …, "content": {root: kind}, "version": n}}``."""


# from the client: subscriptions


class Target(msgspec.Struct, tag_field="kind", frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What a subscription is about."""


class Entities(Target, tag="entities", frozen=True, kw_only=True):
    """Events of one entity, or of all in a collection (``*``). ``fields``: only changes of these, and only these.

    ``cursor`` is of the last event seen, when resuming.
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


class Custom(Target, tag="custom", frozen=True, kw_only=True):
    """Custom events of one type."""

    event: str
    cursor: str | None = None


class System(Target, tag="system", frozen=True, kw_only=True):
    """``schema_updated``, ``permissions_changed`` or ``health``."""

    event: str


class Analytics(Target, tag="analytics", frozen=True, kw_only=True):
    """A number that is told whenever it changes: ``active_users``."""

    metric: str


class Presence(Target, tag="presence", frozen=True, kw_only=True):
    """Who is in a room (``collection/id``, or ``id`` of ``documents``)."""

    room: str


AnyTarget: TypeAlias = Entities | Rows | Custom | System | Analytics | Presence


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """One of several; ``sub`` is the client's number for it, not in use on this connection."""

    sub: int
    target: AnyTarget


class Subscribe(Asked, tag="subscribe", frozen=True, kw_only=True):
    """Any number of subscriptions. Answered by one :class:`Subscribed` for each, in order."""

    subscriptions: tuple[Subscription, ...]


class Unsubscribe(Asked, tag="unsubscribe", frozen=True, kw_only=True):
    """Nothing is sent for these any more once it is answered."""

    subs: tuple[int, ...]


class Emit(Asked, tag="emit", frozen=True, kw_only=True):
    """A custom event: an object with ``type`` (a text), perhaps ``channels``, and whatever else it holds."""

    event: dict[str, Any]


class JoinChannel(Asked, tag="joinChannel", frozen=True, kw_only=True):
    """Be sent the events of a channel."""

    channel: str


class LeaveChannel(Asked, tag="leaveChannel", frozen=True, kw_only=True):
    """Be sent the events of a channel no more."""

    channel: str


class JoinPresence(Asked, tag="joinPresence", frozen=True, kw_only=True):
    """Be seen in a room, with this state. Once more: the state is replaced."""

    room: str
    state: dict[str, Any]


class UpdatePresence(Asked, tag="updatePresence", frozen=True, kw_only=True):
    """Change some members of the own state."""

    room: str
    state: dict[str, Any]


class LeavePresence(Asked, tag="leavePresence", frozen=True, kw_only=True):
    """Be seen no more."""

    room: str


ClientMessage: TypeAlias = (
    Hello
    | Authenticate
    | Ping
    | Create
    | Update
    | Delete
    | Restore
    | FindById
    | FindMany
    | Count
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


class Limits(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What this session may do. 0 is no limit."""

    max_subscriptions: int
    max_events_per_second: int
    max_message_bytes: int


class Welcome(Message, tag="welcome", frozen=True, kw_only=True):
    """The session has begun. ``cursor`` is where the stream of events stands now."""

    protocol: int
    project_id: str
    user_id: str | None
    session: str
    cursor: str
    heartbeat_seconds: float
    limits: Limits


class Pong(Message, tag="pong", frozen=True, kw_only=True):
    """The answer to :class:`Ping`."""


class Reply(Message, tag="reply", frozen=True, kw_only=True):
    """The answer to the request with this ``id``."""

    id: int
    result: Any = None


class Error(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An error as a value. ``code`` is one of docs/protocol.md; ``retryable``: the same may succeed later."""

    code: str
    message: str
    details: dict[str, Any] = {}
    retryable: bool = False

    @classmethod
    def of(cls, error: CollabError) -> Error:
        """What a peer is told of ``error``."""
        return cls(code=error.code, message=error.message, details=error.details, retryable=error.retryable)


class Failure(Message, tag="failure", frozen=True, kw_only=True):
    """The request ``id`` was refused; or the subscription ``sub`` has ended; or, without either, the session."""

    error: Error
    id: int | None = None
    sub: int | None = None


class Written(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A write that is committed."""

    data: dict[str, Any]
    version: int
    conflicts: tuple[Conflict, ...] = ()


class Found(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An entity as it is, or was."""

    data: dict[str, Any]
    version: int
    deleted: bool = False
    content: dict[str, Any] | None = None
    permissions: dict[str, bool] | None = None


class FoundMany(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Rows; ``next`` is the ``after`` of the query for the next page, if there may be one."""

    rows: list[dict[str, Any]]
    versions: list[int]
    next: str | None = None
    permissions: list[dict[str, bool]] | None = None


class Subscribed(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One subscription is in force from ``cursor`` on, or ``error`` says why not.

    ``recovered`` is false if a ``cursor`` was given and what came after it is not known any more: read anew.
    Rows of a live query, values of metrics and people of a room follow at once, as messages.
    """

    sub: int
    cursor: str | None = None
    recovered: bool = True
    error: Error | None = None


class Event(Message, tag="event", frozen=True, kw_only=True):
    """An entity event (:class:`collab.event.EntityEvent`, encoded already) for these subscriptions of the client."""

    subs: tuple[int, ...]
    cursor: str
    event: Any
    permissions: dict[str, bool] | None = None


class RowsAre(Message, tag="rows", frozen=True, kw_only=True):
    """All rows of a live query, in order: at first, and whenever diffs would not do."""

    sub: int
    rows: list[dict[str, Any]]
    versions: list[int]
    permissions: list[dict[str, bool]] | None = None


class Step(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One step from a list of rows to the next, to be made in order.

    ``enter``: insert ``data`` at ``index``. ``leave``: remove. ``move``: take out and insert at ``index``.
    ``change``: ``set`` and ``unset`` members in place. ``version`` is the row's new one.
    """

    op: Literal["enter", "leave", "move", "change"]
    id: str
    index: int | None = None
    data: dict[str, Any] | None = None
    set: dict[str, Any] | None = None
    unset: tuple[str, ...] | None = None
    version: int | None = None


class RowsChanged(Message, tag="diff", frozen=True, kw_only=True):
    """What happened to the rows of a live query."""

    sub: int
    steps: list[Step]


class CustomEvent(Message, tag="custom", frozen=True, kw_only=True):
    """A custom event: what was emitted, with ``at``, and ``userId`` of the verified sender."""

    subs: tuple[int, ...]
    cursor: str
    event: dict[str, Any]


class SystemEvent(Message, tag="system", frozen=True, kw_only=True):
    """A system event: an object with ``type`` and ``at``."""

    subs: tuple[int, ...]
    event: dict[str, Any]


class Metric(Message, tag="metric", frozen=True, kw_only=True):
    """A number as it is now."""

    subs: tuple[int, ...]
    value: int | float


class Person(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One verified user with the states of all their clients, or one client that nobody verified.

    ``key`` tells people of one room apart. ``state`` is the newest of ``states`` (cursor and whatever else was said).
    """

    key: str
    user_id: str | None = None
    name: str | None = None
    state: dict[str, Any] = {}
    states: list[dict[str, Any]] = []


class People(Message, tag="presence", frozen=True, kw_only=True):
    """Who is in a room. ``people`` holds those who came or changed, ``left`` the keys of those who went.

    ``complete``: it is all of them (at first, and whenever changes would not do). ``count`` may be larger than the
    number of people listed: of a crowded room a sample is sent.
    """

    subs: tuple[int, ...]
    count: int
    people: list[Person]
    left: tuple[str, ...] = ()
    complete: bool = False


ServerMessage: TypeAlias = (
    Welcome | Pong | Reply | Failure | Event | RowsAre | RowsChanged | CustomEvent | SystemEvent | Metric | People
)

Format = Literal["json", "msgpack"]

_client_json = msgspec.json.Decoder(ClientMessage)
_client_msgpack = msgspec.msgpack.Decoder(ClientMessage)
_server_json = msgspec.json.Decoder(ServerMessage)
_server_msgpack = msgspec.msgpack.Decoder(ServerMessage)
_json = msgspec.json.Encoder()
_msgpack = msgspec.msgpack.Encoder()


def encode(message: Message, form: Format) -> str | bytes:
    """A message as the content of a frame: ``str`` for a text frame, ``bytes`` for a binary one."""
    return _json.encode(message).decode() if form == "json" else MESSAGE_PACK + _msgpack.encode(message)


def decode_client(data: str | bytes) -> ClientMessage:
    """Read what a client says. Raises :class:`collab.errors.InvalidRequest`."""
    try:
        if isinstance(data, str):
            return _client_json.decode(data)
        return _client_msgpack.decode(memoryview(data)[len(MESSAGE_PACK) :])
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise InvalidRequest(f"not a message: {error}") from None


def decode_server(data: str | bytes) -> ServerMessage:
    """Read what a server says. Raises :class:`collab.errors.InvalidRequest`."""
    try:
        if isinstance(data, str):
            return _server_json.decode(data)
        return _server_msgpack.decode(memoryview(data)[len(MESSAGE_PACK) :])
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise InvalidRequest(f"not a message: {error}") from None
