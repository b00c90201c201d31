"""Messages of the application protocol as frames, JSON or MessagePack.

JSON travels in text frames. MessagePack travels in binary frames after one zero byte. All other binary frames belong to
the Hocuspocus protocol (:mod:`collab.wire.hocuspocus`): they begin with the length of a document's name, which is never
zero. So one socket carries document edits and everything else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

import msgspec

from collab.errors import InvalidRequest, shortened
from collab.json_values import scalar_fault
from collab.nearest import did_you_mean
from collab.wire.realtime.messages import ClientMessage, Message, ServerMessage
from collab.wire.realtime.values import PROTO, AnyTarget, AnyWrite, Number

Format = Literal["json", "msgpack"]

Frame: TypeAlias = bytes | str
"""The content of a binary or a text message."""

MESSAGE_PACK = b"\x00"
"""First byte of a binary frame with a message."""
MAX_DEPTH = 32
"""Maximum nesting of arrays and objects in anything a client sends, including the message itself."""


class Misunderstood(InvalidRequest):
    """A well-formed message of unknown type or members. ``id`` is the request's, ``None`` if it has none."""

    def __init__(self, message: str, id: int | None) -> None:  # noqa: A002 - the protocol's word
        super().__init__(message)
        self.id = id


_client_json: msgspec.json.Decoder[Any] = msgspec.json.Decoder(ClientMessage)
_client_msgpack: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(ClientMessage)
_server_json: msgspec.json.Decoder[Any] = msgspec.json.Decoder(ServerMessage)
_server_msgpack: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(ServerMessage)
_json = msgspec.json.Encoder()
_msgpack = msgspec.msgpack.Encoder()


def encode_json(message: Message) -> str:
    """A message as the content of a text frame."""
    return _json.encode(message).decode()


def encode_msgpack(message: Message) -> bytes:
    """A message as the content of a binary frame."""
    return MESSAGE_PACK + _msgpack.encode(message)


def encode(message: Message, form: Format) -> str | bytes:
    """A message as the content of a frame: ``str`` for a text frame, ``bytes`` for a binary one."""
    return encode_json(message) if form == "json" else encode_msgpack(message)


def decode_client(data: str | bytes) -> ClientMessage:
    """Decode a client's message.

    Raises :class:`Misunderstood` for well-formed input that is not a known message or holds values that JSON lacks, and
    :class:`collab.errors.InvalidRequest` for all other errors, including nesting deeper than ``MAX_DEPTH``.
    """
    text = isinstance(data, str)
    body: Any = data if isinstance(data, str) else memoryview(data)[len(MESSAGE_PACK) :]
    try:
        message: ClientMessage = (_client_json if text else _client_msgpack).decode(body)
    except msgspec.ValidationError as error:
        said = str(error)[:200]
        unknown = _UNKNOWN.search(said)
        meant = did_you_mean(unknown["name"], _MEMBERS) if unknown is not None else ""
        raise Misunderstood(f"not a message: {said}{meant}", _request_id(body, text=text)) from None
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        request = _id_beside_wrong_text(body)
        if request is not None:
            raise Misunderstood("not a message: a string in it is not Unicode", request) from None
        raise InvalidRequest(f"not a message: {str(error)[:200]}") from None
    wrong = wrong_value(message, MAX_DEPTH)
    if wrong is not None:
        raise Misunderstood(f"not a message: {wrong}", getattr(message, "id", None))
    return message


def decode_server(data: str | bytes) -> ServerMessage:
    """Decode a server's message. Raises :class:`collab.errors.InvalidRequest`."""
    message: ServerMessage
    try:
        if isinstance(data, str):
            message = _server_json.decode(data)
        else:
            message = _server_msgpack.decode(memoryview(data)[len(MESSAGE_PACK) :])
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise InvalidRequest(f"not a message: {str(error)[:200]}") from None
    return message


class _Typed(msgspec.Struct):
    type: str


_SERVER_TYPES = {kind.__struct_config__.tag for kind in ServerMessage.__args__}


