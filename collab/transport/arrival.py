"""A connection before its first request.

Most connections to a server of documents become a WebSocket at once, and a storm of them must be cheap. So their
request is read here; everything else, also a request that comes in pieces, goes to the HTTP server.
"""

from __future__ import annotations

import asyncio
import re
from typing import Protocol, cast

import h11

from collab.transport.guests import Guest, Guests
from collab.transport.intake import Intake
from collab.transport.upgrade import wants_websocket

FULL = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 1\r\nconnection: close\r\n\r\n"

_MOST = 8 * 1024  # bytes of a head that is read here
_UPGRADE = re.compile(rb"\nupgrade:[ \t]*websocket[ \t]*\r", re.IGNORECASE)


class Host(Protocol):
    """Who serves what arrives."""

    guests: Guests
    intake: Intake
    arrivals: set[Arrival]
    head_timeout: float

    def upgrade(self, transport: asyncio.Transport, http: h11.Connection, request: h11.Request, guest: Guest) -> None:
        """Serve a WebSocket, or refuse it. ``http`` has read the request, and what follows it."""

    def converse(self, transport: asyncio.Transport, first: bytes, guest: Guest) -> None:
        """Serve HTTP; ``first`` are the bytes that have come."""


class Arrival(asyncio.Protocol):
    """Receives the first bytes of a connection, and gives it to the one who serves it."""

    __slots__ = ("_first", "_guest", "_host", "_loop", "_timer", "transport")

    transport: asyncio.Transport

    def __init__(self, host: Host, loop: asyncio.AbstractEventLoop) -> None:
        self._host = host
        self._loop = loop
        self._guest: Guest | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._first = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self._guest = self._host.guests.enter(peer[0] if isinstance(peer, tuple) else None, self.transport.abort)
        if self._guest is None:
            self.transport.write(FULL)
            self.transport.close()
            return
        self._host.arrivals.add(self)
        self._timer = self._loop.call_later(self._host.head_timeout, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        guest = self._guest
        if guest is None:
            return
        if self._first:  # the transport had read it before it paused
            self._first += data
            return
        self._stop_timer()
        guest.heard(len(data))
        if self.transport.is_closing():  # it was one too many
            return
        self._first = data
        if self._host.intake.is_open():
            self._begin()
        else:
            self.transport.pause_reading()
            self._host.intake.wait(self._resume)

    def connection_lost(self, error: Exception | None) -> None:
        guest = self._leave()
        if guest is not None:
            guest.leave()

    def _resume(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()
            self._begin()

    def _begin(self) -> None:
        guest, first = self._leave(), self._first
        if guest is None:
            return
        self._first = b""
        if len(first) <= _MOST and _UPGRADE.search(first):
            http = h11.Connection(h11.SERVER)
            try:
                http.receive_data(first)
                request = http.next_event()
            except h11.RemoteProtocolError:  # the HTTP server answers
                request = h11.NEED_DATA
            if isinstance(request, h11.Request) and wants_websocket(request):
                self._host.upgrade(self.transport, http, request, guest)
                return
        self._host.converse(self.transport, first, guest)

    def _leave(self) -> Guest | None:
        """Its guest, if it is still here; the caller is responsible for it."""
        guest, self._guest = self._guest, None
        self._stop_timer()
        self._host.arrivals.discard(self)
        return guest

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
