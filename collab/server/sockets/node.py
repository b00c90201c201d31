"""A link of another node of the cluster, on a socket."""

from __future__ import annotations

from collab.cluster.answering import Desk
from collab.cluster.passes import Pass
from collab.errors import CollabError, TooLarge
from collab.server.sockets.connection import Connection, SocketProtocol
from collab.wire.realtime.encoding import Frame


class NodeSocket(SocketProtocol):
    """One other node, which has shown its pass. ``most``: bytes of the longest message that the connection takes."""

    __slots__ = ("_answering", "_desk")

    def __init__(self, connection: Connection, desk: Desk, shown: Pass, most: int) -> None:
        self._desk = desk
        self._answering = desk.serve(shown, most, connection.wake, connection.close)

    def receive(self, data: bytes, now: float) -> None:
        """Process one message."""
        self._answering.receive(data)

    def refuse(self, head: bytes, error: TooLarge) -> None:
        """End the link: nodes send long values in pieces."""
        raise error

    def beat(self, now: float, wall: float) -> None:
        """Do nothing: the transport sees whether the other node lives."""
        return

    def keep_alive(self) -> None:
        """Send nothing: the other node pings."""
        return

    def drain(self) -> list[Frame]:
        """Return messages to send."""
        return list(self._answering.drain())

    def farewell(self, error: CollabError) -> Frame | None:
        """Return the last message."""
        return self._answering.farewell(error)

    def left(self, now: float) -> None:
        """The socket has closed."""
        self._desk.left(self._answering)
