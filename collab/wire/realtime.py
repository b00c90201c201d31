"""The application protocol: messages of ``/realtime``, as JSON or MessagePack. The rules are in docs/protocol.md.

JSON travels in text frames. MessagePack travels in binary frames behind one zero byte. A binary frame that begins
with anything else is of the Hocuspocus protocol (:mod:`collab.wire.hocuspocus`): it begins with the length of a
document's name, which is never zero. So documents are edited over the socket that carries everything else.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

from collab.errors import InvalidRequest
from collab.wire.realtime_values import Analytics as Analytics
from collab.wire.realtime_values import AnyTarget as AnyTarget
from collab.wire.realtime_values import Custom as Custom
from collab.wire.realtime_values import Entities as Entities
from collab.wire.realtime_values import Error as Error
from collab.wire.realtime_values import Found as Found
from collab.wire.realtime_values import FoundMany as FoundMany
from collab.wire.realtime_values import Limits as Limits
from collab.wire.realtime_values import Number as Number
from collab.wire.realtime_values import Person as Person
from collab.wire.realtime_values import Presence as Presence
from collab.wire.realtime_values import Rows as Rows
from collab.wire.realtime_values import Step as Step
from collab.wire.realtime_values import Subscribed as Subscribed
from collab.wire.realtime_values import System as System
from collab.wire.realtime_values import Target as Target
from collab.wire.realtime_values import Written as Written
from collab.wire.realtime_values import wrong_value

VERSION = 1
MESSAGE_PACK = b"\x00"
"""What a binary frame with a message begins with."""
MAX_DEPTH = 32
"""Arrays and objects in each other, in anything a client sends, the message itself included."""


class Misunderstood(InvalidRequest):
    """Well-formed, but not a message that is known here. ``id`` is of the request, ``None`` if it is not one."""

    def __init__(self, message: str, id: int | None) -> None:  # noqa: A002 - the protocol's word
        super().__init__(message)
        self.id = id


class Message(msgspec.Struct, tag_field="type", frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Anything that is said; ``type`` tells which."""


class Asked(Message, frozen=True, kw_only=True):
    """A request. It is answered by one :class:`Reply` or :class:`Failure` with its ``id``."""

    id: Number


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
    max_subscriptions: Number | None = None
    max_events_per_second: Number | None = None


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


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """One of several; ``sub`` is the client's number for it, not in use on this connection."""

    sub: Number
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


class Failure(Message, tag="failure", frozen=True, kw_only=True):
    """The request ``id`` was refused; or the subscription ``sub`` has ended; or, without either, the session."""

    error: Error
    id: int | None = None
    sub: int | None = None


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
    """A system event: an object with ``type`` and ``at``. ``schema_updated`` has a cursor."""

    subs: tuple[int, ...]
    event: dict[str, Any]
    cursor: str | None = None


class Metric(Message, tag="metric", frozen=True, kw_only=True):
    """A number as it is now."""

    subs: tuple[int, ...]
    value: int | float


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

_client_json: msgspec.json.Decoder[Any] = msgspec.json.Decoder(ClientMessage)
_client_msgpack: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(ClientMessage)
_server_json: msgspec.json.Decoder[Any] = msgspec.json.Decoder(ServerMessage)
_server_msgpack: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(ServerMessage)
_json = msgspec.json.Encoder()
_msgpack = msgspec.msgpack.Encoder()


def encode(message: Message, form: Format) -> str | bytes:
    """A message as the content of a frame: ``str`` for a text frame, ``bytes`` for a binary one."""
    return _json.encode(message).decode() if form == "json" else MESSAGE_PACK + _msgpack.encode(message)


def decode_client(data: str | bytes) -> ClientMessage:
    """Read what a client says.

    Raises :class:`Misunderstood` for what is well-formed and no message, or holds values that JSON does not have,
    and :class:`collab.errors.InvalidRequest` for everything else, which includes what is deeper than ``MAX_DEPTH``.
    """
    text = isinstance(data, str)
    body: Any = data if isinstance(data, str) else memoryview(data)[len(MESSAGE_PACK) :]
    try:
        message: ClientMessage = (_client_json if text else _client_msgpack).decode(body)
    except msgspec.ValidationError as error:
        raise Misunderstood(f"not a message: {str(error)[:200]}", _request_id(body, text=text)) from None
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise InvalidRequest(f"not a message: {str(error)[:200]}") from None
    wrong = wrong_value(message, MAX_DEPTH)
    if wrong is not None:
        raise Misunderstood(f"not a message: {wrong}", getattr(message, "id", None))
    return message


def decode_server(data: str | bytes) -> ServerMessage:
    """Read what a server says. Raises :class:`collab.errors.InvalidRequest`."""
    message: ServerMessage
    try:
        if isinstance(data, str):
            message = _server_json.decode(data)
        else:
            message = _server_msgpack.decode(memoryview(data)[len(MESSAGE_PACK) :])
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise InvalidRequest(f"not a message: {str(error)[:200]}") from None
    return message


class _Request(msgspec.Struct):
    id: Number


_request_json = msgspec.json.Decoder(_Request)
_request_msgpack = msgspec.msgpack.Decoder(_Request)


def _request_id(body: Any, *, text: bool) -> int | None:
    try:
        return (_request_json if text else _request_msgpack).decode(body).id
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None