def is_of_a_later_server(data: str | bytes) -> bool:
    """Whether a message that :func:`decode_server` refuses has a type that this version does not know."""
    try:
        if isinstance(data, str):
            typed = msgspec.json.decode(data, type=_Typed)
        else:
            typed = msgspec.msgpack.decode(memoryview(data)[len(MESSAGE_PACK) :], type=_Typed)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return False
    return typed.type not in _SERVER_TYPES


_UNKNOWN = re.compile(r"unknown field `(?P<name>[^`]*)`")
_MEMBERS = sorted(
    {
        field.encode_name
        for kind in (*ClientMessage.__args__, *AnyTarget.__args__, *AnyWrite.__args__)
        for field in msgspec.structs.fields(kind)
    }
)


class _Request(msgspec.Struct):
    id: Number


_request_json = msgspec.json.Decoder(_Request)
_request_msgpack = msgspec.msgpack.Decoder(_Request)


def _request_id(body: Any, *, text: bool) -> int | None:
    try:
        return (_request_json if text else _request_msgpack).decode(body).id
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None


def _id_beside_wrong_text(body: Any) -> int | None:
    """The id of a request that would be well-formed, were its strings Unicode; ``None`` if that is not its fault.

    A client that cuts a string between two halves of a character sends a lone surrogate.
    """
    if not isinstance(body, str):
        return _request_id(body, text=False)  # it does not look into other members
    try:
        return msgspec.convert({"id": _read_any_text(body)["id"]}, _Request).id
    except (ValueError, TypeError, LookupError, RecursionError):
        return None


def decode_fault(body: bytes, error: Exception) -> str:
    """What is wrong with JSON that msgspec has refused with ``error``, shortened.

    It takes a lone surrogate at the end of a string for the end of the message.
    """
    if isinstance(error, msgspec.ValidationError):
        return shortened(str(error), 300)
    try:
        _read_any_text(body.decode())
    except (ValueError, RecursionError):
        return shortened(str(error), 300)
    return "a string in it is not Unicode"


def _read_any_text(body: str) -> Any:
    """A JSON text whose strings need not be Unicode. Raises :class:`ValueError` and :class:`RecursionError`."""
    return json.loads(body, parse_constant=_refuse)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def wrong_value(message: msgspec.Struct, max_depth: int) -> str | None:
    """A description of a value in the message that JSON does not have, or ``None``.

    Raises :class:`InvalidRequest` if it is nested too deeply. It walks level by level: recursion could overflow.
    """
    wrong = None
    level: list[Any] = [message]
    depth = 0
    while level:
        depth += 1
        if depth > max_depth:
            raise InvalidRequest(f"not a message: arrays and objects nested more than {max_depth} deep")
        below: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                values: Iterable[Any] = node.values()
                if not all(type(name) is str for name in node):
                    wrong = "a member whose name is not a string"
                elif PROTO in node:
                    wrong = f"a member called {PROTO} ({_place_of(message, node)})"
            elif isinstance(node, msgspec.Struct):
                values = msgspec.structs.astuple(node)
            else:
                values = node
            for value in values:
                kind = type(value)
                if kind is str or kind is bool or value is None:
                    continue
                if kind is dict or kind is list or kind is tuple or isinstance(value, msgspec.Struct):
                    below.append(value)
                elif kind is int:
                    if not -(2**63) <= value < 2**64:
                        wrong = "an integer of more than 64 bits"
                elif (fault := scalar_fault(value)) is not None:
                    wrong = f"a value that {fault}"
        level = below
    return wrong


def _place_of(message: msgspec.Struct, wanted: dict[str, Any]) -> str:
    """The path of an object in a message: ``data.profile.tags[2]``."""
    waiting: list[tuple[str, Any]] = [("", message)]
    while waiting:
        place, node = waiting.pop()
        if node is wanted:
            return f"{place}.{PROTO}".lstrip(".")[-200:]
        if isinstance(node, msgspec.Struct):
            waiting += [
                (f"{place}.{field.encode_name}".lstrip("."), getattr(node, field.name))
                for field in msgspec.structs.fields(node)
            ]
        elif isinstance(node, dict):
            waiting += [(f"{place}.{name}".lstrip("."), value) for name, value in node.items()]
        elif isinstance(node, list | tuple):
            waiting += [(f"{place}[{at}]", value) for at, value in enumerate(node)]
    return PROTO
