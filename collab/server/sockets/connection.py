"""One WebSocket: whole messages in and out, whatever they mean.

A protocol (:mod:`collab.server.sockets.yjs`, :mod:`collab.server.sockets.hocuspocus`) interprets the messages. If the
server supports it (:data:`collab.transport.websocket.DIRECT`), messages pass without a task in between, and a task
writes only while the reader is too slow. Otherwise plain ASGI does the same with more tasks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from math import inf
from secrets import token_urlsafe
from time import monotonic, time
from typing import Literal, NamedTuple, Protocol

from collab.access.identity import Identity
from collab.access.limits import TokenBucket
from collab.access.price import METER, Meter, rest_after
from collab.errors import (
    CollabError,
    InternalError,
    InvalidRequest,
    RateLimitExceeded,
    Restarting,
    TooLarge,
    Unavailable,
)
from collab.metrics import Metrics
from collab.rooms.live.pacing import SendCost
from collab.rooms.live.session import Session
from collab.server.sockets.send_turns import SendTurns
from collab.tracing import Trace
from collab.transport.frames import Oversized
from collab.transport.websocket import DIRECT, ASGIEvent
from collab.wire.realtime.encoding import Frame
from presence.lib0 import DecodeError

_TOO_MUCH = 60.0  # seconds of CPU debt after which the connection is closed
_SHORTEST_HOLD, _LONGEST_HOLD = 0.01, 1.0
_STRETCH = 0.003  # seconds for which the messages of one socket may block the loop; then it pauses
_COSTLY_DRAIN = 0.001
_LARGE_FRAME = 4096  # bytes; what others write is smaller, and an answer may be larger
_SECONDS_PER_BYTE = 2e-9  # that the system takes to send, by a profile of a reader that asked for 300 KB in a loop

log = logging.getLogger(__name__)

Receive = Callable[[], Awaitable[ASGIEvent]]
Send = Callable[[ASGIEvent], Awaitable[None]]


class Client(NamedTuple):
    """A session of somebody: on a connection, or of an event stream; in ``document``, or of the application protocol.

    ``close`` ends it; ``since`` is in seconds since the epoch.
    """

    identity: Identity
    protocol: Literal["yjs", "hocuspocus", "realtime", "events"]
    document: str | None
    connection: str
    address: str | None
    since: float
    close: Callable[[CollabError], None]


class SocketProtocol(Protocol):
    """The protocol of a connection, to inherit from. By default all messages are binary, and nothing is queued."""

    __slots__ = ()

    def receive(self, data: bytes, now: float) -> None:
        """Process one message. Raises :class:`CollabError` or :class:`DecodeError` to end the connection."""

    def refuse(self, head: bytes, error: TooLarge) -> None:
        """A binary message exceeded the limit; ``head`` is its beginning. Raises to end the connection."""

    def beat(self, now: float, wall: float) -> None:
        """Called about once a second, with both clocks: deadlines use ``now``, expiries ``wall``."""

    def clients(self) -> Iterable[Client]:
        """The sessions on this socket."""
        return ()

    def keep_alive(self) -> None:
        """Nothing was sent for a while: queue something, or the client will consider the connection dead."""

    def left(self, now: float) -> None:
        """The socket has closed."""

    def receive_text(self, text: str, now: float) -> None:
        """Process one text message, as ``receive`` does binary ones."""
        raise InvalidRequest("messages must be binary")

    def drain(self) -> list[Frame]:
        """Return messages to send. Called after :meth:`Connection.wake`, once the reader took the earlier ones."""
        return []

    def farewell(self, error: CollabError) -> Frame | None:
        """Return a last message, before the connection is closed for this reason."""
        return None


class Connection:
    """Both directions of a socket. ``stall_seconds`` is how long one message may wait for a reader.

    While the client is not read, a heartbeat is sent after ``held_heartbeat_seconds`` of silence, if that is sooner.
    ``origin`` is the span in which it was opened.
    """

    __slots__ = (
        "_abandoned",
        "_backlog",
        "_bucket",
        "_closing",
        "_ended",
        "_flushing",
        "_frames",
        "_heartbeat",
        "_held_heartbeat",
        "_holds",
        "_listen",
        "_max_bytes",
        "_metrics",
        "_name",
        "_pause",
        "_paying",
        "_place",
        "_protocol",
        "_ready",
        "_receive",
        "_resting",
        "_resumed",
        "_running",
        "_send",
        "_send_cost",
        "_send_now",
        "_send_turns",
        "_sending_since",
        "_sent_at",
        "_stall",
        "_stretch",
        "_trust",
        "_waking",
        "_writer",
        "address",
        "meter",
        "origin",
        "received",
        "sent",
        "since",
    )

    def __init__(
        self,
        scope: ASGIEvent,
        receive: Receive,
        send: Send,
        *,
        metrics: Metrics,
        send_turns: SendTurns,
        send_cost: SendCost,
        meter: Meter,
        bucket: TokenBucket | None,
        max_message_bytes: int,
        heartbeat_seconds: float,
        stall_seconds: float,
        address: str | None = None,
        held_heartbeat_seconds: float = inf,
        origin: Trace | None = None,
    ) -> None:
        self._name: str | None = None
        self.address = address
        self.origin = origin
        self.since = time()
        self.received = 0
        """Bytes of messages so far; ``sent`` are those in the other direction."""
        self.sent = 0
        direct = scope.get("extensions", {}).get(DIRECT, {})
        self._listen: Callable[[Callable[[Frame | Oversized], None]], None] | None = direct.get("listen")
        self._send_now: Callable[[Frame], bool] | None = direct.get("send")
        self._pause: Callable[[bool], None] = direct.get("pause", _nothing)
        self._trust: Callable[[], None] | None = direct.get("trust")
        self._place: str = scope["path"]
        self._receive = receive
        self._send = send
        self._metrics = metrics
        self._send_turns = send_turns
        self._send_cost = send_cost
        self.meter = meter
        self._bucket = bucket
        self._holds = 0
        self._paying = False
        self._resting = False
        self._stretch = 0.0  # seconds it blocked the loop without a break of that length
        self._ended = 0.0
        self._resumed = asyncio.Event()
        self._resumed.set()
        self._max_bytes = max_message_bytes
        self._heartbeat = heartbeat_seconds
        self._held_heartbeat = min(heartbeat_seconds, held_heartbeat_seconds)
        self._stall = stall_seconds
        self._frames: list[Frame] = []  # messages of no session
        self._ready: dict[Session, None] = {}
        self._backlog: list[Frame] = []  # drained but not sent yet
        self._closing: CollabError | None = None
        self._flushing = False
        self._sent_at = monotonic()
        self._sending_since: float | None = None
        self._protocol: SocketProtocol | None = None
        self._waking = False
        self._running: asyncio.Task[object] | None = None
        self._abandoned = False
        self._writer: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """Names this connection to others, who cannot guess it. Most are never asked, and randomness is not free."""
        if self._name is None:
            self._name = token_urlsafe(12)
        return self._name

    def send(self, frame: Frame) -> None:
        """Queue a message that belongs to no session."""
        self._frames.append(frame)
        self._flush_soon()

    def offer(self, frame: Frame) -> asyncio.Task[None] | None:
        """Queue a message that belongs to no session. Returns what ends when the client has read it, if it is slow."""
        self.send(frame)
        return self._writer

    def wake(self) -> None:
        """The protocol has messages to drain."""
        self._waking = True
        self._flush_soon()

    def ready(self, session: Session) -> None:
        """A session's outbox has messages to drain."""
        self._ready[session] = None
        self._flush_soon()

    def trust(self) -> None:
        """The client has shown a valid credential: apply the limits of authenticated clients."""
        if self._trust is not None:
            trust, self._trust = self._trust, None
            trust()

    def hold(self) -> None:
        """Stop reading until :meth:`release` was called as often. The client's messages wait on its side."""
        self._holds += 1
        if self._holds == 1:
            self._resumed.clear()
            self._pause(True)

    def release(self) -> None:
        """Undo one :meth:`hold`."""
        self._holds -= 1
        if not self._holds:
            self._resumed.set()
            self._pause(False)

    def charge(self, seconds: float) -> float:
        """Charge CPU time; stop reading while the client owes too much. Returns for how many seconds."""
        wait = self.meter.add(seconds)
        if wait <= 0 or self._paying or self._closing is not None:
            return wait
        if wait > _TOO_MUCH:
            self.close(RateLimitExceeded("this client has used too much CPU", retryAfter=round(wait)))
        else:
            self._paying = True
            self.hold()
            asyncio.get_running_loop().call_later(min(max(wait, _SHORTEST_HOLD), _LONGEST_HOLD), self._paid)
        return wait

    def clients(self) -> Iterable[Client]:
        """The sessions on this connection."""
        return () if self._protocol is None or self._closing is not None else self._protocol.clients()

    def client(
        self,
        identity: Identity,
        protocol: Literal["yjs", "hocuspocus", "realtime"],
        document: str | None = None,
        close: Callable[[CollabError], None] | None = None,
    ) -> Client:
        """A session on this connection; without ``close``, the connection ends with it."""
        return Client(identity, protocol, document, self.name, self.address, self.since, close or self.close)

    def is_busy(self) -> bool:
        """Whether the client has recently used noticeably more than its share."""
        return self.meter.is_busy()

    def _paid(self) -> None:
        self._paying = False
        self.release()
        self.charge(0.0)

    def close(self, error: CollabError) -> None:
        """Close the connection for this reason; send queued messages first if a retry makes sense."""
        if self._closing is None:
            self._closing = error
            error.__traceback__ = error.__cause__ = error.__context__ = None  # their frames refer to us
            self._metrics.error(error.code)
            if self._protocol is not None and error.retryable:
                self._frames += self._protocol.drain()  # the last ones: later messages do not delay the end
            self._write_later()

    def abandon(self, error: CollabError) -> None:
        """Close without waiting for a peer that is gone."""
        self.close(error)
        self._stop_reading()

    def beat(self, now: float, wall: float) -> None:
        """Called about once a second."""
        if self._protocol is None:
            return
        self._protocol.beat(now, wall)
        if self._sending_since is None:
            if self._sent_at + (self._held_heartbeat if self._holds else self._heartbeat) <= now:
                self._protocol.keep_alive()
        elif self._sending_since + self._stall <= now and self._running is not None:
            self.abandon(Unavailable("the client does not read"))

    async def run(self, protocol: SocketProtocol) -> CollabError | None:
        """Serve the accepted socket until it ends. Returns why the server closed it, ``None`` if the client did."""
        self._protocol = protocol
        self._running = running = asyncio.current_task()
        assert running is not None
        try:
            if self._listen is not None:
                self._listen(self._take)
            await self._read()
        except asyncio.CancelledError:
            if not self._abandoned or running.uncancel():
                raise
        finally:
            self._running = None
            self._protocol = None
            protocol.left(monotonic())
            self._ready.clear()
            writer, self._writer = self._writer, None  # a task that is cancelled before it began cannot do this
            if writer is not None:
                writer.cancel()
            if self._closing is not None and not isinstance(self._closing, Restarting):
                payer = self.meter.payer
                user = payer.name if payer.kind == "user" else None
                place = f"{payer.project or ''}{self._place}"
                self._metrics.refusals.note("connection", place, user, self._closing.message, payer.project)
        return self._closing

    def _stop_reading(self) -> None:
        if self._running is not None and not self._abandoned:
            self._abandoned = True
            self._running.cancel()

    async def _read(self) -> None:
        """Read to the end; with direct messages, only the end arrives here."""
        while True:
            event = await self._receive()
            if event["type"] == "websocket.disconnect":
                if self._closing is None and event.get("code") == TooLarge.close_code:  # the server stopped reading
                    self._closing = TooLarge("the message is too large", limit=self._max_bytes)
                return
            data = event.get("bytes")
            if self._holds:
                await self._resumed.wait()
            self._take(event["text"] if data is None else data)

    def _take(self, data: Frame | Oversized) -> None:
        if self._closing is not None or self._protocol is None:
            return
        began = monotonic()
        running = METER.set(self.meter)
        try:
            size = len(data)
            self._metrics.bytes_in += size
            self.received += size
            if self._bucket is not None and not self._bucket.take(size, began):
                raise RateLimitExceeded("too many messages")
            if isinstance(data, Oversized) or size > self._max_bytes:
                self._refuse(data)
            elif isinstance(data, str):
                self._protocol.receive_text(data, began)
            else:
                self._protocol.receive(data, began)
        except CollabError as error:
            self.close(error)
        except DecodeError as error:
            self.close(InvalidRequest(str(error)))
        except Exception:
            log.exception("could not handle a message")
            self.close(InternalError("could not handle a message"))
        finally:
            METER.reset(running)
        ended = monotonic()
        self.charge(ended - began)
        # idle time of this socket was available to others
        self._stretch = max(0.0, self._stretch - (began - self._ended)) + ended - began
        self._ended = ended
        if self._stretch > _STRETCH and not self._resting:
            rest = self._rest_after(self._stretch, ended - began)
            self._resting = True
            self.hold()
            asyncio.get_running_loop().call_later(rest, self._rested)

    def _rest_after(self, seconds: float, last: float) -> float:
        """For how long to rest after work, of which the last message took ``last``.

        After many short messages for one who is not busy, or on a link of nodes, others have one turn in between.
        """
        busy = self.meter.is_busy()
        return rest_after(seconds, busy=busy) if busy or last > _STRETCH else 0.0

    def _rested(self) -> None:
        self._resting = False
        self._stretch = 0.0
        self.release()

    def _refuse(self, data: Frame | Oversized) -> None:
        assert self._protocol is not None
        error = TooLarge(f"a message may have at most {self._max_bytes} bytes", limit=self._max_bytes)
        if isinstance(data, str) or (isinstance(data, Oversized) and data.text):
            raise error
        self._protocol.refuse(data.head if isinstance(data, Oversized) else data, error)

    def _flush_soon(self) -> None:
        """Send at the end of this turn of the event loop, or soon after, all that is queued by then."""
        if self._writer is None and not self._flushing:
            if self._send_now is None:
                self._write_later()
            else:
                self._flushing = True
                self._send_turns.ask(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._writer is not None or self._closing is not None:
            return
        assert self._send_now is not None
        started = monotonic()
        frames = self._drain(started)
        for at, frame in enumerate(frames):
            if not self._send_now(frame):
                self._backlog = frames[at:]
                self._write_later()
                return
            self._account_for(frame)
        if frames:
            self._sent_at = monotonic()
            self._send_cost.observe((self._sent_at - started) / len(frames))

    def _drain(self, now: float) -> list[Frame]:
        frames, self._frames = self._frames, []
        sessions, self._ready = self._ready, {}
        for session in sessions:
            try:
                frames += session.drain()
            except Exception:
                log.exception("could not encode the messages of a session")
                session.close(InternalError("could not encode a message"))
            began, now = now, monotonic()
            spent = now - began
            if spent > _COSTLY_DRAIN:  # a reader does not pay for others' writes, but for catching up
                self.charge(spent)
        if self._waking and self._protocol is not None and self._closing is None:
            self._waking = False
            frames += self._protocol.drain()
        return frames

    def _write_later(self) -> None:
        if self._writer is None:
            self._writer = asyncio.create_task(self._write())

    async def _write(self) -> None:
        """Send queued messages, and the close frame, at the reader's pace.

        A reader that takes everything at once rests in between, or it would leave no time to others.
        """
        spent = 0.0
        try:
            while self._closing is None or self._closing.retryable:
                frames, self._backlog = self._backlog or self._drain(monotonic()), []
                if not frames:
                    break
                for frame in frames:
                    await self._send_one(frame)
                    cost = self._send_cost.seconds + len(frame) * _SECONDS_PER_BYTE
                    spent += cost
                    if spent > _STRETCH:
                        await asyncio.sleep(self._rest_after(spent, cost))
                        spent = 0.0
            if self._closing is not None:
                last = self._protocol.farewell(self._closing) if self._protocol is not None else None
                if last is not None:
                    await self._send_one(last)
                code, reason = self._closing.close_code, self._closing.message[:120]
                await self._send({"type": "websocket.close", "code": code, "reason": reason})
                self._stop_reading()
        except OSError:
            pass  # the socket is gone; the reader notices after the client's earlier messages
        except Exception:
            log.exception("could not send a message")
        finally:
            self._writer = None

    async def _send_one(self, frame: Frame) -> None:
        self._sending_since = monotonic()
        await self._send({"type": "websocket.send", "bytes" if type(frame) is bytes else "text": frame})
        self._sending_since = None
        self._sent_at = monotonic()
        self._account_for(frame)

    def _account_for(self, frame: Frame) -> None:
        """A message was sent. A reader pays for large answers, which it asked for, and not for what others write."""
        size = len(frame)
        self._metrics.bytes_out += size
        self.sent += size
        if size > _LARGE_FRAME:
            self.charge(size * _SECONDS_PER_BYTE)


def _nothing(paused: bool) -> None:
    """Without direct messages there is nothing to pause."""
