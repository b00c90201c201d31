"""A WebSocket between an asyncio transport and one call of an ASGI application.

Others read the upgrade request and hand its connection over; from then on only this file touches the transport. So it
can guarantee what hypercorn 0.18 does not: the whole message is limited, silent peers are detected, the application
gets the real close code, large messages leave in pieces, and sending to a closed socket raises an error.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from collab.transport import frames
from collab.transport.deflate import Inflater
from collab.transport.frames import FrameError, FrameReader, Oversized
from collab.transport.sender import MessageSender
from collab.transport.slots import Budget
from collab.transport.upgrade import Headers, Upgrade

log = logging.getLogger(__name__)

ASGIEvent = MutableMapping[str, Any]
ASGIApplication = Callable[[Any, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]

_INBOX = 64  # messages that wait for the application, or are passed to it before others have a turn
COST = 28 * 1024
"""Bytes of memory that a silent socket takes."""
DIRECT = "collab.direct"  # the ASGI extension that passes messages without a task in between


class PeerGoneError(ConnectionError):
    """The application sent something after the socket was closed or lost."""


@dataclass(frozen=True, slots=True)
class WebSocketLimits:
    """Limits of one WebSocket.

    ``max_message`` limits a message in bytes, after inflating and over all its frames. A peer is pinged every
    ``ping_interval`` seconds, and dropped if nothing arrives for ``ping_timeout`` seconds after a ping (interval 0:
    never). ``close_timeout`` is the peer's time to answer a close frame. ``compression`` allows permessage-deflate. Of
    a peer that the application does not trust yet, ``untrusted`` bytes are read; the rest waits on its side (``None``:
    all peers are trusted).
    """

    max_message: int = 16 * 1024 * 1024
    ping_interval: float = 20.0
    ping_timeout: float = 20.0
    close_timeout: float = 2.0
    compression: bool = False
    untrusted: int | None = None


class _State(Enum):
    CONNECTING = auto()  # the application has not answered the handshake
    REFUSING = auto()  # it is writing a response other than 101
    OPEN = auto()
    CLOSING = auto()  # our close frame was sent, the peer's is awaited
    CLOSED = auto()


class AsgiSocket(asyncio.Protocol):
    """Carries one WebSocket: the transport calls it from below, the application from above.

    ``answered`` gets the status of the handshake's response; ``lost`` is called when the transport is gone. The
    WebSocket's own entries are added to ``scope``. Until the application trusts it, bytes from ``address`` count
    against ``budget``, from which :data:`COST` was taken already.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        upgrade: Upgrade,
        scope: MutableMapping[str, Any],
        limits: WebSocketLimits,
        *,
        answered: Callable[[int], Awaitable[None]],
        lost: Callable[[Exception | None], None],
        address: str | None = None,
        budget: Budget | None = None,
    ) -> None:
        self._address = address
        self._budget = budget
        self._unproven = COST  # bytes that count against the budget
        self._loop = asyncio.get_running_loop()
        self._transport = transport
        self._upgrade: Upgrade | None = upgrade
        self._limits = limits
        self._answered = answered
        self._lost = lost
        self._refusal: tuple[int, list[tuple[bytes, bytes]], bytearray] | None = None
        self._state = _State.CONNECTING
        self._reader = FrameReader(limits.max_message)
        self._trusted = False
        self._inbox: deque[bytes | str] = deque()
        self._inbox_bytes = 0
        self._announced = False  # websocket.connect was delivered
        self._paused_reading = False
        self._held = False
        self._take: Callable[[bytes | str | Oversized], None] | None = None
        self._wake: asyncio.Future[None] | None = None
        self._ended: tuple[int, str] | None = None  # close code and reason for the application
        self._deaf = False  # the peer violated the protocol; ignore everything it sends
        self._sender = MessageSender(transport)
        self._owed: bytes | None = None  # the payload of a ping that came while the transport's buffer was full
        self._heard = True
        self._timer: asyncio.TimerHandle | None = None
        self._gone = self._loop.create_future()
        self.scope = scope
        scope["type"] = "websocket"
        scope["asgi"] = {"version": "3.0", "spec_version": "2.4"}
        scope["scheme"] = "wss" if transport.get_extra_info("ssl_object") else "ws"
        scope["subprotocols"] = upgrade.subprotocols
        scope["extensions"] = {
            "websocket.http.response": {},
            DIRECT: {"listen": self.listen, "send": self._sender.send_now, "pause": self.pause, "trust": self.trust},
        }

    async def run(self, app: ASGIApplication) -> None:
        """Call the application, and return when the connection is over. Its exceptions are logged."""
        try:
            await app(self.scope, self.receive, self.send)
        except Exception:
            log.exception("the application failed on a WebSocket")
        finally:
            if self._state in (_State.CONNECTING, _State.REFUSING):
                await self._refuse(500, (), b"")
            elif self._state is _State.OPEN:
                self._close(1011, "")
            await self._gone
            # cut the circles, or a crowd that has left would stay in memory until Python looks for them
            self._take = None
            del self.scope["extensions"][DIRECT]

    def shut(self, code: int, reason: str) -> None:
        """Close from the server's side; the application sees a disconnect. Does not answer a handshake."""
        if self._state is _State.OPEN:
            self._close(code, reason)
            self._end(code, reason)
        elif self._state is _State.CONNECTING:
            self._end(code, reason)

    def abort(self) -> None:
        """Drop the connection."""
        self._transport.abort()

    # from the application

    async def receive(self) -> ASGIEvent:
        """The next ASGI event: ``websocket.connect``, ``.receive``, and after the end always ``.disconnect``."""
        if not self._announced:
            self._announced = True
            return {"type": "websocket.connect"}
        while not self._inbox:
            if self._ended is not None:
                return {"type": "websocket.disconnect", "code": self._ended[0], "reason": self._ended[1]}
            self._wake = self._loop.create_future()
            await self._wake
        message = self._inbox.popleft()
        self._inbox_bytes -= len(message)
        if self._paused_reading and not self._inbox:
            self._take_in()
        if type(message) is bytes:
            return {"type": "websocket.receive", "bytes": message, "text": None}
        return {"type": "websocket.receive", "bytes": None, "text": message}

    async def send(self, event: Mapping[str, Any]) -> None:
        """Handle an ASGI event. Raises :class:`PeerGoneError` for a message that nobody will read."""
        if event["type"] == "websocket.send":
            if self._state is not _State.OPEN:
                raise self._cannot_send()
            data = event.get("bytes")
            if data is None:
                sent = await self._sender.send(frames.TEXT, event["text"].encode())
            else:
                at_once = type(data) is bytes and self._sender.send_now(data)
                sent = at_once or await self._sender.send(frames.BINARY, data)
            if not sent:
                raise self._cannot_send()
        elif event["type"] == "websocket.close":
            if self._state is _State.CONNECTING:
                await self._refuse(403, (), b"")
            elif self._state is _State.OPEN:
                self._close(event.get("code", 1000), event.get("reason") or "")
        elif self._state in (_State.CLOSING, _State.CLOSED):
            raise self._cannot_send()
        elif event["type"] == "websocket.accept" and self._state is _State.CONNECTING:
            await self._accept(event.get("subprotocol"), event.get("headers", ()))
        elif event["type"] == "websocket.http.response.start" and self._state is _State.CONNECTING:
            self._state = _State.REFUSING
            self._refusal = (event["status"], list(event.get("headers", ())), bytearray())
        elif event["type"] == "websocket.http.response.body" and self._refusal is not None:
            status, headers, body = self._refusal
            body += event.get("body", b"")
            if not event.get("more_body", False):
                await self._refuse(status, headers, bytes(body))
        else:
            raise RuntimeError(f"{event['type']} is not allowed while {self._state.name.lower()}")

    def listen(self, take: Callable[[bytes | str | Oversized], None]) -> None:
        """Pass messages to ``take`` as they arrive, with no task in between; ``receive`` then returns only the end.

        A message over the limit is passed as :class:`Oversized`; without ``listen`` it ends the connection.
        """
        self._take = take
        self._reader.skips = True
        waiting = list(self._inbox)
        self._inbox.clear()
        self._inbox_bytes = 0
        for message in waiting:
            self._hand_over(message)
        if self._paused_reading and self._state is _State.OPEN:
            self._take_in()

    def pause(self, paused: bool) -> None:
        """Pause or resume reading and passing messages."""
        self._held = paused
        if not paused and self._state is _State.OPEN:
            self._loop.call_soon(self._take_in)

    def trust(self) -> None:
        """Lift the limits for untrusted peers: the application knows this one. It may do so before it accepts."""
        self._trusted = True
        self._forget_budget()
        self._reader.trust()
        if self._state is _State.OPEN:
            self._loop.call_soon(self._take_in)

    def _forget_budget(self) -> None:
        if self._budget is not None:
            self._budget.give_back(self._address, self._unproven)
            self._budget = None

    def _hand_over(self, message: bytes | str | Oversized) -> None:
        assert self._take is not None
        if self._state is _State.OPEN:
            try:
                self._take(message)
            except Exception:
                log.exception("the application failed on a message")
                self.shut(1011, "")

    def _cannot_send(self) -> Exception:
        if self._state in (_State.CONNECTING, _State.REFUSING):
            return RuntimeError("the application has not accepted the WebSocket")
        return PeerGoneError(f"the WebSocket is closed ({self._ended[0] if self._ended else 'by the application'})")

    # the handshake

    async def _accept(self, subprotocol: str | None, headers: Headers) -> None:
        assert self._upgrade is not None
        upgrade, self._upgrade = self._upgrade, None
        head, agreement = upgrade.accept(subprotocol, headers, compression=self._limits.compression)
        self._transport.write(head)
        inflater = Inflater() if agreement else None
        allowance = None if self._trusted else self._limits.untrusted
        self._reader = FrameReader(self._limits.max_message, inflater, allowance)
        self._state = _State.OPEN
        self._sender.open(agreement.window_bits if agreement else None)
        if self._limits.ping_interval:
            self._timer = self._loop.call_later(self._limits.ping_interval, self._beat)
        self._reader.feed(upgrade.held)
        self._take_in()
        await self._answered(101)

    async def _refuse(self, status: int, headers: Headers, body: bytes) -> None:
        self._state = _State.CLOSING
        self._end(1006, "")
        assert self._upgrade is not None
        if not self._transport.is_closing():
            self._transport.write(self._upgrade.refuse(status, headers, body))
            self._finish()
        await self._answered(status)

    # from the transport

    def data_received(self, data: bytes) -> None:
        self._heard = True
        if self._budget is not None:
            if not self._budget.take(self._address, len(data)):
                self._fail(FrameError(frames.TRY_AGAIN, "clients without a credential hold too much memory"))
                return
            self._unproven += len(data)
        if self._state in (_State.OPEN, _State.CLOSING) and not self._deaf:
            self._reader.feed(data)
            self._take_in()
        elif self._state is _State.CONNECTING:
            # no honest client sends before the answer: let the data wait in the kernel
            assert self._upgrade is not None
            self._upgrade.hold(data)
            self._pause_reading()

    def _take_in(self) -> None:
        """Read messages from the buffer until it is empty or the application has enough to do."""
        inbox = self._inbox
        handed = 0
        try:
            while not self._held and len(inbox) + handed < _INBOX and self._inbox_bytes <= self._limits.max_message:
                message = self._reader.next()
                if message is None:
                    break
                if isinstance(message, Oversized):
                    self._hand_over(message)
                elif type(message) is bytes or type(message) is str:
                    if self._take is not None:
                        handed += 1
                        self._hand_over(message)
                    elif self._state is _State.OPEN:
                        inbox.append(message)
                        self._inbox_bytes += len(message)
                elif isinstance(message, frames.Ping):
                    self._pinged(message.payload)
                elif isinstance(message, frames.Close):
                    self._peer_closed(message)
                    return
            else:
                self._pause_reading()
                self._wake_application()
                if handed and not self._held:  # let others have a turn
                    self._loop.call_soon(self._take_in)
                return
        except FrameError as error:
            self._fail(error)
            return
        if self._reader.waits:
            self._pause_reading()
        else:
            self._resume_reading()
        self._wake_application()

    def _resume_reading(self) -> None:
        if self._paused_reading and not self._transport.is_closing():
            self._paused_reading = False
            self._transport.resume_reading()

    def _pause_reading(self) -> None:
        if not self._paused_reading:
            self._paused_reading = True
            self._transport.pause_reading()

    def _wake_application(self) -> None:
        """Let :meth:`receive` return, if there is something for it."""
        if self._wake is not None and (self._inbox or self._ended is not None):
            if not self._wake.done():
                self._wake.set_result(None)
            self._wake = None

    def eof_received(self) -> None:
        """The peer will send nothing more; the transport closes itself."""

    def pause_writing(self) -> None:
        """The transport's buffer is full."""
        self._sender.block()

    def resume_writing(self) -> None:
        """The peer has read something."""
        self._heard = True
        self._sender.unblock()
        if self._owed is not None:
            payload, self._owed = self._owed, None
            self._pinged(payload)

    def connection_lost(self, error: Exception | None) -> None:
        """The transport is gone."""
        self._state = _State.CLOSED
        self._sender.close()
        self._forget_budget()
        self._end(1006, "")
        if self._timer is not None:
            self._timer.cancel()
        if not self._gone.done():
            self._gone.set_result(None)
        self._lost(error)

    # the end

    def _peer_closed(self, message: frames.Close) -> None:
        if self._state is _State.OPEN:
            self._transport.write(frames.close(message.code, ""))
        self._state = _State.CLOSING
        self._sender.close()
        self._end(message.code, message.reason)
        self._finish()

    def _close(self, code: int, reason: str) -> None:
        """Send our close frame and wait for the peer's, for a limited time."""
        self._state = _State.CLOSING
        self._sender.close()
        self._held = False
        self._transport.write(frames.close(code, reason))
        self._abort_later()
        if self._paused_reading and not self._deaf:
            # of its further messages only the close frame is of interest
            self._inbox.clear()
            self._inbox_bytes = 0
            self._take_in()

    def _fail(self, error: FrameError) -> None:
        """The peer violated the protocol: tell it, and ignore its messages until it has read that."""
        self._deaf = True
        if self._state is _State.OPEN:
            self._close(error.code, error.reason)
        self._end(error.code, error.reason)
        self._inbox.clear()
        self._inbox_bytes = 0
        self._resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _finish(self) -> None:
        """Close the transport once everything is written; drop it if that takes too long."""
        self._abort_later()
        self._transport.close()

    def _abort_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._limits.close_timeout, self._transport.abort)

    def _end(self, code: int, reason: str) -> None:
        """Let the application see a disconnect, once."""
        if self._ended is None:
            self._ended = (code, reason)
        self._wake_application()

    # silence

    def _pinged(self, payload: bytes) -> None:
        """Answer a ping. While the peer does not read, only the newest one waits for its answer (RFC 6455, 5.5.3)."""
        if self._state is not _State.OPEN:
            return
        if self._sender.blocked:
            self._owed = payload
        else:
            self._transport.write(frames.pong(payload))

    def _beat(self) -> None:
        self._heard = False
        if not self._sender.blocked:
            self._transport.write(frames.ping())
        self._timer = self._loop.call_later(self._limits.ping_timeout, self._listen)

    def _listen(self) -> None:
        if self._heard or self._paused_reading:
            pause = max(self._limits.ping_interval - self._limits.ping_timeout, 0)
            self._timer = self._loop.call_later(pause, self._beat)
        else:
            self._end(1006, "no sign of life")
            self._transport.abort()
