"""The y-websocket protocol on a socket: one room, named by the path."""

from __future__ import annotations

from collab.access.identity import Access, Identity
from collab.errors import AuthenticationFailed
from collab.rooms.framing import YjsFraming
from collab.rooms.registry import Registry
from collab.rooms.room import Room
from collab.rooms.session import Session
from collab.server.connection import Connection
from collab.wire import yjs

_FRAMING = YjsFraming()


class YjsSocket:
    """One client in one room."""

    __slots__ = ("_connection", "_registry", "_session")

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
        self._session = Session(
            identity,
            access,
            _FRAMING,
            ready=lambda: connection.ready(self._session),
            close=connection.close,
            outbox_bytes=outbox_bytes,
        )
        room.join(self._session)

    def receive(self, data: bytes, now: float) -> None:
        """Pass one message to the room."""
        room = self._session.room
        assert room is not None
        room.receive(self._session, yjs.decode(data), now)

    def beat(self, now: float, wall: float) -> None:
        """Close when the credential's time is over."""
        expires_at = self._session.identity.expires_at
        if expires_at is not None and expires_at <= wall:
            self._connection.close(AuthenticationFailed("the token has expired"))

    def keep_alive(self) -> None:
        """y-websocket gives a connection up when it hears nothing for 30 s; an empty awareness update is a sound."""
        self._connection.send(yjs.HEARTBEAT)

    def left(self, now: float) -> None:
        """Take the client out of the room."""
        room = self._session.room
        assert room is not None
        room.leave(self._session, now)
        self._session.detach()
        self._registry.released(room)
