"""A WebSocket client on a bare socket: it sends what no library would, and answers nothing by itself."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from base64 import b64encode
from collections.abc import Iterable
from typing import NamedTuple

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


class Frame(NamedTuple):
    final: bool
    opcode: int
    payload: bytes

    @property
    def close_code(self) -> int:
        assert self.opcode == CLOSE
        return int.from_bytes(self.payload[:2]) if self.payload else 1005


def encode(opcode: int, payload: bytes = b"", *, final: bool = True, rsv1: bool = False) -> bytes:
    """A masked frame."""
    first = opcode | (0x80 if final else 0) | (0x40 if rsv1 else 0)
    if len(payload) > 4096:  # masked with zeros, for masking in Python takes long
        return head(first, len(payload)) + bytes(4) + payload
    mask = os.urandom(4)
    return head(first, len(payload)) + mask + bytes(b ^ mask[i & 3] for i, b in enumerate(payload))


def head(first: int, length: int) -> bytes:
    """The head of a masked frame, up to the mask."""
    if length < 126:
        return bytes((first, 0x80 | length))
    if length < 65536:
        return struct.pack("!BBH", first, 0x80 | 126, length)
    return struct.pack("!BBQ", first, 0x80 | 127, length)


class RawClient:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._received = bytearray()
        self.response = b""

    def __del__(self) -> None:
        self._sock.close()

    @classmethod
    async def dial(cls, port: int, *, receive_buffer: int | None = None) -> RawClient:
        """A TCP connection; a small ``receive_buffer`` makes a reader whose buffer fills soon."""
        sock = socket.socket()
        client = cls(sock)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        except OSError:
            sock.close()
            raise
        return client

    @classmethod
    async def open(cls, port: int, *, headers: Iterable[str] = (), receive_buffer: int | None = None) -> RawClient:
        """A connection after an accepted handshake."""
        client = await cls.dial(port, receive_buffer=receive_buffer)
        await client.handshake(headers=headers)
        assert client.response.startswith(b"HTTP/1.1 101 "), client.response
        return client

    async def handshake(self, *, headers: Iterable[str] = (), version: int = 13) -> bytes:
        """Request an upgrade; returns the head of the response."""
        await self.write(
            "\r\n".join(
                [
                    "GET /socket?a=b HTTP/1.1",
                    "Host: localhost",
                    "Connection: keep-alive, Upgrade",
                    "Upgrade: websocket",
                    f"Sec-WebSocket-Key: {b64encode(os.urandom(16)).decode()}",
                    f"Sec-WebSocket-Version: {version}",
                    *headers,
                    "\r\n",
                ]
            ).encode()
        )
        return await self.head()

    async def head(self) -> bytes:
        """The head of an HTTP response, in lower case except for ``HTTP``."""
        while (end := self._received.find(b"\r\n\r\n")) < 0:
            await self._receive()
        self.response = bytes(self._received[: end + 4]).lower().replace(b"http", b"HTTP")
        del self._received[: end + 4]
        return self.response

    async def write(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._sock, data)

    async def send(self, opcode: int, payload: bytes = b"", *, final: bool = True, rsv1: bool = False) -> None:
        await self.write(encode(opcode, payload, final=final, rsv1=rsv1))

    async def _receive(self) -> None:
        data = await asyncio.get_running_loop().sock_recv(self._sock, 2**16)
        if not data:
            raise EOFError
        self._received += data

    async def exactly(self, size: int) -> bytes:
        while len(self._received) < size:
            await self._receive()
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    async def read(self) -> Frame:
        """The next frame, unchanged. Raises :class:`EOFError` at the end."""
        first, second = await self.exactly(2)
        assert not second & 0x80, "servers do not mask"
        length = second
        if second > 125:
            length = int.from_bytes(await self.exactly(2 if second == 126 else 8))
        return Frame(bool(first & 0x80), first & 0x7F, await self.exactly(length))

    async def message(self) -> tuple[bytes, list[Frame]]:
        """The next whole message and its frames, including control frames in between."""
        seen = []
        while True:
            seen.append(await self.read())
            if seen[-1].final and seen[-1].opcode < CLOSE:
                return b"".join(frame.payload for frame in seen if frame.opcode < CLOSE), seen

    async def ended(self) -> bytes:
        """Wait until the server closes the connection; returns everything that it still sent."""
        try:
            while True:
                await self._receive()
        except (EOFError, ConnectionResetError):
            return bytes(self._received)

    def cut(self) -> None:
        """Reset the connection."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()
