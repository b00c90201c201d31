"""What a Hocuspocus socket needs of its server: checks, rooms, limits, and the way to other nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from collab.access.identity import Identity
from collab.names import RoomKey
from collab.rooms.live.room import Room
from collab.server.admission import Admitted


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """Limits of one socket, before and after its documents are open."""

    documents: int = 100
    queued_bytes: int = 5 * 1024 * 1024
    queued_messages: int = 1000
    token_seconds: float = 10.0


class DocumentGatekeeper(Protocol):
    """Checks tokens and opens rooms, for a socket."""

    async def admit(self, name: str, token: str | None) -> Admitted:
        """Identify the holder of ``token`` (or of the handshake's token), and look up its rights on a document."""

    async def open(self, admitted: Admitted) -> tuple[Room, Admitted]:
        """Open the room, and return the current rights."""

    async def stateless(self, admitted: Admitted, payload: str) -> str | None:
        """Return the application's answer to a stateless message."""

    def enter(self, admitted: Admitted) -> None:
        """A client is about to join. Raises :class:`CollabError`."""

    def leave(self, admitted: Admitted) -> None:
        """A client that entered has left."""


class DocumentTunnel(Protocol):
    """The way to another node."""

    def send(self, message: bytes, /) -> None:
        """Pass a message on."""


class DocumentPassing(Protocol):
    """Passes documents on to the nodes that own them. Answers do not come through the socket that passes on."""

    @property
    def by_identity(self) -> bool:
        """Whether the client's identity is known otherwise than by the tokens of its documents."""

    async def to(self, nid: int) -> DocumentTunnel:
        """The way to a node. Raises :class:`collab.errors.Unavailable`."""

    def token(self, nid: int, identity: Identity, token: str) -> str:
        """What identifies the client there. Raises :class:`CollabError`."""

    def listen(self, heard: Callable[[bytes], None]) -> None:
        """Have ``heard`` called with each message of an owner, before the client gets it."""

    def forget(self, key: RoomKey) -> None:
        """The node that should own this room cannot be reached."""

    def close(self) -> None:
        """The client has left."""
