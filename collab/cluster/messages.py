"""What two nodes say to each other on a link: calls, their answers, and streams. Pure.

Each message is one binary frame, MessagePack. The node that opened the link asks, the other one answers. Both begin
with a :class:`Greeting`. A long value travels in pieces, so that short messages pass between them.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import msgspec

from collab import errors
from collab.access.price import PayerKind
from collab.errors import CollabError, Elsewhere, InternalError, InvalidRequest, TooLarge, Unavailable

VERSION = 1
"""The version of what nodes say to each other. Two servers that follow each other understand each other."""
OLDEST = 1
"""The oldest version that this server understands."""


class Spoken(NamedTuple):
    """The newest and the oldest version of these messages that a node speaks."""

    version: int = VERSION
    oldest: int = OLDEST

    def __str__(self) -> str:
        if self.version == self.oldest:
            return f"version {self.version}"
        return f"versions {self.oldest} to {self.version}"


SPOKEN = Spoken()
PIECE = 1024 * 1024
"""Bytes of a value in one message."""
MOST_MESSAGE = PIECE + 64 * 1024
"""Bytes of the longest message that a node sends or takes."""
MOST_BYTES = 512 * 1024 * 1024
"""Bytes of unfinished values that a node keeps of one link: more than the largest document."""

_ROOM_FOR_NAMES = 2048
_LONGEST_TEXT = 10_000  # characters


class _Said(msgspec.Struct, array_like=True, frozen=True):
    """A message. New members come last, with defaults: older servers skip them."""


class Greeting(_Said, tag="hello", array_like=True, frozen=True):
    """The first message of both. ``most`` is how many bytes of one message the sender takes."""

    version: int
    oldest: int
    nid: int
    most: int


class PayerNamed(_Said, array_like=True, frozen=True):
    """Whom the owner charges for its work."""

    project: str | None
    kind: PayerKind
    name: str | None


class NodeCall(_Said, tag="call", array_like=True, frozen=True):
    """Asks the owner to do something. ``id`` is new on this link; ``value`` are the arguments, encoded.

    ``traceparent`` (W3C Trace Context) names the span that asks.
    """

    id: int
    value: bytes
    name: str
    payer: PayerNamed | None = None
    traceparent: str | None = None


class NodeAnswer(_Said, tag="answer", array_like=True, frozen=True):
    """The end of a call, or of a stream."""

    id: int
    value: bytes = b""


class Item(_Said, tag="item", array_like=True, frozen=True):
    """One item of a stream."""

    id: int
    value: bytes


class ValuePart(_Said, tag="piece", array_like=True, frozen=True):
    """The next bytes of a value; the message that ends it has the last ones."""

    id: int
    value: bytes


class NodeFailure(_Said, tag="error", array_like=True, frozen=True):
    """The end of a call or a stream that failed. ``kind`` is the class of the error, ``value`` its encoded details."""

    id: int
    value: bytes
    kind: str
    message: str
    retryable: bool


class Cancelled(_Said, tag="cancel", array_like=True, frozen=True):
    """Nobody waits for the answer any more."""

    id: int


NodeMessage: TypeAlias = Greeting | NodeCall | NodeAnswer | Item | ValuePart | NodeFailure | Cancelled
Valued: TypeAlias = NodeCall | NodeAnswer | Item | NodeFailure

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[NodeMessage] = msgspec.msgpack.Decoder(NodeMessage)


def encode_node(message: NodeMessage) -> bytes:
    """Encode a message."""
    return _encoder.encode(message)


def decode_node(data: bytes) -> NodeMessage:
    """Decode a message. Raises :class:`InvalidRequest`."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise InvalidRequest(f"not a message of a node: {str(error)[:200]}") from None


def check_greeting(message: NodeMessage, nid: int, spoken: Spoken = SPOKEN) -> Greeting:
    """Return the first message of the other node to ``nid``, which speaks ``spoken``.

    Raises :class:`Incompatible`, and :class:`InvalidRequest` for what is no greeting.
    """
    if not isinstance(message, Greeting):
        raise InvalidRequest("a link must begin with a greeting")
    theirs = Spoken(message.version, message.oldest)
    if theirs.version < spoken.oldest or theirs.oldest > spoken.version:
        older = message.nid if theirs.version < spoken.version else nid
        raise Incompatible(
            f"node {message.nid} speaks {theirs} of what nodes say, and node {nid} {spoken}: node {older} is older, "
            "replace it"
        )
    if message.most < 2 * _ROOM_FOR_NAMES:
        raise InvalidRequest("the other node takes no messages of a useful size")
    return message


