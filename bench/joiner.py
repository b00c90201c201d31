"""A client that joins a large document without storing it: it reads into one shared buffer and counts bytes.

The benchmark measures the server, not the integration of 20 MB in 150 browsers on one machine. So a joiner
parses only frame headers and the first bytes of each message, so that one core can receive what the
server's core sends.
"""

from __future__ import annotations

import asyncio
import base64
import os
import struct
from time import perf_counter
from typing import cast

from bench.framing import Framing, Kind

SCRATCH = 1 << 20
BINARY, PING, PONG = 2, 9, 10
HEAD = 256
"""Number of bytes parsed of a large message."""


def frame(payload: bytes, opcode: int = BINARY) -> bytes:
    """A masked frame, binary by default (with a zero mask, so that masking changes nothing)."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    return head + bytes(4) + payload


class Joiner(asyncio.BufferedProtocol):
    """Joins one room; ``done`` is the time when the last byte of the server's state arrived.

    With ``keep`` the state is kept for verification.
    """

    def __init__(self, framing: Framing, path: str, scratch: memoryview, *, keep: bool = False) -> None:
        self.framing = framing
        self.done: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.state = b""
        self.size = 0
        self._path = path
        self._scratch = scratch
        self._keep = keep
        self._upgraded = False
        self._header = bytearray()  # of the current frame, until complete
        self._left = 0  # payload bytes of the current frame that have not arrived
        self._final = True
        self._opcode = 0
        self._seen = bytearray()  # of the current message
        self._total = 0  # payload bytes of the current message, all its frames
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Request the upgrade."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class, not asyncio's
        key = base64.b64encode(os.urandom(16)).decode()
        self._transport.write(
            f"GET {self._path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )

    def connection_lost(self, error: Exception | None) -> None:
        """Fail the waiting future."""
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("closed before the state had arrived"))

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the buffer that all joiners share: each processes its data before the next reads."""
        return self._scratch

    def buffer_updated(self, size: int) -> None:
        """Process received data."""
        if self._upgraded:
            self._read(self._scratch[:size])
            return
        self._header += self._scratch[:size]
        end = self._header.find(b"\r\n\r\n")
        if end < 0:
            return
        if b" 101 " not in self._header[:end]:
            self.done.set_exception(ConnectionError(self._header[:64].decode("latin-1")))
            return
        rest = bytes(self._header[end + 4 :])
        self._header.clear()
        self._upgraded = True
        self._write(b"".join(frame(message) for message in self.opening()))
        self._read(memoryview(rest))

    def opening(self) -> list[bytes]:
        """The first messages."""
        return self.framing.opening()

    def answer(self, state_vector: bytes) -> bytes:
        """The answer to the server's state vector."""
        return self.framing.step2()

    def send(self, *messages: bytes) -> None:
        """Send messages."""
        self._write(b"".join(map(frame, messages)))

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def _read(self, data: memoryview) -> None:
        pos, size = 0, len(data)
        while pos < size:
            if not self._left:
                self._header.append(data[pos])
                pos += 1
                if not self._begin_frame():
                    continue
            take = min(self._left, size - pos)
            if self._keep:
                self._seen += data[pos : pos + take]
            elif len(self._seen) < HEAD:
                self._seen += data[pos : pos + min(take, HEAD - len(self._seen))]
            pos += take
            self._left -= take
            if not self._left and self._final:
                message, total = bytes(self._seen), self._total
                self._seen.clear()
                self._total = 0
                self._message(message, total)

    def _begin_frame(self) -> bool:
        """Parse the frame's header. Returns false if it is incomplete."""
        head = self._header
        if len(head) < 2:
            return False
        short = head[1] & 127
        need = 2 + (2 if short == 126 else 8 if short == 127 else 0)
        if len(head) < need:
            return False
        self._final = bool(head[0] & 0x80)
        self._opcode = head[0] & 15 or self._opcode  # a continuation has the opcode of its message
        self._left = short if short < 126 else int.from_bytes(head[2:need], "big")
        self._total += self._left
        head.clear()
        return True

    def _message(self, data: bytes, total: int) -> None:
        if self._opcode == PING:
            self._write(frame(data, PONG))
        if self._opcode != BINARY:
            return
        kind, payload = self.framing.read(data)
        if kind is Kind.STEP1:
            self._write(frame(self.answer(payload)))
        elif kind is Kind.STEP2 and not self.done.done():
            self.size = total
            self.state = payload if self._keep else b""
            self.done.set_result(perf_counter())

    def close(self) -> None:
        """Close the socket with a close frame, as browsers do."""
        if self._transport is not None and not self._transport.is_closing():
            self._write(struct.pack("!BBIH", 0x88, 0x82, 0, 1000))
            self._transport.close()
