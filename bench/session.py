"""One client of the load: WebSocket, handshake, and a log of received messages."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from pycrdt import Doc

from bench.framing import Framing, Kind
from bench.waiting import until
from bench.yjs import state_vector

BINARY = WSMsgType.BINARY
CONTINUATION = WSMsgType.CONTINUATION
MAX_FRAME = 256 * 1024 * 1024


class Closed(ConnectionError):
    """The server closed a connection unexpectedly."""


class Session(WSListener):
    """A client of one room.

    With ``watch`` it measures latency: it keeps a pycrdt ``Doc``, applies every update the
    moment it arrives, and logs (time after applying, update), and (time, payload) of presence. Otherwise it only
    counts messages after joining.
    """

    def __init__(self, framing: Framing, *, watch: bool = False) -> None:
        self.framing = framing
        self.doc: Doc[Any] | None = Doc() if watch else None
        self.updates: list[tuple[float, bytes]] = []
        self.presence: list[tuple[float, bytes]] = []
        self.messages = 0
        self.ended: str | None = None
        self.joined: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._transport: WSTransport | None = None
        self._asked = False
        self._counting = False
        self._parts = b""

    async def connect(self, url: str) -> None:
        """Open the socket and wait until the server's state has arrived. Raises :class:`Closed`, ``OSError``."""
        await ws_connect(lambda: self, url, max_frame_size=MAX_FRAME, websocket_handshake_timeout=30)
        await self.joined

    # called by picows

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Send the first messages of a Yjs client."""
        self._transport = transport
        for message in self.framing.opening():
            transport.send(BINARY, message)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Process one frame from the server."""
        kind = frame.msg_type
        if kind is BINARY and frame.fin:
            self.messages += 1
            if not self._counting:
                self._take(frame.get_payload_as_bytes())
        elif kind is BINARY or kind is CONTINUATION:
            self._parts += frame.get_payload_as_bytes()
            if frame.fin:
                whole, self._parts = self._parts, b""
                self.messages += 1
                if not self._counting:
                    self._take(whole)
        elif kind is WSMsgType.CLOSE:
            self.ended = f"{frame.get_close_code()} {frame.get_close_reason()}"
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The socket is gone."""
        self._transport = None
        self.ended = self.ended or "the connection broke"
        if not self.joined.done():
            self.joined.set_exception(Closed(self.ended))

    def pause_writing(self) -> None:
        """Ignored: bulk senders wait until the socket is ``drained``."""

    def resume_writing(self) -> None:
        """Nothing."""

    def _take(self, data: bytes) -> None:
        kind, payload = self.framing.read(data)
        if kind is Kind.UPDATE or kind is Kind.STEP2:
            if self.doc is not None:
                self.doc.apply_update(payload)
                self.updates.append((perf_counter(), payload))
            if kind is Kind.STEP2 and not self.joined.done():
                self.joined.set_result(None)
                self._counting = self.doc is None and self._asked
        elif kind is Kind.AWARENESS:
            if self.doc is not None:
                self.presence.append((perf_counter(), payload))
        elif kind is Kind.STEP1:
            self._asked = True
            missing = self.doc.get_update(payload) if self.doc is not None else None
            self.send(self.framing.step2(missing) if missing else self.framing.step2())
            self._counting = self.doc is None and self.joined.done()

    # sending

    def send(self, message: bytes) -> None:
        """Send one message. Raises :class:`Closed` if the server has ended the connection."""
        if self._transport is None:
            raise Closed(self.ended or "not connected")
        self._transport.send(BINARY, message)

    def edit(self, update: bytes) -> None:
        """Send one edit; also apply it to a watched document."""
        self.send(self.framing.update(update))
        if self.doc is not None:
            self.doc.apply_update(update)

    async def drained(self, limit: int) -> None:
        """Wait until at most ``limit`` bytes are left in the socket's buffer."""
        await until(lambda: self._backlog() <= limit, 600.0, 0.001)

    def _backlog(self) -> int:
        return self._transport.underlying_transport.get_write_buffer_size() if self._transport else 0

    @property
    def state(self) -> dict[int, int]:
        """The watched document's state vector."""
        assert self.doc is not None
        return state_vector(self.doc.get_state())

    def close(self) -> None:
        """Close the socket with a close frame, as browsers do."""
        if self._transport is not None:
            self._transport.send_close(WSCloseCode.OK)
            self._transport.disconnect()


async def join_all(sessions: list[tuple[Session, str]], at_once: int = 40) -> None:
    """Connect many sessions, ``at_once`` at a time; returns when all have the server's state."""
    gate = asyncio.Semaphore(at_once)

    async def join(session: Session, url: str) -> None:
        async with gate:
            await session.connect(url)

    await asyncio.gather(*(join(session, url) for session, url in sessions))
