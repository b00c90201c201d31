"""One client's awareness state: strictly parsed from JSON, stamped with the verified user, stored as bytes.

A state is stored as the bytes that peers get, so that relaying it only joins bytes. All stored states are valid for
``JSON.parse``: stock clients throw on anything else.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from presence.lib0 import DecodeError, encode_uint, read_bytes, read_uint

MAX_DEPTH = 64
"""Maximum nesting of a state. Cursors use about four."""

_NULL = b"\x04null"


class StateTooLargeError(DecodeError):
    """A client's state exceeds the limit of its room."""


class User(msgspec.Struct, frozen=True):
    """The user whom the server verified. ``None`` where the credential says nothing."""

    id: str | None
    name: str | None


class Owner:
    """The client ids of one connection. It holds no reference to the connection.

    ``itself`` is the connection's own client: the only one in its first message. It merely passes on the states of
    others.
    """

    __slots__ = ("ids", "itself", "user")

    def __init__(self) -> None:
        self.itself: int | None = None
        self.ids: set[int] = set()
        self.user: User | None = None


class State:
    """A present client.

    ``clock`` is the one that peers get, ``seen`` the last one that its owner sent, ``aligned`` the one to which the
    last nudge, at time ``nudged``, raised the owner's clock. ``claimed`` is the highest clock that another connection
    used for it. ``at`` is the time of the owner's last state for it, ``changed`` the time of the last change.
    """

    __slots__ = (
        "aligned",
        "at",
        "changed",
        "claimed",
        "client",
        "clock",
        "entry",
        "head",
        "json",
        "nudged",
        "owner",
        "seen",
        "tail",
    )

    def __init__(self, client: int, clock: int, seen: int, json: bytes, owner: Owner, at: float) -> None:
        self.client = client
        self.head = encode_uint(client)
        self.seen = seen
        self.owner = owner
        self.at = at
        self.changed = at
        self.aligned = -1
        self.claimed = -1
        self.nudged = at
        self.set(clock, json)

    @property
    def user(self) -> User | None:
        """The verified user of the connection that owns this client."""
        return self.owner.user

    @property
    def value(self) -> dict[str, Any]:
        """The state itself, decoded again."""
        value: dict[str, Any] = msgspec.json.decode(self.json)
        return value

    def set(self, clock: int, json: bytes) -> None:
        """Replace the state and clock that peers get."""
        self.json = json
        self.tail = encode_uint(len(json)) + json
        self.move(clock)

    def move(self, clock: int) -> None:
        """Give peers the same state with another clock."""
        self.clock = clock
        self.entry = b"".join((self.head, encode_uint(clock), self.tail))


def null_entry(client: int, clock: int) -> bytes:
    """An entry for a client that left."""
    return b"".join((encode_uint(client), encode_uint(clock), _NULL))


def read_entries(payload: bytes) -> list[tuple[int, int, bytes]]:
    """Read an awareness update: ``[(client id, clock, JSON)]``. Raises :class:`DecodeError`.

    Facts: ``y-protocols/awareness.js``, ``encodeAwarenessUpdate``.
    """
    count, pos = read_uint(payload, 0)
    if count * 3 > len(payload) - pos:
        raise DecodeError("more awareness states than bytes")
    entries = []
    for _ in range(count):
        client, pos = read_uint(payload, pos)
        clock, pos = read_uint(payload, pos)
        raw, pos = read_bytes(payload, pos)
        entries.append((client, clock, raw))
    if pos != len(payload):
        raise DecodeError("bytes after the end of the awareness update")
    return entries


def read_state(raw: bytes, limit: int) -> dict[str, Any] | None:
    """Parse the JSON of one state; ``None`` means that the client leaves.

    Raises :class:`StateTooLargeError` above ``limit`` bytes, and :class:`DecodeError` unless it is strict JSON of an
    object at most :data:`MAX_DEPTH` deep (no NaN, no invalid UTF-8). A lone surrogate, which JavaScript writes as
    ``\\ud83e`` when a program splits a string inside an emoji, becomes U+FFFD.
    """
    if len(raw) > limit:
        raise StateTooLargeError(f"an awareness state of {len(raw)} bytes; the limit is {limit}")
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and _depth(raw) > MAX_DEPTH:
        raise DecodeError(f"an awareness state more than {MAX_DEPTH} deep")
    if b"\\u" in raw:
        raw = _ESCAPE.sub(_without_half, raw)
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"an awareness state that is not strict JSON: {error}") from None
    if value is None or type(value) is dict:
        return value
    raise DecodeError("an awareness state that is not an object")


_ESCAPE = re.compile(rb"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|u[dD][89a-fA-F]..|.)", re.DOTALL)
"""A JSON escape; a surrogate pair counts as one."""


def _without_half(escape: re.Match[bytes]) -> bytes:
    found = escape[0]
    return rb"\ufffd" if len(found) == 6 else found


def _depth(raw: bytes) -> int:
    deepest = depth = 0
    in_string = escaped = False
    for byte in raw:
        if escaped:
            escaped = False
        elif in_string:
            escaped = byte == 0x5C
            in_string = byte != 0x22
        elif byte == 0x22:
            in_string = True
        elif byte in b"{[":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"}]":
            depth -= 1
    return deepest


def write_state(value: dict[str, Any], user: User | None) -> bytes:
    """The JSON that peers get: ``value["user"]["id"]`` and ``["name"]`` are the verified ones.

    Without ``user`` nobody was verified, and the client's values stand. With one, ``id`` is never the client's value;
    ``name`` is only if the credential has none. Other fields, such as a colour, are the client's.
    """
    if user is not None:
        said = value.get("user")
        stamped = dict(said) if type(said) is dict else {}
        if user.id is None:
            stamped.pop("id", None)
        else:
            stamped["id"] = user.id
        if user.name is not None:
            stamped["name"] = user.name
        if stamped or said is not None:
            value["user"] = stamped
    return msgspec.json.encode(value)
