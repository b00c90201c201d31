"""The framing of Hocuspocus: y-websocket's messages behind an address, with tokens and stateless messages.

A message is ``varString address, varUint type`` and a body. The address is a document's name, or ``name NUL session``
from a provider with ``sessionAwareness``; an answer carries the address of the question. Beyond y-websocket's four
types there are 4 sync without a SyncStep1 in return, 5 stateless and 6 broadcast stateless (``varString``), 7 close
(empty from a client, ``varString reason`` from a server), 8 sync status (``varUint 0
1``); and without an address, one byte each, 9 ping and 10 pong. Facts: ``@hocuspocus/provider`` 3.4 and 4,
``@hocuspocus/server`` 4, ``@hocuspocus/common`` (``auth.ts``, ``routingKey.ts``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from collab.wire.yjs import (
    AwarenessUpdate,
    QueryAwareness,
    SyncStep1,
    SyncStep2,
    Unknown,
    Update,
    check_end,
    read_rest,
    read_sync,
)
from presence.lib0 import DecodeError, encode_string, encode_uint, read_string, read_uint

SYNC, AWARENESS, AUTH, QUERY_AWARENESS, SYNC_REPLY, STATELESS, BROADCAST_STATELESS, CLOSE, SYNC_STATUS = range(9)
"""Message types after an address."""

TOKEN, DENIED, AUTHENTICATED = range(3)
"""Auth messages."""

MAX_ADDRESS_BYTES = 1024
"""A longer address is malformed: names are far shorter, and the address is read before any credential."""

PING = b"\x09"
"""Requests a :class:`Pong` from a provider of version 4. Version 3 throws on it: use :func:`heartbeat` instead."""

PONG = b"\x0a"
"""Answer to a :class:`Ping`."""

Scope = Literal["read-write", "readonly"]


class Token(msgspec.Struct, frozen=True, gc=False):
    """A credential: the first message about a document, and again when it changes (token sync).

    ``version`` is the provider's version; providers before 4 do not send it.
    """

    token: str
    version: str | None = None


class Stateless(msgspec.Struct, frozen=True, gc=False):
    """A message of the application to the server."""

    payload: str


class BroadcastStateless(msgspec.Struct, frozen=True, gc=False):
    """A message of the application to everybody in the room. Stock providers do not send it."""

    payload: str


class Close(msgspec.Struct, frozen=True, gc=False):
    """The end of one document's session; the socket and its other documents stay."""

    reason: str = ""


class Ping(msgspec.Struct, frozen=True, gc=False):
    """Requests :data:`PONG`. It has no address."""


class Pong(msgspec.Struct, frozen=True, gc=False):
    """The answer to :data:`PING`. It has no address."""


Message = (
    SyncStep1
    | SyncStep2
    | Update
    | AwarenessUpdate
    | QueryAwareness
    | Token
    | Stateless
    | BroadcastStateless
    | Close
    | Ping
    | Pong
    | Unknown
)


def split_address(address: str) -> tuple[str, str | None]:
    """``(document name, session or None)``."""
    name, nul, session = address.partition("\0")
    return name, session if nul else None


def decode(data: bytes) -> tuple[str, Message]:
    """Read one WebSocket message: ``(address, message)``; ping and pong have the address ``""``.

    Raises :class:`presence.lib0.DecodeError`.
    """
    if len(data) == 1:
        if data == PONG:
            return "", Pong()
        if data == PING:
            return "", Ping()
    address, pos = read_string(data, 0)
    if pos > MAX_ADDRESS_BYTES:
        raise DecodeError(f"an address of more than {MAX_ADDRESS_BYTES} bytes")
    kind, pos = read_uint(data, pos)
    return address, _read_body(kind, data, pos)


def address_of(data: bytes) -> str:
    """The address of a message that :func:`decode` could not read, ``""`` if it has none."""
    try:
        return read_string(data, 0)[0]
    except DecodeError:
        return ""


def read_head(data: bytes) -> tuple[str, int]:
    """Address and type of a message of which possibly only the first bytes are given.

    Raises :class:`presence.lib0.DecodeError`.
    """
    address, pos = read_string(data, 0)
    return address, read_uint(data, pos)[0]


