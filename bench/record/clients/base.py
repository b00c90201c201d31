"""Base of the clients: the socket, and pending requests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import Any, TypeVar

import msgspec
from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

from bench.session import Closed

BATCH = 250
T = TypeVar("T")

to_json = msgspec.json.encode
from_json = msgspec.json.decode


def batches(wanted: Sequence[T]) -> Iterator[Sequence[T]]:
    """Split into batches for one message each."""
    for first in range(0, len(wanted), BATCH):
        yield wanted[first : first + BATCH]


class Client(WSListener):
    """One connection. ``seen`` maps each value of ``n`` to the time when a subscription received it.

    The load's entities are tasks with a ``key``, by which live queries select, and a number ``n``, which writes set.
    An entity's key is its name.
    """

    def __init__(self) -> None:
        self.seen: dict[int, float] = {}
        self.ended: str | None = None
        self._transport: WSTransport | None = None
        self._waiting: dict[Any, asyncio.Future[Any]] = {}
        self._parts = b""
        self._text = False
        self._number = 0

    async def connect(self, url: str) -> None:
        """Open the socket and perform the protocol's handshake."""
        await ws_connect(lambda: self, url, max_frame_size=64 * 1024 * 1024, websocket_handshake_timeout=30)
        await self.greet(url)

    async def greet(self, url: str) -> None:
        """Perform the protocol's handshake."""

    async def subscribe(self, keys: Sequence[str]) -> None:
        """Open a live query ``key == …`` for each key; returns when the server has answered all."""
        raise NotImplementedError

    async def create(self, name: str) -> None:
        """Create an entity; returns when the server has acknowledged it."""
        raise NotImplementedError

    async def update(self, name: str, n: int) -> None:
        """Set ``n`` of an entity; returns when the server has acknowledged it."""
        raise NotImplementedError

    def take(self, data: bytes, *, text: bool) -> None:
        """Process a message."""
        raise NotImplementedError

    def close(self) -> None:
        """Leave."""
        if self._transport is not None:
            self._transport.send_close(WSCloseCode.OK)
            self._transport.disconnect()

    # for protocols

    def send(self, data: bytes, *, text: bool = True) -> None:
        """Send a message. Raises :class:`Closed`."""
        if self._transport is None:
            raise Closed(self.ended or "not connected")
        self._transport.send(WSMsgType.TEXT if text else WSMsgType.BINARY, data)

    def number(self) -> int:
        """Return a new request number."""
        self._number += 1
        return self._number

    def expect(self, what: Any) -> asyncio.Future[Any]:
        """Return a future for the answer to ``what``."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[what] = future
        return future

    def answer(self, what: Any, value: Any = None, error: str | None = None) -> None:
        """Resolve a pending request."""
        future = self._waiting.pop(what, None)
        if future is not None and not future.done():
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(RuntimeError(error[:300]))

    def arrived(self, n: Any) -> None:
        """A subscription received this value."""
        if isinstance(n, int):
            self.seen.setdefault(n, perf_counter())

    # called by picows

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The socket is open."""
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Process one frame."""
        kind = frame.msg_type
        if kind is WSMsgType.TEXT or kind is WSMsgType.BINARY or kind is WSMsgType.CONTINUATION:
            if kind is not WSMsgType.CONTINUATION:
                self._text = kind is WSMsgType.TEXT
            data = frame.get_payload_as_bytes()
            if not frame.fin:
                self._parts += data
                return
            if self._parts:
                data, self._parts = self._parts + data, b""
            self.take(data, text=self._text)
        elif kind is WSMsgType.CLOSE:
            self.ended = f"{frame.get_close_code()} {frame.get_close_reason()}"
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The socket has closed."""
        self._transport = None
        self.ended = self.ended or "the connection broke"
        for what in list(self._waiting):
            self.answer(what, error=self.ended)
