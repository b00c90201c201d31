"""What a sandbox is asked and what it answers: MessagePack behind a length of eight bytes, big-endian."""

from __future__ import annotations

from typing import Any

import msgspec

HEAD_BYTES = 8
GREETING = b"ready"
"""What a child says first, when it has read its program."""


class Compact(msgspec.Struct, frozen=True, tag=True):
    """Make one update of ``snapshot`` (whose gate is ``index``) and the log rows behind it.

    ``mapped`` are the roots whose entries are entities.
    """

    snapshot: bytes | None
    index: bytes | None
    updates: list[bytes]
    mapped: list[str]
    seconds: float


class Read(msgspec.Struct, frozen=True, tag=True):
    """Show the document ``update`` as plain values: all ``roots`` (name -> kind), or ``root`` as text."""

    update: bytes
    roots: dict[str, str]
    root: str | None
    seconds: float


class Changes(msgspec.Struct, frozen=True, tag=True):
    """Tell what each turn (its updates) did to ``roots`` (name -> kind) of the document that ``base`` makes."""

    base: list[bytes]
    turns: list[list[bytes]]
    roots: dict[str, str]
    seconds: float


class Past(msgspec.Struct, frozen=True, tag=True):
    """Show the document that ``updates`` make as plain values, without its roots in ``without``."""

    updates: list[bytes]
    without: list[str]
    seconds: float


class Restore(msgspec.Struct, frozen=True, tag=True):
    """Make the edit of the document ``now`` after which it is like that of ``updates``, but for ``without``."""

    now: bytes
    updates: list[bytes]
    without: list[str]
    seconds: float


class Compacted(msgspec.Struct, frozen=True, tag=True):
    """A document as one update, and the index that a :class:`collab.wire.update.Gate` is made from."""

    update: bytes
    index: bytes


class Value(msgspec.Struct, frozen=True, tag=True):
    """What was read: values that JSON knows."""

    value: Any


class Edit(msgspec.Struct, frozen=True, tag=True):
    """An update, or ``None`` if there is nothing to do."""

    update: bytes | None


class Failure(msgspec.Struct, frozen=True, tag=True):
    """Why it was not done. ``fatal``: the process no longer trusts itself and ends."""

    reason: str
    fatal: bool


Request = Compact | Read | Changes | Past | Restore
Reply = Compacted | Value | Edit | Failure

requests = msgspec.msgpack.Decoder(Request)
replies = msgspec.msgpack.Decoder(Reply)


def encode(message: Request | Reply) -> bytes:
    """A message with its length in front."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(HEAD_BYTES, "big") + body
