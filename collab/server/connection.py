"""One WebSocket: takes whole messages, gives whole messages, knows nothing of what they mean.

A protocol (:mod:`collab.server.yjs_socket`, :mod:`collab.server.hocuspocus_socket`) decides what a message does.
One task reads, one writes; a reader that does not keep up blocks only the writer of its own socket.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from time import monotonic, perf_counter
from typing import Any, Protocol

import anyio

from collab.access.limits import TokenBucket
from collab.errors import CollabError, InternalError, InvalidRequest, RateLimitExceeded, TooLarge, Unavailable
from collab.metrics import Metrics
from collab.rooms.pacing import SendCost
from collab.rooms.session import Session
from presence.lib0 import DecodeError
from presence.state import StateTooLargeError

log = logging.getLogger(__name__)

_LAST_WORDS_SECONDS = 5.0

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]


class SocketProtocol(Protocol):
    """What a connection speaks."""

    def receive(self, data: bytes, now: float) -> None:
        """Take one message in. Raises :class:`CollabError` or :class:`DecodeError` to end the connection."""

    def beat(self, now: float, wall: float) -> None:
        """Called about once a second, with both clocks: deadlines by ``now``, expiries by ``wall``."""

    def keep_alive(self) -> None:
        """Nothing was sent for a while: queue something, or the client takes the connection for dead."""

    def left(self, now: float) -> None:
        """The socket is gone."""


class Connection:
    """The two ends of a socket. ``stall_seconds`` is how long one message may wait for a reader that does not read."""

    __slots__ = (
        "_bucket",
        "_closing",
        "_frames",
        "_heartbeat",
        "_max_bytes",
        "_metrics",
        "_protocol",
        "_ready",
        "_receive",
        "_send",
        "_send_cost",
        "_sending_since",
        "_sent_at",
        "_stall",
        "_task",
        "_wake",
    )

    def __init__(
        self,
        receive: Receive,
        send: Send,
        *,
        metrics: Metrics,
        send_cost: SendCost,
        bucket: TokenBucket | None,
        max_message_bytes: int,
        heartbeat_seconds: float,
        stall_seconds: float,
    ) -> None:
        self._receive = receive
        self._send = send
        self._metrics = metrics
        self._send_cost = send_cost
        self._bucket = bucket
        self._max_bytes = max_message_bytes
        self._heartbeat = heartbeat_seconds
        self._stall = stall_seconds
        self._frames: list[bytes] = []
        self._ready: dict[Session, None] = {}
        self._closing: CollabError | None = None
        self._wake: asyncio.Future[None] | None = None
        self._sent_at = monotonic()
        self._sending_since: float | None = None
        self._protocol: SocketProtocol | None = None
        self._task: asyncio.Task[Any] | None = None

    def send(self, frame: bytes) -> None:
        """Queue a message that belongs to no session."""
        self._frames.append(frame)
        self._wake_up()

    def ready(self, session: Session) -> None:
        """A session's outbox has something to drain."""
        self._ready[session] = None
        self._wake_up()

    def close(self, error: CollabError) -> None:
        """End the connection for this reason, after what is queued if a retry makes sense."""
        if self._closing is None:
            self._closing = error
            self._metrics.error(error.code)
            self._wake_up()

    def beat(self, now: float, wall: float) -> None:
        """Called about once a second."""
        if self._protocol is not None:
            self._protocol.beat(now, wall)
            if self._sent_at + self._heartbeat <= now and self._sending_since is None:
                self._protocol.keep_alive()
        if self._sending_since is not None and self._sending_since + self._stall <= now and self._task is not None:
            self.close(Unavailable("the client does not read"))
            self._task.cancel()

    async def run(self, protocol: SocketProtocol) -> CollabError | None:
        """Serve the accepted socket until it ends. Returns why the server closed it, ``None`` if the client did."""
        self._protocol = protocol
        self._task = writer = asyncio.create_task(self._write())
        reader = asyncio.ensure_future(self._read(protocol))
        try:
            await asyncio.wait((writer, reader), return_when=asyncio.FIRST_COMPLETED)
            if self._closing is None and not reader.done():
                # The client closed while something was on its way to it. What it said before is still to be read.
                await asyncio.wait((reader,), timeout=_LAST_WORDS_SECONDS)
        finally:
            self._protocol = None
            protocol.left(monotonic())
            for task in (writer, reader):
                task.cancel()
            await asyncio.gather(writer, reader, return_exceptions=True)
        return self._closing

    async def _read(self, protocol: SocketProtocol) -> None:
        receive, metrics, bucket = self._receive, self._metrics, self._bucket
        while True:
            event = await receive()
            if event["type"] == "websocket.disconnect":
                return
            try:
                data = event.get("bytes")
                if data is None:
                    raise InvalidRequest("messages are binary")
                size = len(data)
                metrics.bytes_in += size
                if size > self._max_bytes:
                    raise TooLarge("the message is too large", limit=self._max_bytes)
                now = monotonic()
                if bucket is not None and not bucket.take(size, now):
                    raise RateLimitExceeded("too many messages")
                protocol.receive(data, now)
            except CollabError as error:
                self.close(error)
            except StateTooLargeError as error:
                self.close(TooLarge(str(error)))
            except DecodeError as error:
                self.close(InvalidRequest(str(error)))
            except Exception:
                log.exception("a message could not be handled")
                self.close(InternalError("a message could not be handled"))
            if self._closing is not None:
                await anyio.sleep_forever()  # the writer says goodbye and ends the connection

    async def _write(self) -> None:
        while True:
            if not self._ready and not self._frames and self._closing is None:
                self._wake = asyncio.get_running_loop().create_future()
                await self._wake
            closing = self._closing
            if closing is None or closing.retryable:
                frames, self._frames = self._frames, []
                sessions, self._ready = self._ready, {}
                for frame in frames:
                    await self._send_one(frame)
                for session in sessions:
                    if session.room is not None:
                        for frame in session.room.drain(session):
                            await self._send_one(frame)
            if closing is not None:
                await self._send(
                    {"type": "websocket.close", "code": closing.close_code, "reason": closing.message[:120]}
                )
                return

    async def _send_one(self, frame: bytes) -> None:
        started = perf_counter()
        self._sending_since = monotonic()
        await self._send({"type": "websocket.send", "bytes": frame})
        self._sending_since = None
        self._sent_at = monotonic()
        self._metrics.bytes_out += len(frame)
        self._send_cost.observe(perf_counter() - started)

    def _wake_up(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
