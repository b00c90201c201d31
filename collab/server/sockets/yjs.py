"""The y-websocket protocol on a socket: one room, named by the path."""

from __future__ import annotations

from collections.abc import Iterable

from collab.access.identity import Identity
from collab.access.rules import Access
from collab.errors import AuthenticationFailed, TooLarge
from collab.rooms.live.framing import YjsFraming
from collab.rooms.live.room import Room
from collab.rooms.live.session import Session
from collab.rooms.registry import Registry
from collab.server.sockets.connection import Client, Connection, SocketProtocol
from collab.wire import yjs

_FRAMING = YjsFraming()


class YjsSocket(SocketProtocol):
    """One client in one room."""

    __slots__ = ("_connection", "_registry", "_room", "_session")

    def __init__(
        self,
        connection: Connection,
        registry: Registry,
        room: Room,
        identity: Identity,
        access: Access,
        outbox_bytes: int,
    ) -> None:
        self._connection = connection
        self._registry = registry
        self._room = room
        self._session = Session(
            identity,
            access,
            _FRAMING,
            ready=lambda: connection.ready(self._session),
            close=connection.close,
            outbox_bytes=outbox_bytes,
        )
        registry.edits.watch(self._session, room)
        self._session.throttle = connection
        self._session.who = str(connection.meter.payer)
        self._session.origin = connection.origin
        room.join(self._session)

    def receive(self, data: bytes, now: float) -> None:
        """Pass one message to the room."""
        self._room = self._room.latest
        self._room.receive(self._session, yjs.decode(data), now)

    def refuse(self, head: bytes, error: TooLarge) -> None:
        """Drop oversized awareness; anything else ends the session and the connection."""
        if not head.startswith(yjs.AWARENESS.to_bytes()):
            raise error

    def beat(self, now: float, wall: float) -> None:
        """Close when the credential expires."""
        expires_at = self._session.identity.expires_at
        if expires_at is not None and expires_at <= wall:
            self._connection.close(AuthenticationFailed("the token has expired"))

    def clients(self) -> Iterable[Client]:
        """The one session."""
        return (self._connection.client(self._session.identity, "yjs", self._room.key.name),)

    def keep_alive(self) -> None:
        """Send an empty awareness update: y-websocket closes a connection that is silent for 30 s."""
        self._connection.send(yjs.HEARTBEAT)

    def left(self, now: float) -> None:
        """Remove the client from the room."""
        room = self._room.latest
        del self._room  # release it without waiting for the garbage collector
        room.leave(self._session, now)
        self._session.detach()
        self._registry.released(room)