def _read_body(kind: int, data: bytes, pos: int) -> Message:
    if kind in (SYNC, SYNC_REPLY):
        return read_sync(data, pos)
    if kind == AWARENESS:
        return AwarenessUpdate(read_rest(data, pos))
    if kind == AUTH:
        return _read_auth(data, pos)
    if kind == CLOSE and pos == len(data):
        return Close()
    if kind == QUERY_AWARENESS:
        check_end(data, pos)
        return QueryAwareness()
    kind_of_text = _TEXTS.get(kind)
    if kind_of_text is None:
        return Unknown(kind)
    text, pos = read_string(data, pos)
    check_end(data, pos)
    return kind_of_text(text)


_TEXTS: Mapping[int, type[Stateless | BroadcastStateless | Close]] = {
    STATELESS: Stateless,
    BROADCAST_STATELESS: BroadcastStateless,
    CLOSE: Close,
}


def _read_auth(data: bytes, pos: int) -> Token | Unknown:
    kind, pos = read_uint(data, pos)
    if kind != TOKEN:
        return Unknown(AUTH)
    token, pos = read_string(data, pos)
    version = None
    if pos != len(data):
        version, pos = read_string(data, pos)
        check_end(data, pos)
    return Token(token, version)


def sync_step1(address: str, sv: bytes) -> bytes:
    """Request everything that the state vector ``sv`` (encoded) lacks.

    A provider is synced, and has no unsynced changes, only after it was asked, has answered, and its answer was
    confirmed with :func:`sync_status`.
    """
    return b"".join((encode_string(address), b"\x00\x00", encode_uint(len(sv)), sv))


def sync_step2(address: str, update: bytes) -> bytes:
    """Answer a step 1."""
    return b"".join((encode_string(address), b"\x00\x01", encode_uint(len(update)), update))


def update(address: str, update: bytes) -> bytes:
    """Relay a change."""
    return b"".join((encode_string(address), b"\x00\x02", encode_uint(len(update)), update))


def awareness(address: str, payload: bytes) -> bytes:
    """Relay states of clients, as :meth:`presence.awareness.Awareness.encode` writes them."""
    return b"".join((encode_string(address), b"\x01", encode_uint(len(payload)), payload))


def heartbeat(address: str) -> bytes:
    """An awareness update about nobody: a sign of life that every version of the provider accepts."""
    return encode_string(address) + b"\x01\x01\x00"


def query_awareness(address: str) -> bytes:
    """Request all awareness states that a provider knows."""
    return encode_string(address) + b"\x03"


def authenticated(address: str, scope: Scope) -> bytes:
    """Accept the token, with this scope."""
    return encode_string(address) + b"\x02\x02" + encode_string(scope)


def permission_denied(address: str, reason: str) -> bytes:
    """Refuse the token. The socket stays open for its other documents and another attempt."""
    return encode_string(address) + b"\x02\x01" + encode_string(reason)


def token_request(address: str) -> bytes:
    """Request the provider's current token; it answers with a :class:`Token`."""
    return encode_string(address) + b"\x02\x00"


def token(address: str, token: str) -> bytes:
    """Present a credential, as a provider does in its first message about a document."""
    return encode_string(address) + b"\x02\x00" + encode_string(token)


def stateless(address: str, payload: str) -> bytes:
    return encode_string(address) + b"\x05" + encode_string(payload)


def sync_status(address: str, saved: bool) -> bytes:
    """Answer one SyncStep2 or update: ``True`` subtracts one from the provider's ``unsyncedChanges``.

    A provider counts each message that it sent, so each needs its own answer. Providers ignore ``False`` (a refused
    write): their count stays above 0.
    """
    return encode_string(address) + (b"\x08\x01" if saved else b"\x08\x00")


def close(address: str, reason: str) -> bytes:
    """End one document's session. The provider sees code 1000 and does not reconnect by itself."""
    return encode_string(address) + b"\x07" + encode_string(reason)
