"""A client that can send any frame and sees every frame, over either protocol."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import anyio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from collab.wire import hocuspocus, yjs
from presence.lib0 import encode_bytes, encode_string, encode_uint, read_bytes, read_string, read_uint
from tests.e2e.server import Server

Protocol = Literal["y-websocket", "hocuspocus"]
PROTOCOLS: tuple[Protocol, ...] = ("y-websocket", "hocuspocus")

SYNC, AWARENESS, AUTH, QUERY, SYNC_REPLY, STATELESS, BROADCAST, CLOSE, STATUS, PING, PONG = range(11)
DENIED, AUTHENTICATED = 1, 2

ASK = yjs.sync_step1(b"\0")


@dataclass(frozen=True, slots=True)
class Heard:
    """One message from the server: its type and its body. Common types have the same number in both protocols."""

    kind: int
    body: bytes
    address: str = ""

    @property
    def step(self) -> int | None:
        """The step of a sync message."""
        return self.body[0] if self.kind in (SYNC, SYNC_REPLY) else None

    @property
    def is_content(self) -> bool:
        """Whether it contains a part of the document."""
        return self.step in (yjs.STEP2, yjs.UPDATE)

    @property
    def update(self) -> bytes:
        """The update of a sync message."""
        return read_bytes(self.body, 1)[0]

    def states(self) -> dict[int, Any]:
        """The states of an awareness message, by client."""
        payload, _ = read_bytes(self.body, 0)
        count, pos = read_uint(payload, 0)
        states = {}
        for _ in range(count):
            client, pos = read_uint(payload, pos)
            _, pos = read_uint(payload, pos)
            text, pos = read_string(payload, pos)
            states[client] = json.loads(text)
        return states


class Peer:
    """One socket, one document. Bodies are those of y-websocket; Hocuspocus puts the address before them."""

    def __init__(self, socket: ClientConnection, protocol: Protocol, room: str) -> None:
        self.socket = socket
        self.protocol = protocol
        self.room = room
        self.heard: list[Heard] = []

    async def send(self, body: bytes) -> None:
        await self.socket.send(body if self.protocol == "y-websocket" else encode_string(self.room) + body)

    async def hear(self) -> Heard:
        """The next message."""
        data = await self.socket.recv()
        assert isinstance(data, bytes)
        address, pos = "", 0
        if self.protocol == "hocuspocus" and data not in (hocuspocus.PING, hocuspocus.PONG):
            address, pos = read_string(data, 0)
        kind, pos = read_uint(data, pos)
        self.heard.append(Heard(kind, data[pos:], address))
        return self.heard[-1]

    async def until(self, wanted: Callable[[Heard], bool]) -> Heard:
        """Read until a message is as wanted, at most 40 s, because heartbeats never stop."""
        with anyio.fail_after(40):
            while not wanted(heard := await self.hear()):
                pass
        return heard

    async def content(self) -> bytes:
        """Request the whole document. Everything sent before has been handled by then."""
        await self.send(ASK)
        return (await self.until(lambda heard: heard.step == yjs.STEP2)).update

    async def refusal(self) -> int | str | None:
        """What :meth:`ended` would return; ``None`` if the document is open once everything sent was handled."""
        try:
            await self.send(ASK)
            heard = await self.until(
                lambda heard: heard.step == yjs.STEP2 or (heard.kind == AUTH and heard.body[0] == DENIED)
            )
        except ConnectionClosed:
            return self.socket.close_code
        return None if heard.step == yjs.STEP2 else read_string(heard.body, 1)[0].partition(":")[0]

    async def handled(self) -> None:
        """Wait until everything sent before was handled; requires no rights."""
        if self.protocol == "hocuspocus":
            await self.socket.send(hocuspocus.PING)
            await self.until(lambda heard: heard.kind == PONG)
        else:
            await self.content()

    async def authenticate(self, token: str) -> Heard:
        """Send a token in a Hocuspocus message. Returns the answer."""
        await self.send(bytes([AUTH, 0]) + encode_string(token))
        return await self.until(lambda heard: heard.kind == AUTH)

    async def closed(self) -> int | None:
        """Read until the server closes. Returns the close code."""
        with anyio.fail_after(40), suppress(ConnectionClosed):
            while True:
                await self.socket.recv()
        return self.socket.close_code

    async def ended(self) -> int | str | None:
        """Read until the document is closed.

        Returns the close code on y-websocket; on Hocuspocus, where the socket stays open, the error code.
        """
        if self.protocol == "y-websocket":
            return await self.closed()
        denied = await self.until(lambda heard: heard.kind == AUTH and heard.body[0] == DENIED)
        return read_string(denied.body, 1)[0].partition(":")[0]


@asynccontextmanager
async def peer(
    server: Server, protocol: Protocol, room: str, token: str | None = None, **options: Any
) -> AsyncIterator[Peer]:
    """A peer that has sent its token, if any: y-websocket in the URL, Hocuspocus in a message."""
    if protocol == "y-websocket":
        query = "" if token is None else f"?token={token}"
        async with connect(f"{server.rooms}/{room}{query}", max_size=None, **options) as socket:
            yield Peer(socket, protocol, room)
        return
    async with connect(server.hocuspocus, max_size=None, **options) as socket:
        made = Peer(socket, protocol, room)
        if token is not None:
            await made.authenticate(token)
        yield made


def presence(client: int, clock: int, state: Any) -> bytes:
    """An awareness message about one client."""
    entry = b"\1" + encode_uint(client) + encode_uint(clock) + encode_string(json.dumps(state))
    return yjs.awareness(entry)


def stateless(kind: int, payload: str) -> bytes:
    """A stateless or broadcast stateless message."""
    return bytes([kind]) + encode_string(payload)


def sync_reply(step: int, body: bytes) -> bytes:
    """A sync message of type syncReply."""
    return bytes([SYNC_REPLY, step]) + encode_bytes(body)
