"""Client side of the two framings of Yjs messages."""

from __future__ import annotations

from enum import Enum, auto

from bench.yjs import NOTHING, read_uint, string

SYNC, AWARENESS, AUTH, SYNC_REPLY = 0, 1, 2, 4
PROVIDER_VERSION = b"4.7.0"


class Kind(Enum):
    """Kind of a message from the server."""

    STEP1 = auto()
    STEP2 = auto()
    UPDATE = auto()
    AWARENESS = auto()
    OTHER = auto()


SYNC_KINDS = {0: Kind.STEP1, 1: Kind.STEP2, 2: Kind.UPDATE}


class Framing:
    """y-websocket's framing: the socket's path names the room of all messages."""

    def __init__(self, room: str) -> None:
        self.prefix = self.address(room)
        self.update_head = self.prefix + bytes([SYNC, 2])
        self.awareness_head = self.prefix + bytes([AWARENESS])

    def address(self, room: str) -> bytes:
        """Prefix of each message."""
        return b""

    def opening(self, state_vector: bytes = NOTHING[:1]) -> list[bytes]:
        """First messages of a client, by default with an empty document."""
        return [self.prefix + bytes([SYNC, 0]) + string(state_vector)]

    def step2(self, update: bytes = NOTHING) -> bytes:
        """The answer to the server's state vector."""
        return self.prefix + bytes([SYNC, 1]) + string(update)

    def update(self, update: bytes) -> bytes:
        """An edit."""
        size = len(update)
        return self.update_head + (bytes((size,)) if size < 128 else string(update)[:-size]) + update

    def awareness(self, payload: bytes) -> bytes:
        """Presence."""
        return self.awareness_head + string(payload)

    def read(self, data: bytes) -> tuple[Kind, bytes]:
        """The kind of a message from the server, and its payload."""
        pos = len(self.prefix)
        tag = data[pos]
        if tag in (SYNC, SYNC_REPLY):
            kind = SYNC_KINDS[data[pos + 1]]
            size, pos = read_uint(data, pos + 2)
            return kind, data[pos : pos + size]
        if tag == AWARENESS:
            size, pos = read_uint(data, pos + 1)
            return Kind.AWARENESS, data[pos : pos + size]
        return Kind.OTHER, data[pos + 1 :]


class HocuspocusFraming(Framing):
    """Hocuspocus' framing: each message begins with the document's name, and the first message is a token."""

    def address(self, room: str) -> bytes:
        """The document's name."""
        return string(room.encode())

    def opening(self, state_vector: bytes = NOTHING[:1]) -> list[bytes]:
        """A token, then the state vector."""
        token = self.prefix + bytes([AUTH, 0]) + string(b"bench") + string(PROVIDER_VERSION)
        return [token, *super().opening(state_vector)]
