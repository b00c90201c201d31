"""What the bus calls its channels and keys in Redis, and how it writes messages there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from collab.bus.base import Kept

MAGIC: Final = b"collab1 "
"""What each message begins with. What begins otherwise was written by somebody else, or by a later version."""
MOST_TOGETHER: Final = 256 * 1024
"""Messages of one topic travel as one while they have at most this many bytes together."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[bytes])


class Names:
    """The names of one cluster. A project stands in braces: a Redis Cluster keeps all keys of a project together."""

    def __init__(self, cluster: str) -> None:
        self._prefix = f"collab:{cluster}:" if cluster else "collab:"

    def channel(self, topic: str) -> bytes:
        """The channel of a topic ``kind`` or ``kind/project``."""
        return self._name(topic, "heard")

    def kept(self, topic: str) -> bytes:
        """The channel of the kept messages of a topic."""
        return self._name(topic, "kept")

    def numbering(self, topic: str) -> bytes:
        """The key of a hash: epoch and newest number of a topic."""
        return self._name(topic, "numbering")

    def messages(self, topic: str) -> bytes:
        """The key of a list: the kept messages of a topic."""
        return self._name(topic, "messages")

    def once(self, topic: str, name: str) -> bytes:
        """The key of a string: the note of a name that was used on a topic."""
        return self._name(topic, f"once:{name}")

    def _name(self, topic: str, suffix: str) -> bytes:
        kind, _, project = topic.partition("/")
        return (
            f"{self._prefix}{{{project}}}:{kind}:{suffix}".encode()
            if project
            else (f"{self._prefix}{{{kind}}}:{suffix}".encode())
        )


def write_messages(messages: Sequence[bytes]) -> bytes:
    """One payload for several messages."""
    return MAGIC + _encoder.encode(messages)


def read_messages(payload: bytes) -> list[bytes] | None:
    """The messages of a payload; ``None`` if no node has written it."""
    if not payload.startswith(MAGIC):
        return None
    try:
        return _decoder.decode(memoryview(payload)[len(MAGIC) :])
    except msgspec.MsgspecError:
        return None


def read_kept(payload: bytes) -> Kept | None:
    """The kept message of a payload that the script has written; ``None`` if the payload is something else."""
    if not payload.startswith(MAGIC):
        return None
    parts = payload[len(MAGIC) :].split(b" ", 2)
    if len(parts) != 3:
        return None
    epoch, number, message = parts
    if not (number.isdigit() and len(number) < 16 and epoch.isascii() and epoch.isalnum()):
        return None
    return Kept(epoch.decode(), int(number), message)


def together(messages: Iterable[bytes], most: int = MOST_TOGETHER) -> Iterator[list[bytes]]:
    """Split messages into portions of at most ``most`` bytes, or of one message."""
    portion: list[bytes] = []
    size = 0
    for message in messages:
        if portion and size + len(message) > most:
            yield portion
            portion, size = [], 0
        portion.append(message)
        size += len(message)
    if portion:
        yield portion
