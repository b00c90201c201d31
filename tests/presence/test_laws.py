"""However states move, get lost, reconnect and arrive out of order, in the end everybody sees the same."""

from __future__ import annotations

from collections import deque
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from presence.awareness import Awareness, Change
from presence.lib0 import encode_uint
from presence.state import User
from tests.presence.room import Peer

CLIENTS = 4


class Socket:
    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.up: deque[bytes] = deque()
        self.down: deque[bytes] = deque()
        self.open = True


class Network:
    """A server with its awareness, clients, and frames on their way; every connection keeps its order.

    ``echo``: clients answer like y-websocket 2 and 3, and Hocuspocus 3 (or not at all, like Hocuspocus 4).
    """

    def __init__(self, verified: bool, echo: bool) -> None:
        self.verified = verified
        self.echo = echo
        self.now = 0.0
        self.room = Awareness()
        self.peers = [Peer(client) for client in range(1, CLIENTS + 1)]
        self.wanted: dict[int, Any] = {peer.client: {} for peer in self.peers}
        self.sockets: dict[int, Socket] = {}
        self.closing: list[Socket] = []
        for peer in self.peers:
            self.connect(peer)

    def connect(self, peer: Peer) -> None:
        socket = self.sockets[peer.client] = Socket(peer)
        self.now += 1
        socket.down.append(self.room.snapshot(self.now))
        if peer.client in peer.states:
            socket.up.append(peer.encode([peer.client]))
        # A connection that is lost before its first nudge arrives costs one renewal. Nothing else must.
        self.deliver_up(socket)
        while socket.down:
            self.deliver_down(socket)

    def disconnect(self, peer: Peer) -> None:
        socket = self.sockets.pop(peer.client, None)
        if socket is not None:
            socket.open = False
            self.closing.append(socket)
            peer.disconnected()

    def set(self, peer: Peer, state: Any) -> None:
        self.wanted[peer.client] = state
        payload = peer.set(state)
        socket = self.sockets.get(peer.client)
        if socket is not None:
            socket.up.append(payload)

    def close_one(self) -> None:
        if self.closing:
            self.tell(self.room.leave(self.closing.pop(0), self.now), None)

    def restart(self) -> None:
        for peer in self.peers:
            self.disconnect(peer)
        self.closing.clear()
        self.room = Awareness()
        for peer in self.peers:
            self.connect(peer)

    def tell(self, change: Change, owner: Socket | None) -> None:
        if change.nudge is not None and owner is not None:
            owner.down.append(change.nudge)
        if change.clients:
            payload = self.room.encode(change.clients)
            for socket in self.sockets.values():
                socket.down.append(payload)

    def silence(self) -> None:
        """Nobody sends anything for a while, and maintenance runs."""
        self.now += 21
        change, nudges = self.room.renew(self.now)
        for owner, nudge in nudges.items():
            if isinstance(owner, Socket):
                owner.down.append(nudge)
        self.tell(change, None)
        self.tell(self.room.expire(self.now), None)

    def deliver_up(self, socket: Socket) -> None:
        if socket.up:
            user = User(f"u{socket.peer.client}", None) if self.verified else None
            self.tell(self.room.apply(socket.up.popleft(), socket, user, self.now), socket)

    def deliver_down(self, socket: Socket) -> None:
        if socket.down:
            changed = socket.peer.apply(socket.down.popleft())
            if self.echo and changed:
                socket.up.append(socket.peer.encode(changed))

    def settle(self) -> None:
        for _ in range(10_000):
            while self.closing:
                self.close_one()
            busy = [socket for socket in self.sockets.values() if socket.up or socket.down]
            if not busy:
                return
            for socket in busy:
                self.deliver_up(socket)
                self.deliver_down(socket)
        raise AssertionError("clients and server never come to rest")


steps = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "set",
                "set",
                "up",
                "up",
                "up",
                "down",
                "down",
                "down",
                "disconnect",
                "connect",
                "close",
                "null",
                "restart",
                "silence",
            ]
        ),
        st.integers(0, CLIENTS - 1),
    ),
    max_size=60,
)


def seen(state: Any) -> Any:
    return {key: value for key, value in state.items() if key != "user"}


@settings(max_examples=200, deadline=None)
@given(steps, st.booleans(), st.booleans())
def test_all_clients_see_each_other_in_the_end(history: list[tuple[str, int]], verified: bool, echo: bool) -> None:
    network = Network(verified, echo)
    for number, (step, index) in enumerate(history):
        peer = network.peers[index]
        socket = network.sockets.get(peer.client)
        if step in ("set", "null"):
            network.set(peer, {"n": number} if step == "set" else None)
        elif step == "up" and socket is not None:
            network.deliver_up(socket)
        elif step == "down" and socket is not None:
            network.deliver_down(socket)
        elif step == "disconnect":
            network.disconnect(peer)
        elif step == "connect" and socket is None:
            if not verified:
                # Without a verified user the old connection counts until it is closed.
                while network.closing:
                    network.close_one()
            network.connect(peer)
        elif step == "close":
            network.close_one()
        elif step == "restart":
            network.restart()
        elif step == "silence":
            network.silence()
    network.settle()
    here = {client: network.wanted[client] for client in network.sockets if network.wanted[client] is not None}
    assert {client: seen(state.value) for client, state in network.room.states.items()} == here
    for client, socket in network.sockets.items():
        others = {other: seen(state) for other, state in socket.peer.states.items() if other != client}
        assert others == {other: state for other, state in here.items() if other != client}
        own = socket.peer.states.get(client)
        assert (None if own is None else seen(own)) == network.wanted[client]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60), st.lists(st.integers(0, 3), max_size=3))
def test_any_bytes_change_something_or_are_refused(tail: bytes, head: list[int]) -> None:
    room = Awareness()
    payload = encode_uint(len(head)) + b"".join(bytes([n, n, 2]) + b"{}" for n in head) + tail
    try:
        room.apply(payload, "a", None, 0)
    except ValueError:
        assert not room.states
