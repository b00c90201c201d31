"""One WebSocket: takes whole messages, gives whole messages, knows nothing of what they mean.

A protocol (:mod:`collab.server.yjs_socket`, :mod:`collab.server.hocuspocus_socket`) decides what a message does. Where
the server offers it (:data:`collab.server.asgi_socket.DIRECT`), messages pass without a task in between; a task writes
only while a reader is slower than what it is sent. Elsewhere plain ASGI does the same with more of them.
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
from collab.server.asgi_socket import DIRECT
from presence.lib0 import DecodeError
from presence.state import StateTooLargeError

log = logging.getLogger(__name__)

Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
Frame = bytes | str
"""The content of a binary or a text message."""


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


class Application(Protocol):
    """What a protocol adds that also speaks text, keeps what is to be sent to itself, and says why it ends."""

    def receive_text(self, text: str, now: float) -> None:
        """Take one text message in, as ``receive`` takes binary ones."""

    def drain(self) -> list[Frame]:
        """Give what is to be sent. Called after :meth:`Connection.wake`, once the reader took what went before."""

    def farewell(self, error: CollabError) -> Frame:
        """The last message, before the connection is closed for this reason."""


class Connection:
    """The two ends of a socket. ``stall_seconds`` is how long one message may wait for a reader that does not read."""

    __slots__ = (
        "_application",
        "_backlog",
        "_bucket",
        "_closing",
        "_flushing",
        "_frames",
        "_heartbeat",
        "_listen",
        "_max_bytes",
        "_metrics",
        "_protocol",
        "_ready",
        "_receive",
        "_running",
        "_send",
        "_send_cost",
        "_send_now",
        "_sending_since",
        "_sent_at",
        "_stall",
        "_waking",
        "_writer",
    )

    def __init__(
        self,
        scope: MutableMapping[str, Any],
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
        direct = scope.get("extensions", {}).get(DIRECT, {})
        self._listen: Callable[[Callable[[bytes | str], None]], None] | None = direct.get("listen")
        self._send_now: Callable[[Frame], bool] | None = direct.get("send")
        self._receive = receive
        self._send = send
        self._metrics = metrics
        self._send_cost = send_cost
        self._bucket = bucket
        self._max_bytes = max_message_bytes
        self._heartbeat = heartbeat_seconds
        self._stall = stall_seconds
        self._frames: list[Frame] = []  # of no session
        self._ready: dict[Session, None] = {}
        self._backlog: list[Frame] = []  # drained, and not taken at once
        self._closing: CollabError | None = None
        self._flushing = False
        self._sent_at = monotonic()
        self._sending_since: float | None = None
        self._protocol: SocketProtocol | None = None
        self._application: Application | None = None
        self._waking = False
        self._running: anyio.CancelScope | None = None
        self._writer: asyncio.Task[None] | None = None

    def send(self, frame: Frame) -> None:
        """Queue a message that belongs to no session."""
        self._frames.append(frame)
        self._flush_soon()

    def wake(self) -> None:
        """The application has something to drain."""
        self._waking = True
        self._flush_soon()

    def ready(self, session: Session) -> None:
        """A session's outbox has something to drain."""
        self._ready[session] = None
        self._flush_soon()

    def close(self, error: CollabError) -> None:
        """End the connection for this reason, after what is queued if a retry makes sense."""
        if self._closing is None:
            self._closing = error
            self._metrics.error(error.code)
            if self._application is not None and error.retryable:
                self._frames += self._application.drain()  # the last: nothing that comes from now on delays the end
            self._write_later()

    def beat(self, now: float, wall: float) -> None:
        """Called about once a second."""
        if self._protocol is None:
            return
        self._protocol.beat(now, wall)
        if self._sending_since is None:
            if self._sent_at + self._heartbeat <= now:
                self._protocol.keep_alive()
        elif self._sending_since + self._stall <= now and self._running is not None:
            self.close(Unavailable("the client does not read"))
            self._running.cancel()

    async def run(self, protocol: SocketProtocol, application: Application | None = None) -> CollabError | None:
        """Serve the accepted socket until it ends. Returns why the server closed it, ``None`` if the client did.

        Without an ``application`` messages are binary.
        """
        self._protocol = protocol
        self._application = application
        try:
            with anyio.CancelScope() as self._running:
                if self._listen is not None:
                    self._listen(self._take)
                await self._read()
        finally:
            self._protocol = self._application = None
            protocol.left(monotonic())
            if self._writer is not None:
                self._writer.cancel()
        return self._closing

    async def _read(self) -> None:
        """Read to the end; where messages are taken directly, only the end comes here."""
        while True:
            event = await self._receive()
            if event["type"] == "websocket.disconnect":
                return
            data = event.get("bytes")
            self._take(event["text"] if data is None else data)

    def _take(self, data: bytes | str) -> None:
        if self._closing is not None or self._protocol is None:
            return
        try:
            size = len(data)
            self._metrics.bytes_in += size
            if size > self._max_bytes:
                raise TooLarge("the message is too large", limit=self._max_bytes)
            now = monotonic()
            if self._bucket is not None and not self._bucket.take(size, now):
                raise RateLimitExceeded("too many messages")
            if type(data) is bytes:
                self._protocol.receive(data, now)
            elif self._application is not None and isinstance(data, str):
                self._application.receive_text(data, now)
            else:
                raise InvalidRequest("messages are binary")
        except CollabError as error:
            self.close(error)
        except StateTooLargeError as error:
            self.close(TooLarge(str(error)))
        except DecodeError as error:
            self.close(InvalidRequest(str(error)))
        except Exception:
            log.exception("a message could not be handled")
            self.close(InternalError("a message could not be handled"))

    def _flush_soon(self) -> None:
        """Send at the end of this turn of the loop: what else comes in it goes along."""
        if self._writer is None and not self._flushing:
            if self._send_now is None:
                self._write_later()
            else:
                self._flushing = True
                asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._writer is not None or self._closing is not None:
            return
        assert self._send_now is not None
        started = perf_counter()
        frames = self._drain()
        for at, frame in enumerate(frames):
            if not self._send_now(frame):
                self._backlog = frames[at:]
                self._write_later()
                return
            self._metrics.bytes_out += len(frame)
        if frames:
            self._sent_at = monotonic()
            self._send_cost.observe((perf_counter() - started) / len(frames))

    def _drain(self) -> list[Frame]:
        frames, self._frames = self._frames, []
        sessions, self._ready = self._ready, {}
        for session in sessions:
            if session.room is not None:
                frames += session.room.drain(session)
        if self._waking and self._application is not None and self._closing is None:
            self._waking = False
            frames += self._application.drain()
        return frames

    def _write_later(self) -> None:
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())

    async def _write(self) -> None:
        """Send what waits, and the goodbye, at the pace of the reader."""
        try:
            while self._closing is None or self._closing.retryable:
                frames, self._backlog = self._backlog or self._drain(), []
                if not frames:
                    break
                for frame in frames:
                    await self._send_one(frame)
            if self._closing is not None:
                if self._application is not None:
                    await self._send_one(self._application.farewell(self._closing))
                code, reason = self._closing.close_code, self._closing.message[:120]
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
                if self._running is not None:
                    self._running.cancel()
        except OSError:
            pass  # the socket is gone: the reader is told so, after what the client said before
        except Exception:
            log.exception("a message could not be sent")
        finally:
            self._writer = None

    async def _send_one(self, frame: Frame) -> None:
        self._sending_since = monotonic()
        await self._send({"type": "websocket.send", "bytes" if type(frame) is bytes else "text": frame})
        self._sending_since = None
        self._sent_at = monotonic()
        self._metrics.bytes_out += len(frame)
