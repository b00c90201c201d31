"""The arguments and results of what nodes do for each other, encoded as MessagePack. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, TypeVar

import msgspec

from collab.access.identity import Identity
from collab.cluster.identities import decode_identity, encode_identity
from collab.errors import InvalidRequest, Unavailable
from collab.names import RoomKey
from collab.records.reads import Caller
from collab.richtext.names import RichForm, RichSchema, WriteFormat
from collab.turns import TurnOwner
from collab.wire.realtime.encoding import Format
from collab.wire.realtime.messages import Create, Delete, Restore, Update
from collab.wire.realtime.values import AnyWrite, Written

T = TypeVar("T")


class Arguments(msgspec.Struct, array_like=True, frozen=True):
    """New members come last, with defaults: older servers skip them."""


class CallerNamed(Arguments, array_like=True, frozen=True):
    """A caller; ``identity`` as :mod:`collab.cluster.identities` encodes it."""

    identity: bytes
    writer: str
    address: str | None

    @classmethod
    def of(cls, caller: Caller) -> CallerNamed:
        return cls(encode_identity(caller.identity), caller.writer, caller.address)

    def caller(self) -> Caller:
        """Raises :class:`Unavailable` for an identity that this version cannot read."""
        return Caller(read_identity(self.identity), self.writer, self.address)


class WriteAsked(Arguments, array_like=True, frozen=True):
    """One write of an entity."""

    caller: CallerNamed
    message: Create | Update | Delete | Restore


class TransactionAsked(Arguments, array_like=True, frozen=True):
    """Several writes, of which all are to be made, or none."""

    caller: CallerNamed
    writes: tuple[AnyWrite, ...]
    request: str | None


class WroteAll(Arguments, array_like=True, frozen=True):
    """What a transaction has written, and a position of its project's feed that is not before its events."""

    written: list[Written]
    position: int


class RoomsAsked(Arguments, array_like=True, frozen=True):
    """Rooms that another node would like to own, unless somebody needs them."""

    rooms: list[RoomKey]


class EraseAsked(Arguments, array_like=True, frozen=True):
    """The end of an entity and its history."""

    caller: CallerNamed
    collection: str
    entity: str


class Wrote(Arguments, array_like=True, frozen=True):
    """The result of a write, and a position of its project's feed that is not before its event."""

    written: Written
    position: int


class RoomAsked(Arguments, array_like=True, frozen=True):
    """A room, and who waits for what it is asked: see :class:`collab.turns.TurnOwner`."""

    room: RoomKey
    waiting: str | list[str | None] | None = None

    def owner(self) -> TurnOwner:
        """Return the queue of the caller."""
        return TurnOwner(self.room.project, tuple(self.waiting) if isinstance(self.waiting, list) else self.waiting)


class ContentAsked(RoomAsked, array_like=True, frozen=True):
    """A document's content, now or as of a log row."""

    seq: int | None = None
    form: Format = "msgpack"


class StateAsked(RoomAsked, array_like=True, frozen=True):
    """What a replica at a state vector lacks; without one, the whole state."""

    state_vector: bytes | None = None


class TextAsked(RoomAsked, array_like=True, frozen=True):
    """One root as text."""

    root: str | None = None


class RichAsked(RoomAsked, array_like=True, frozen=True):
    """One root as rich text."""

    form: RichForm = "markdown"
    root: str | None = None


class RichSet(RoomAsked, array_like=True, frozen=True):
    """What a root shall say, as an edit of ``user``; with ``identity`` (encoded), as far as that may."""

    form: WriteFormat = "markdown"
    content: str = ""
    user: str | None = None
    root: str | None = None
    schema: RichSchema | None = None
    identity: bytes | None = None


class Applied(RoomAsked, array_like=True, frozen=True):
    """An update to apply as ``user``; with ``identity`` (encoded), as far as that may."""

    update: bytes = b""
    user: str | None = None
    identity: bytes | None = None


class Followed(Arguments, array_like=True, frozen=True):
    """An accepted update of a document, and its author."""

    update: bytes
    user_id: str | None


class GuestAsked(Arguments, array_like=True, frozen=True):
    """A session that is present in a room, with its state (JSON)."""

    caller: CallerNamed
    room: RoomKey
    state: bytes


class StateSaid(Arguments, array_like=True, frozen=True):
    """The state of a session that is present: all of it (``replaces``), or what has changed."""

    writer: str
    room: RoomKey
    state: bytes
    replaces: bool


class SessionsAsked(Arguments, array_like=True, frozen=True):
    """Who is connected: all of a project, or one user of it."""

    project: str
    user_id: str | None
    limit: int


class InspectionAsked(Arguments, array_like=True, frozen=True):
    """What a node shows of itself in a view of the inspector."""

    view: str
    limit: int


def name_waiting(caller: Hashable) -> str | list[str | None] | None:
    """Return the caller of a :class:`collab.turns.TurnOwner` as a value."""
    if isinstance(caller, tuple):
        return [part if part is None else str(part) for part in caller]
    return None if caller is None else str(caller)


def read_identity(encoded: bytes) -> Identity:
    """Decode an identity. Raises :class:`Unavailable` if it is of a later version."""
    try:
        return decode_identity(encoded)
    except ValueError as error:
        raise _other_version(error) from None


_encoder = msgspec.msgpack.Encoder()


def encode_value(value: Any) -> bytes:
    """Encode arguments or a result. Raises :class:`InvalidRequest` for what MessagePack cannot represent."""
    try:
        return _encoder.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidRequest(f"the request cannot be encoded: {str(error)[:200]}") from None


def decode_value(encoded: bytes, kind: type[T]) -> T:
    """Decode them. Raises :class:`Unavailable` if they are of a later version."""
    try:
        return msgspec.msgpack.decode(encoded, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise _other_version(error) from None


def _other_version(error: Exception) -> Unavailable:
    return Unavailable(f"servers of different versions do not understand each other yet; retry: {str(error)[:200]}")