def in_pieces(message: Valued, most: int = MOST_MESSAGE) -> Iterator[bytes]:
    """Encode a message for a node that takes messages of ``most`` bytes."""
    size = min(PIECE, most - _ROOM_FOR_NAMES)
    value = memoryview(message.value)
    while len(value) > size:
        yield _encoder.encode(ValuePart(message.id, value[:size]))  # type: ignore[arg-type]  # encoded like bytes
        value = value[size:]
    if len(value) < len(message.value):
        message = msgspec.structs.replace(message, value=bytes(value))
    yield _encoder.encode(message)


class ValueParts:
    """Puts values together; keeps at most ``most`` bytes of unfinished ones."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self._bytes = 0
        self._begun: dict[int, bytearray] = {}

    def take(self, message: NodeMessage) -> NodeMessage | None:
        """Return the message with its whole value; ``None`` for a piece. Raises :class:`TooLarge`."""
        if isinstance(message, ValuePart):
            self._bytes += len(message.value)
            if self._bytes > self._most:
                raise TooLarge(f"a link may have at most {self._most} bytes of unfinished values")
            self._begun.setdefault(message.id, bytearray()).extend(message.value)
            return None
        if isinstance(message, Valued):
            begun = self.drop(message.id)
            if begun:
                return msgspec.structs.replace(message, value=bytes(begun + message.value))
        return message

    def drop(self, id: int) -> bytearray:  # noqa: A002 - the protocol's word
        """Forget an unfinished value, and return what there is of it."""
        begun = self._begun.pop(id, bytearray())
        self._bytes -= len(begun)
        return begun


# errors

_KINDS: Mapping[str, type[CollabError]] = {
    name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, CollabError)
}


class Incompatible(Unavailable):
    """Two nodes have no version of their messages in common. The message says which one is older."""


class UnknownCall(Unavailable):
    """The owner's version of the server does not know this call: it succeeds once all nodes have the same version."""


class _Kind(NamedTuple):
    name: str
    details: dict[str, Any]


def failure_of(id: int, error: CollabError) -> NodeFailure:  # noqa: A002 - the protocol's word
    """Return an error as a message. A class that only one module knows becomes the one in ``collab.errors``."""
    kind = _kind_of(error)
    try:
        details = _encoder.encode(kind.details)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError):
        details = _encoder.encode({})
    message = error.message.encode("utf-8", "replace").decode()[:_LONGEST_TEXT]
    return NodeFailure(id, details, kind.name, message, error.retryable)


def _kind_of(error: CollabError) -> _Kind:
    if isinstance(error, Elsewhere):
        return _Kind(Elsewhere.__name__, {"nid": error.nid})
    if isinstance(error, UnknownCall):
        return _Kind(UnknownCall.__name__, {})
    known = next(kind for kind in type(error).__mro__ if _KINDS.get(kind.__name__) is kind)
    return _Kind(known.__name__, error.details)


def error_of(said: NodeFailure) -> CollabError:
    """Return the error that another node raised. An unknown class of a later version becomes a general one.

    Raises :class:`msgspec.MsgspecError`.
    """
    details = msgspec.msgpack.decode(said.value, type=dict[str, Any])
    if said.kind == Elsewhere.__name__ and isinstance(details.get("nid"), int):
        return Elsewhere(nid=details["nid"])
    if said.kind == UnknownCall.__name__:
        return UnknownCall(said.message)
    kind = _KINDS.get(said.kind)
    if kind is None or kind is Elsewhere:
        kind = Unavailable if said.retryable else InvalidRequest
    error = kind(said.message)
    error.details = details
    return error


def fault(error: BaseException) -> CollabError:
    """Return what a caller learns about an error: the fault of a server is described in its log only."""
    return error if isinstance(error, CollabError) else InternalError("a fault of the server that has this document")
