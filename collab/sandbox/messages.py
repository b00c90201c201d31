"""Requests and replies of a sandbox: MessagePack after a length of eight bytes, big-endian."""

from __future__ import annotations

from struct import Struct
from typing import Any, NamedTuple

import msgspec

HEAD_BYTES = 8
GREETING = b"ready"
"""Sent by a child once it has imported its program."""
PATIENCE = 2.0
"""How many times its CPU seconds a request may take by the clock: a child yields to others."""


class Compact(msgspec.Struct, frozen=True, tag=True):
    """Merge ``snapshot`` (whose gate is ``index``) and the log rows behind it into one update.

    ``mapped`` are the roots whose entries are entities. ``keep_deleted``: no garbage collection.
    """

    snapshot: bytes | None
    index: bytes | None
    updates: list[bytes]
    mapped: list[str]
    seconds: float
    keep_deleted: bool = False


class Read(msgspec.Struct, frozen=True, tag=True):
    """Read the document ``update`` as plain values: all ``roots`` (name -> kind).

    ``form``: the values as bytes of JSON (``json``) or MessagePack (``msgpack``). With ``edit``, the values that a room
    would hold after it.
    """

    update: bytes
    roots: dict[str, str]
    seconds: float
    form: str | None = None
    edit: bytes | None = None


class Changes(msgspec.Struct, frozen=True, tag=True):
    """Compute what each turn (its updates) changed in ``roots`` (name -> kind) of the document of ``base``.

    ``before`` names that document, if it was named already, and ``after`` the one after the turns. The reply is
    :class:`ContentChanges`, with a text if the contents are ``searched``. Without ``base`` it is ``None`` if the
    document is not cached.
    """

    base: list[bytes] | None
    turns: list[list[bytes]]
    roots: dict[str, str]
    seconds: float
    before: str = ""
    after: str = ""
    searched: bool = False


class ContentChanges(NamedTuple):
    """What each turn changed, by root, and what the roots say after all of them, as a folded text, if that is known."""

    turns: list[dict[str, dict[str, Any]]]
    text: str | None


class ReadTexts(msgspec.Struct, frozen=True, tag=True):
    """Read what documents say, without the roots in ``without``: for each a folded text, or ``None``.

    Each document is a list of updates.
    """

    documents: list[list[bytes]]
    without: list[str]
    seconds: float


class ChangesOfMany(msgspec.Struct, frozen=True, tag=True):
    """:class:`Changes` of several documents that are cached. The reply has, for each, the changes and CPU seconds.

    Instead of changes it has ``None`` for a document that is not cached.
    """

    documents: list[Changes]
    seconds: float


class Rich(msgspec.Struct, frozen=True, tag=True):
    """Read ``root`` of the document ``update`` as rich text in a ``form``; without a name the only root with text.

    ``roots`` are the kinds of roots as the gate knows them.
    """

    update: bytes
    roots: dict[str, str]
    root: str | None
    form: str
    seconds: float


class Rewrite(msgspec.Struct, frozen=True, tag=True):
    """Compute the edit after which ``root`` of the document ``update`` says ``content``, given in a ``form``.

    ``roots`` as above. ``schema`` says how an empty root holds rich text.
    """

    update: bytes
    roots: dict[str, str]
    root: str | None
    form: str
    content: str
    schema: str | None
    seconds: float


class Past(msgspec.Struct, frozen=True, tag=True):
    """Read the document of ``updates`` as plain values, without its roots in ``without``; ``form`` as above."""

    updates: list[bytes]
    without: list[str]
    seconds: float
    form: str | None = None


class Restore(msgspec.Struct, frozen=True, tag=True):
    """Compute the edit that makes the document ``now`` like that of ``updates``, except for ``without``."""

    now: bytes
    updates: list[bytes]
    without: list[str]
    seconds: float


class Inspect(msgspec.Struct, frozen=True, tag=True):
    """Count what a document of ``snapshot`` and log rows is made of, and who wrote it.

    ``rows`` are update, user and time (seconds since the epoch) of each.
    """

    snapshot: bytes | None
    rows: list[tuple[bytes, str | None, float]]
    seconds: float


class Compacted(msgspec.Struct, frozen=True, tag=True):
    """A document as one update, and the index of its :class:`collab.gate.gate.Gate`.

    Loading the update took ``load_seconds`` of CPU.
    """

    update: bytes
    index: bytes
    load_seconds: float


class Value(msgspec.Struct, frozen=True, tag=True):
    """The result: JSON values, or bytes of JSON or MessagePack."""

    value: Any


class Edit(msgspec.Struct, frozen=True, tag=True):
    """An update, or ``None`` if there is nothing to do."""

    update: bytes | None


class Failure(msgspec.Struct, frozen=True, tag=True):
    """The reason of a failure. ``fatal``: the process no longer trusts its own state and ends. ``invalid``: the request
    is to blame, not the document.
    """

    reason: str
    fatal: bool
    invalid: bool = False


Request = Compact | Read | Rich | Rewrite | Changes | ChangesOfMany | ReadTexts | Past | Restore | Inspect
Reply = Compacted | Value | Edit | Failure

requests = msgspec.msgpack.Decoder(Request)
replies = msgspec.msgpack.Decoder(Reply)


SPENT = Struct(">d")
"""Sent before a reply: the CPU seconds that it took, including decoding the request and encoding the reply."""


def encode(message: Request | Reply) -> bytes:
    """A message, preceded by its length."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(HEAD_BYTES, "big") + body
