"""The framing of y-websocket: bytes to messages and back, nothing else.

A message is ``varUint type`` and a body: 0 sync (``varUint step, varUint8Array``), 1 awareness (``varUint8Array``), 2
auth (``varUint 0, varString reason``), 3 query awareness (empty). The body must end with the message: surplus or
missing bytes make it malformed. Unknown types and sync steps become :class:`Unknown`, so that a newer client's messages
are skipped instead of ending its connection. Facts: ``y-websocket`` 2.1 and 3.1 ``src/y-websocket.js``, ``y-protocols``
1.0 ``sync.js`` and ``auth.js``.
"""

from __future__ import annotations

import msgspec

from presence.lib0 import DecodeError, encode_uint, read_string, read_uint

SYNC, AWARENESS, AUTH, QUERY_AWARENESS = range(4)
"""Message types, shared with Hocuspocus."""

STEP1, STEP2, UPDATE = range(3)
"""Steps of a sync message."""

PERMISSION_DENIED = 0
"""The only auth message of y-protocols."""

_UPDATE = bytes([SYNC, UPDATE])


class SyncStep1(msgspec.Struct, frozen=True, gc=False):
    """The sender's state vector. It requests everything that the sender lacks."""

    state_vector: bytes


class SyncStep2(msgspec.Struct, frozen=True, gc=False):
    """The answer to a SyncStep1: everything that its sender lacked."""

    update: bytes


class Update(msgspec.Struct, frozen=True, gc=False):
    """A change, in the Yjs encoding v1."""

    update: bytes


class AwarenessUpdate(msgspec.Struct, frozen=True, gc=False):
    """States of clients, for :meth:`presence.awareness.Awareness.apply`."""

    payload: bytes


class QueryAwareness(msgspec.Struct, frozen=True, gc=False):
    """A request for all awareness states."""


class Auth(msgspec.Struct, frozen=True, gc=False):
    """Permission denied. Only servers send it; from a client it has no meaning."""

    reason: str


class Unknown(msgspec.Struct, frozen=True, gc=False):
    """A message type, or a sync step, that this version does not know."""

    type: int


SyncMessage = SyncStep1 | SyncStep2 | Update | Unknown
Message = SyncMessage | AwarenessUpdate | QueryAwareness | Auth


def decode(data: bytes) -> Message:
    """Read one WebSocket message. Raises :class:`presence.lib0.DecodeError`."""
    if data.startswith(_UPDATE):
        return Update(read_rest(data, 2))
    kind, pos = read_uint(data, 0)
    if kind == SYNC:
        return read_sync(data, pos)
    if kind == AWARENESS:
        return AwarenessUpdate(read_rest(data, pos))
    if kind == QUERY_AWARENESS:
        check_end(data, pos)
        return QueryAwareness()
    if kind == AUTH:
        return _read_auth(data, pos)
    return Unknown(kind)


def read_sync(data: bytes, pos: int) -> SyncMessage:
    """Read the body of a sync message. Raises :class:`presence.lib0.DecodeError`."""
    step, pos = read_uint(data, pos)
    if step == UPDATE:
        return Update(read_rest(data, pos))
    if step == STEP2:
        return SyncStep2(read_rest(data, pos))
    return SyncStep1(read_rest(data, pos)) if step == STEP1 else Unknown(SYNC)


def read_rest(data: bytes, pos: int) -> bytes:
    """Read a varUint8Array that is the rest of the message. Raises :class:`presence.lib0.DecodeError`."""
    length, pos = read_uint(data, pos)
    check_end(data, pos + length)
    return data[pos:]


def check_end(data: bytes, pos: int) -> None:
    """Raise :class:`presence.lib0.DecodeError` unless the message ends at ``pos``."""
    if pos != len(data):
        raise DecodeError("the length of the message is wrong")


def _read_auth(data: bytes, pos: int) -> Auth | Unknown:
    kind, pos = read_uint(data, pos)
    if kind != PERMISSION_DENIED:
        return Unknown(AUTH)
    reason, pos = read_string(data, pos)
    check_end(data, pos)
    return Auth(reason)


def sync_step1(sv: bytes) -> bytes:
    """Request everything that the state vector ``sv`` (encoded) lacks."""
    return b"".join((b"\x00\x00", encode_uint(len(sv)), sv))


def sync_step2(update: bytes) -> bytes:
    """Answer a SyncStep1. A client considers itself synced when it gets this."""
    return b"".join((b"\x00\x01", encode_uint(len(update)), update))


def update(update: bytes) -> bytes:
    """Relay a change."""
    return b"".join((b"\x00\x02", encode_uint(len(update)), update))


def awareness(payload: bytes) -> bytes:
    """Relay states of clients, as :meth:`presence.awareness.Awareness.encode` writes them."""
    return b"".join((b"\x01", encode_uint(len(payload)), payload))


def permission_denied(reason: str) -> bytes:
    """State the reason before closing. Clients print it."""
    raw = reason.encode()
    return b"".join((b"\x02\x00", encode_uint(len(raw)), raw))


HEARTBEAT = awareness(b"\x00")
"""An awareness update about nobody. Stock clients reconnect when they hear nothing for 30 seconds; this keeps them
connected and changes nothing else.
"""
