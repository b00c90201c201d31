"""Hocuspocus' framing: y-websocket's messages behind an address, with tokens and stateless messages.

A message is ``varString address, varUint type`` and a body. The address is a document's name, or
``name NUL session`` from a provider with ``sessionAwareness``; an answer bears the address of the question.
Beyond y-websocket's four types there are 4 sync that wants no step 1 back, 5 stateless and 6 broadcast
stateless (``varString``), 7 close (empty from a client, ``varString reason`` from a server), 8 sync status
(``varUint 0 | 1``); and without an address, one byte each, 9 ping and 10 pong.
Facts: ``@hocuspocus/provider`` 3.4 and 4, ``@hocuspocus/server`` 4, ``@hocuspocus/common`` (``auth.ts``,
``routingKey.ts``).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from collab.wire.yjs import AwarenessUpdate, QueryAwareness, SyncStep1, SyncStep2, Unknown, Update, read_sync
from presence.lib0 import DecodeError, encode_string, encode_uint, read_bytes, read_string, read_uint

SYNC, AWARENESS, AUTH, QUERY_AWARENESS, SYNC_REPLY, STATELESS, BROADCAST_STATELESS, CLOSE, SYNC_STATUS = range(9)
"""Message types behind an address."""

TOKEN, DENIED, AUTHENTICATED = range(3)
"""Auth messages."""

MAX_ADDRESS_BYTES = 1024
"""A longer address is malformed: names are far shorter, and the address is read before any credential."""

PING = b"\x09"
"""Asks a provider of version 4 for a :class:`Pong`. Version 3 throws on it: beat with :func:`heartbeat`."""

PONG = b"\x0a"
"""Answers a :class:`Ping`."""

Scope = Literal["read-write", "readonly"]


class Token(msgspec.Struct, frozen=True, gc=False):
    """A credential: the first message about a document, and again when it changes (token sync).

    ``version`` is the provider's own, which providers before 4 do not tell.
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
    """One document's session ends; the socket and its other documents stay."""

    reason: str = ""


class Ping(msgspec.Struct, frozen=True, gc=False):
    """Wants :data:`PONG`. Bears no address."""


class Pong(msgspec.Struct, frozen=True, gc=False):
    """The answer to :data:`PING`. Bears no address."""


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
    length, _ = read_uint(data, 0)
    if length > MAX_ADDRESS_BYTES:
        raise DecodeError(f"an address of more than {MAX_ADDRESS_BYTES} bytes")
    address, pos = read_string(data, 0)
    kind, pos = read_uint(data, pos)
    message: Message
    if kind in (SYNC, SYNC_REPLY):
        message, pos = read_sync(data, pos)
    elif kind == AWARENESS:
        payload, pos = read_bytes(data, pos)
        message = AwarenessUpdate(payload)
    elif kind == AUTH:
        message, pos = _read_auth(data, pos)
    elif kind == QUERY_AWARENESS:
        message = QueryAwareness()
    elif kind == STATELESS:
        text, pos = read_string(data, pos)
        message = Stateless(text)
    elif kind == BROADCAST_STATELESS:
        text, pos = read_string(data, pos)
        message = BroadcastStateless(text)
    elif kind == CLOSE:
        text, pos = ("", pos) if pos == len(data) else read_string(data, pos)
        message = Close(text)
    else:
        return address, Unknown(kind)
    if pos != len(data):
        raise DecodeError("bytes behind the end of the message")
    return address, message


def _read_auth(data: bytes, pos: int) -> tuple[Token | Unknown, int]:
    kind, pos = read_uint(data, pos)
    if kind != TOKEN:
        return Unknown(AUTH), len(data)
    token, pos = read_string(data, pos)
    if pos == len(data):
        return Token(token), pos
    version, pos = read_string(data, pos)
    return Token(token, version), pos


def sync_step1(address: str, sv: bytes) -> bytes:
    """Ask for what the state vector ``sv`` (encoded) lacks.

    A provider is synced, and has no unsynced changes, only when it was asked, answered, and its answer was
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
    """An awareness update about nobody: a sign of life that every version of the provider takes."""
    return encode_string(address) + b"\x01\x01\x00"


def query_awareness(address: str) -> bytes:
    """Ask a provider for all states that it knows."""
    return encode_string(address) + b"\x03"


def authenticated(address: str, scope: Scope) -> bytes:
    """The token was good for this much."""
    return encode_string(address) + b"\x02\x02" + encode_string(scope)


def permission_denied(address: str, reason: str) -> bytes:
    """The token was not good. The socket stays, for its other documents and another try."""
    return encode_string(address) + b"\x02\x01" + encode_string(reason)


def token_request(address: str) -> bytes:
    """Ask the provider for its present token; it answers with a :class:`Token`."""
    return encode_string(address) + b"\x02\x00"


def stateless(address: str, payload: str) -> bytes:
    """A message of the application to one provider."""
    return encode_string(address) + b"\x05" + encode_string(payload)


def sync_status(address: str, saved: bool) -> bytes:
    """Answer one step 2 or update: ``True`` takes one from the provider's ``unsyncedChanges``.

    A provider counts each message that it sent, so each needs its own answer. ``False`` (a write that was
    refused) is ignored by the providers: their count stays above 0.
    """
    return encode_string(address) + (b"\x08\x01" if saved else b"\x08\x00")


def close(address: str, reason: str) -> bytes:
    """End one document's session. The provider sees code 1000 and does not come back by itself."""
    return encode_string(address) + b"\x07" + encode_string(reason)
