"""Passes a client's messages on to the nodes that own its documents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from starlette.types import Scope

from collab.access.identity import Identity
from collab.cluster.node import ClusterNode
from collab.cluster.tunnel import Handshake, Tunnel
from collab.errors import CollabError, Restarting, TooLarge, Unavailable
from collab.hooks import Request
from collab.names import RoomKey
from collab.server.sockets.connection import Connection, SocketProtocol
from collab.wire import yjs

_LOST = "the server that has this document was lost"
_PAUSE_SECONDS = 0.2


class Passing:
    """The tunnels of one client: at most one to each node. When one of them ends, so does the client's connection.

    ``target`` is the path at the other node, ``headers`` what it gets of the client's. With ``by_identity``, the
    client's identity is known otherwise than by what it sends there.
    """

    def __init__(
        self,
        connection: Connection,
        node: ClusterNode,
        request: Request,
        scope: Scope,
        target: str,
        headers: Sequence[tuple[str, str]],
        *,
        by_identity: bool = False,
    ) -> None:
        self.by_identity = by_identity
        query = scope.get("query_string", b"").decode("latin-1")
        self._handshake = Handshake(f"{target}?{query}" if query else target, headers, scope.get("subprotocols", ()))
        self._address = request.client
        self._connection = connection
        self._node = node
        self._tunnels: dict[int, Tunnel] = {}
        self._opening: dict[int, asyncio.Lock] = {}
        self._closed = False
        self._heard: Callable[[bytes], None] | None = None

    async def to(self, nid: int) -> Tunnel:
        """The tunnel to a node. Raises :class:`Unavailable` if it cannot be reached."""
        async with self._opening.setdefault(nid, asyncio.Lock()):
            tunnel = self._tunnels.get(nid)
            if tunnel is None:
                connection = self._connection
                tunnel = Tunnel(
                    deliver=connection.offer if self._heard is None else self._deliver,
                    hold=connection.hold,
                    release=connection.release,
                    ended=lambda code, reason: self._ended(nid, code, reason),
                )
                await self._node.open(nid, tunnel, self._handshake, self._address)
                self._tunnels[nid] = tunnel
                self._node.opened(nid, tunnel)
                if self._closed:
                    self.close()
            return tunnel

    def listen(self, heard: Callable[[bytes], None]) -> None:
        """Have ``heard`` called with each message of an owner, before the client gets it."""
        self._heard = heard

    def _deliver(self, message: bytes | str) -> asyncio.Task[None] | None:
        if self._heard is not None and isinstance(message, bytes):
            self._heard(message)
        return self._connection.offer(message)

    async def socket(self, nid: int, key: RoomKey) -> PassedSocket | None:
        """A socket for one document at its owner; ``None``, after a moment, if the owner does not serve it."""
        try:
            return PassedSocket(self, await self.to(nid))
        except Unavailable:
            self.forget(key)
            await asyncio.sleep(_PAUSE_SECONDS)
            return None

    def token(self, nid: int, identity: Identity, token: str) -> str:
        """What identifies the client at a node: its own token, or a pass. Raises :class:`TooLarge`."""
        return self._node.issue(nid, identity) if self.by_identity else token

    def forget(self, key: RoomKey) -> None:
        """The node that should own this room does not serve it."""
        self._node.ownership.forget(key)

    def close(self) -> None:
        """The client has left."""
        self._closed = True
        self._heard = None
        for nid, tunnel in self._tunnels.items():
            tunnel.close()
            self._node.closed(nid, tunnel)
        self._tunnels.clear()

    def _ended(self, nid: int, code: int, reason: str) -> None:
        tunnel = self._tunnels.pop(nid, None)
        if tunnel is not None:
            self._node.closed(nid, tunnel)
        self._connection.close(closed_with(code, reason))


class PassedSocket(SocketProtocol):
    """A socket for one document that another node owns."""

    __slots__ = ("_passing", "_tunnel")

    def __init__(self, passing: Passing, tunnel: Tunnel) -> None:
        self._passing = passing
        self._tunnel = tunnel

    def receive(self, data: bytes, now: float) -> None:
        """Pass a message on."""
        self._tunnel.send(data)

    def receive_text(self, text: str, now: float) -> None:
        """Pass a text on: the owner answers it as it does its own clients."""
        self._tunnel.send(text)

    def refuse(self, head: bytes, error: TooLarge) -> None:
        """Drop oversized awareness; anything else ends the connection."""
        if not head.startswith(yjs.AWARENESS.to_bytes()):
            raise error

    def beat(self, now: float, wall: float) -> None:
        """The owner watches the credential."""

    def keep_alive(self) -> None:
        """The owner sends what keeps its client alive."""

    def left(self, now: float) -> None:
        """The client has left."""
        self._passing.close()


def closed_with(code: int, reason: str) -> CollabError:
    """The error with which a client's socket is closed if its owner closed with this code."""
    kinds: list[type[CollabError]] = [CollabError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    found = next((kind for kind in kinds if kind.close_code == code and kind is not CollabError), None)
    if found is None or found.close_code in _OF_THE_CONNECTION:
        return Restarting(_LOST)
    error = found.__new__(found)
    CollabError.__init__(error, reason)
    return error


_OF_THE_CONNECTION = (1006, 1011)
