"""One client's awareness state: read from JSON strictly, stamped with who was verified, kept as bytes.

A state is kept as the bytes that go to the peers, so that relaying it is joining bytes. Everything kept here
is valid for ``JSON.parse``: stock clients throw on anything else.
"""

from __future__ import annotations

from typing import Any

import msgspec

from presence.lib0 import DecodeError, encode_uint, read_bytes, read_uint

MAX_DEPTH = 64
"""Deepest nesting of a state. Cursors use about four."""

_NULL = b"\x04null"


class StateTooLargeError(DecodeError):
    """A client's state is over the limit of its room."""


class User(msgspec.Struct, frozen=True):
    """Who the server verified. ``None`` where the credential does not say."""

    id: str | None
    name: str | None


class Owner:
    """A connection as awareness knows it: which client ids are its own. Not a reference to the connection."""

    __slots__ = ("ids", "user")

    def __init__(self) -> None:
        self.ids: set[int] = set()
        self.user: User | None = None


class State:
    """A client that is present.

    ``clock`` is what peers are told, ``seen`` what its owner last said, ``aligned`` where the last nudge, at
    time ``nudged``, put the owner's clock. ``claimed`` is the highest clock that another connection used for
    it. ``at`` is when the owner last spoke of it, ``changed`` when it last said something else than before.
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
        """The state itself, read anew."""
        value: dict[str, Any] = msgspec.json.decode(self.json)
        return value

    def set(self, clock: int, json: bytes) -> None:
        """Replace what peers are told."""
        self.json = json
        self.tail = encode_uint(len(json)) + json
        self.move(clock)

    def move(self, clock: int) -> None:
        """Tell peers the same under another clock."""
        self.clock = clock
        self.entry = b"".join((self.head, encode_uint(clock), self.tail))


def null_entry(client: int, clock: int) -> bytes:
    """An entry that says that this client is gone."""
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
        raise DecodeError("bytes behind the end of the awareness update")
    return entries


def read_state(raw: bytes, limit: int) -> dict[str, Any] | None:
    """Read the JSON of one state; ``None`` is a client that leaves.

    Raises :class:`StateTooLargeError` above ``limit`` bytes, :class:`DecodeError` for what is not strict JSON
    of an object at most :data:`MAX_DEPTH` deep: NaN, lone surrogates and invalid UTF-8 among it.
    """
    if len(raw) > limit:
        raise StateTooLargeError(f"an awareness state of {len(raw)} bytes, {limit} are allowed")
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and _depth(raw) > MAX_DEPTH:
        raise DecodeError(f"an awareness state more than {MAX_DEPTH} deep")
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(f"an awareness state that is not strict JSON: {error}") from None
    if value is None or type(value) is dict:
        return value
    raise DecodeError("an awareness state that is not an object")


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
    """The JSON that peers get: ``value["user"]["id"]`` and ``["name"]`` are what was verified.

    Without ``user`` nobody was verified and the client's word stands. With one, ``id`` is never the client's
    word; ``name`` is, if the credential tells none. Other fields, such as a colour, are the client's.
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
