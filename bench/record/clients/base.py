"""A client of a server of the application side: its socket, and requests that wait for answers."""

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
    """As many at once as one message should ask for."""
    for first in range(0, len(wanted), BATCH):
        yield wanted[first : first + BATCH]


class Client(WSListener):
    """One connection. ``seen`` is when each value of ``n`` arrived by a subscription.

    The load's entities are tasks with a ``key``, which live queries ask for, and a number ``n``, which writes set.
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
        """Open the socket and greet."""
        await ws_connect(lambda: self, url, max_frame_size=64 * 1024 * 1024, websocket_handshake_timeout=30)
        await self.greet(url)

    async def greet(self, url: str) -> None:
        """Say what comes before all else."""

    async def subscribe(self, keys: Sequence[str]) -> None:
        """Open a live query ``key == …`` for each; ends when the server has answered all."""
        raise NotImplementedError

    async def create(self, name: str) -> None:
        """Create an entity; ends when the server has said that it has it."""
        raise NotImplementedError

    async def update(self, name: str, n: int) -> None:
        """Set ``n`` of an entity; ends when the server has said that it has it."""
        raise NotImplementedError

    def take(self, data: bytes, *, text: bool) -> None:
        """Take a message."""
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
        """The next request's number."""
        self._number += 1
        return self._number

    def expect(self, what: Any) -> asyncio.Future[Any]:
        """The answer to ``what``, when it comes."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting[what] = future
        return future

    def answer(self, what: Any, value: Any = None, error: str | None = None) -> None:
        """It has come."""
        future = self._waiting.pop(what, None)
        if future is not None and not future.done():
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(RuntimeError(error[:300]))

    def arrived(self, n: Any) -> None:
        """A subscription has told this value."""
        if isinstance(n, int):
            self.seen.setdefault(n, perf_counter())

    # picows calls these

    def on_ws_connected(self, transport: WSTransport) -> None:
        """It is open."""
        self._transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take one frame."""
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
        """It is gone."""
        self._transport = None
        self.ended = self.ended or "the connection broke"
        for what in list(self._waiting):
            self.answer(what, error=self.ended)
