"""Runs an ASGI application on hypercorn, and fixes the gaps of hypercorn 0.18.

hypercorn reads HTTP/1.1, calls the application for it, and runs its lifespan. When a request asks for a WebSocket, its
connection is handed to :class:`collab.transport.websocket.AsgiSocket`; if it is the first one, hypercorn never sees it
(:mod:`collab.transport.arrival`). Differences from ``hypercorn.asyncio.serve``:

* permessage-deflate is off unless enabled, and the inflated size is limited;
* the size of a WebSocket message is limited over all its fragments; beyond it the connection ends with 1009;
* silent peers are detected and dropped;
* the application gets the close code and reason that the client sent, and sending to a closed socket raises;
* messages leave in fragments, so that a large one costs no copy per receiver;
* on shutdown: no new connections, then the application drains, then all remaining connections are closed with 1012, so
  that no version of Python waits for an open WebSocket;
* no HTTP/2, because WebSockets inside it would use hypercorn's own code again. A proxy in front may speak it;
* a client that sends its request or reads its response too slowly is dropped;
* connections without a credential take bounded memory.

Nothing of hypercorn is patched: the classes below extend it where it is open, and :func:`serve` combines them.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from time import time
from typing import Any, cast
from urllib.parse import unquote

import h11
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.lifespan import Lifespan
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from collab.transport import unproven
from collab.transport.addresses import client_address
from collab.transport.arrival import Arrival
from collab.transport.guests import Guest, Guests
from collab.transport.intake import Intake
from collab.transport.slots import Budget
from collab.transport.upgrade import Upgrade, handshake_error, wants_websocket
from collab.transport.websocket import COST, ASGIApplication, AsgiSocket, WebSocketLimits

log = logging.getLogger(__name__)

_SERVICE_RESTART = 1012
_UNSENT = 128 * 1024  # bytes that the kernel may hold unsent: a slow reader is noticed here, not in megabytes
_READ = 64 * 1024
_READ_UNPROVEN = 8 * 1024
_BACKLOG = 4096  # hypercorn uses 100: of 150 clients that connect at once, the rest would retry only after a second


@dataclass(frozen=True, slots=True)
class PeerLimits:
    """Limits of the launcher for its peers. Times in seconds.

    ``head_timeout`` is for a whole request head, also between two requests of a connection; ``stall_timeout`` for the
    next piece of a request body, and for a client to read some of its response. A body that takes longer must arrive at
    ``body_rate`` bytes per second. ``stop_timeout`` is the time for running requests when the server stops.

    ``connections`` may be open at once, and half of them from one address; ``connections_per_address`` limits those of
    one address without a WebSocket. 0 means no limit, and neither limit applies to ``proxies``, whose
    ``X-Forwarded-For`` names a WebSocket's address. ``unproven`` bytes are held for peers that the application does not
    trust yet, ``unproven_per_address`` of these for the WebSockets of one address.
    """

    websocket: WebSocketLimits = field(default_factory=WebSocketLimits)
    head_timeout: float = 10.0
    stall_timeout: float = 30.0
    stop_timeout: float = 3.0
    body_rate: float = 8 * 1024
    connections: int = 0
    connections_per_address: int = 0
    proxies: Sequence[str] = ()
    unproven: int = 0
    unproven_per_address: int = 0


async def serve(
    app: ASGIApplication,
    *,
    sockets: Sequence[socket.socket],
    shutdown: Callable[[], Awaitable[object]],
    drain: Callable[[], Awaitable[object]] | None = None,
    limits: PeerLimits | None = None,
    access_log: logging.Logger | None = None,
    ready: Callable[[], object] | None = None,
) -> None:
    """Serve ``app`` on listening (or bound) ``sockets``, which it closes, until ``shutdown()`` returns.

    ``ready`` is called once connections are accepted. After ``shutdown()`` no more are accepted; then ``drain()`` runs,
    in which the application finishes its work and says goodbye to its clients; then all remaining connections are
    ended. The lifespan's startup comes before all of this and its shutdown after; a failure of the startup is raised.
    """
    limits = limits or PeerLimits()
    config = Config()
    config.backlog = _BACKLOG
    config.keep_alive_timeout = limits.head_timeout
    config.include_server_header = False
    config.accesslog = access_log
    config.errorlog = log
    server = _Server(ASGIWrapper(app), app, config, limits)
    loop = asyncio.get_running_loop()
    lifespan = Lifespan(server.wrapped, config, loop, server.state)
    with ExitStack() as listening:
        for sock in sockets:
            listening.enter_context(sock)
        lifespan_task = loop.create_task(lifespan.handle_lifespan())
        await lifespan.wait_for_startup()
        if lifespan_task.done() and (error := lifespan_task.exception()) is not None:
            raise error
        try:
            for sock in sockets:
                _notice_slow_readers(sock)
                listener = await loop.create_server(server.arrive, sock=sock, backlog=config.backlog)
                listening.callback(listener.close)
            if ready is not None:
                ready()
            await shutdown()
        finally:
            listening.close()
            try:
                if drain is not None:
                    await drain()
            finally:
                await server.stop()
                await lifespan.wait_for_shutdown()
                lifespan_task.cancel()
                with suppress(asyncio.CancelledError):
                    await lifespan_task


class _Server:
    """The connections of one :func:`serve`: a :class:`collab.transport.arrival.Host`."""

    def __init__(self, wrapped: ASGIWrapper, app: ASGIApplication, config: Config, limits: PeerLimits) -> None:
        self.wrapped = wrapped
        self.app = app
        self.config = config
        self.limits = limits
        self.head_timeout = limits.head_timeout
        self.context = WorkerContext(None)
        self.state: dict[str, Any] = {}
        self.arrivals: set[Arrival] = set()
        self._loop = asyncio.get_running_loop()
        self.intake = Intake(self._loop)
        self._budget = Budget(limits.unproven_per_address, limits.unproven)
        self.guests = Guests(
            most=limits.connections,
            plain=limits.connections_per_address,
            proxies=limits.proxies,
            unproven=limits.unproven,
            budget=self._budget,
        )
        self._sockets: set[AsgiSocket] = set()
        self._tasks: dict[asyncio.Task[None], asyncio.Transport] = {}

    def arrive(self) -> Arrival:
        """The protocol of a new connection."""
        return Arrival(self, self._loop)

    def converse(self, transport: asyncio.Transport, first: bytes, guest: Guest) -> None:
        """Serve HTTP, until a request asks for a WebSocket."""
        reader = asyncio.StreamReader(loop=self._loop)
        streams = asyncio.StreamReaderProtocol(reader, loop=self._loop)
        transport.set_protocol(streams)
        streams.connection_made(transport)
        reader.feed_data(first)
        writer = asyncio.StreamWriter(transport, streams, reader, self._loop)
        self._start(_Connection(self, reader, writer, guest).run(), transport, guest)

    def upgrade(self, transport: asyncio.Transport, http: h11.Connection, request: h11.Request, guest: Guest) -> None:
        """Serve a WebSocket from its request on."""
        guest.upgraded()
        websocket = self.accept(transport, http, request, _nobody)
        if websocket is None:
            transport.close()
            self._loop.call_later(self.limits.websocket.close_timeout, transport.abort)
            guest.leave()
            return
        transport.set_protocol(websocket)
        self._start(self.run(websocket), transport, guest)

    def _start(self, work: Coroutine[object, object, None], transport: asyncio.Transport, guest: Guest) -> None:
        task = self._loop.create_task(work)
        self._tasks[task] = transport
        task.add_done_callback(partial(self._ended, guest))

    def _ended(self, guest: Guest, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        guest.leave()
        if not task.cancelled() and (error := task.exception()) is not None:  # only stop() cancels
            log.error("a connection failed", exc_info=error)

    def accept(
        self,
        transport: asyncio.Transport,
        http: h11.Connection,
        request: h11.Request,
        lost: Callable[[Exception | None], None],
    ) -> AsgiSocket | None:
        """The WebSocket that a request asks for; ``None`` if the handshake was invalid and has been answered.

        Make it the transport's protocol before the next ``await``: then every byte is seen.
        """
        client, address = _address(transport, "peername"), _address(transport, "sockname")
        proxies = self.limits.proxies
        forwarded = b",".join(value for name, value in request.headers if name == b"x-forwarded-for").decode("latin-1")
        sender = client_address(client[0] if client else None, forwarded, proxies)
        status = handshake_error(request)
        if status is None and not self._budget.take(sender, COST):
            status = 503
        if status is not None:
            headers = [(b"content-length", b"0"), (b"connection", b"close")]
            headers.append((b"sec-websocket-version", b"13"))
            for part in (h11.Response(status_code=status, headers=headers), h11.EndOfMessage()):
                transport.write(http.send(part) or b"")
            return None
        path, _, query = request.target.partition(b"?")
        scope: dict[str, Any] = {
            "http_version": request.http_version.decode(),
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "root_path": self.config.root_path,
            "headers": list(request.headers),
            "client": client,
            "server": address,
            "state": self.state.copy(),
        }
        started = time()

        async def answered(status: int) -> None:
            await self.config.log.access(
                scope,  # type: ignore[arg-type]
                {"status": status, "headers": []},
                time() - started,
            )

        return AsgiSocket(
            transport,
            Upgrade(http, request, self.config.response_headers("h11")),
            scope,
            self.limits.websocket,
            answered=answered,
            lost=lost,
            address=sender,
            budget=self._budget,
        )

    async def run(self, websocket: AsgiSocket) -> None:
        """Let the application serve a WebSocket to its end."""
        self._sockets.add(websocket)
        try:
            await websocket.run(self.app)
        finally:
            self._sockets.discard(websocket)

    async def stop(self) -> None:
        """End all connections: idle ones now, WebSockets with 1012, requests when they are done or out of time."""
        await self.context.terminated.set()
        for arrival in list(self.arrivals):
            arrival.transport.abort()
        for websocket in list(self._sockets):
            websocket.shut(_SERVICE_RESTART, "the server restarts")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self.limits.stop_timeout)
        for task, transport in list(self._tasks.items()):
            transport.abort()
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)


def _notice_slow_readers(listener: socket.socket) -> None:
    """Limit what the kernel holds for each of its connections, which inherit this."""
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    if option is not None and listener.family in (socket.AF_INET, socket.AF_INET6):
        listener.setsockopt(socket.IPPROTO_TCP, option, _UNSENT)


def _nobody(error: Exception | None) -> None:
    """Nobody else asks for the end of this transport."""


def _address(transport: asyncio.Transport, name: str) -> tuple[str, int] | None:
    """The peer's, or our own address; ``None`` if it is no IP address."""
    found = transport.get_extra_info(name)
    return (found[0], found[1]) if isinstance(found, tuple) else None


class _Asked(Exception):
    def __init__(self, request: h11.Request) -> None:
        super().__init__()
        self.request = request


class _Http(H11Protocol):
    """HTTP/1.1 that hands WebSockets over."""

    async def _check_protocol(self, event: h11.Request) -> None:
        """Ignore offers to speak HTTP/2."""

    async def _create_stream(self, request: h11.Request) -> None:
        if wants_websocket(request):
            raise _Asked(request)
        await super()._create_stream(request)


class _Connection(TCPServer):
    """One TCP connection: HTTP at first, then possibly a WebSocket."""

    def __init__(
        self, server: _Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, guest: Guest
    ) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(server.wrapped, loop, server.config, server.context, server.state, reader, writer)
        self._server = server
        self._guest = guest
        self._read_size = _READ_UNPROVEN

    def _trust(self) -> None:
        self._read_size = _READ
        self._guest.trusted()

    async def run(self) -> None:
        try:
            sock = self.writer.get_extra_info("socket")
            client = parse_socket_addr(sock.family, sock.getpeername())
            address = parse_socket_addr(sock.family, sock.getsockname())
            ssl = self.writer.get_extra_info("ssl_object") is not None
            async with TaskGroup(self.loop) as tasks:
                self._task_group = tasks
                self.protocol = http = _Http(  # type: ignore[assignment]
                    self.app,
                    self.config,
                    self.context,
                    tasks,
                    ConnectionState(unproven.trusting(self._trust, self.state)),
                    ssl,
                    client,
                    address,
                    self.protocol_send,
                )
                await self.idle_task.restart(tasks, self._idle_timeout)
                request = await self._read_http(http)
                await self.idle_task.stop()  # otherwise the group would wait for it and stay counted
            if request is not None:
                websocket = await self._upgrade(http, request)
                # a connection may stay for days: free what is no longer needed
                del http, request, tasks, sock
                del self.protocol
                self._guest.upgraded()
                if websocket is not None:
                    await self._server.run(websocket)
        except OSError:
            pass
        finally:
            late = self.loop.call_later(self._server.limits.websocket.close_timeout, self.writer.transport.abort)
            await self._close()
            late.cancel()

    async def protocol_send(self, event: Event) -> None:
        if not isinstance(event, RawData):
            await super().protocol_send(event)
            return
        async with self.send_lock:
            try:
                self.writer.write(event.data)
                waits = self.writer.transport.get_write_buffer_size() > 0  # a timer costs more than a small response
                async with asyncio.timeout(self._server.limits.stall_timeout if waits else None):
                    await self.writer.drain()
            except TimeoutError:
                self.writer.transport.abort()
            except (ConnectionError, RuntimeError):
                await self.protocol.handle(Closed())

    async def _read_http(self, http: _Http) -> h11.Request | None:
        """Read requests until the client leaves (``None``) or asks for a WebSocket."""
        limits = self._server.limits
        head = 0  # bytes of the current one
        began, size, last = 0.0, 0, 0  # of the current body
        while not self.reader.at_eof():
            patience = None
            if getattr(http.connection, "their_state", None) is h11.SEND_BODY:
                now = self.loop.time()
                began, size = (began, size + last) if began else (now, 0)
                patience = min(limits.stall_timeout, began + limits.stall_timeout + size / limits.body_rate - now)
            else:
                began = 0.0
            try:
                async with asyncio.timeout(patience):
                    data = await self.reader.read(self._read_size)
            except (OSError, TimeoutError):
                break
            last = len(data)
            if http.stream is None and data:
                head += last
                self._guest.heard(head)
                if self.writer.transport.is_closing():
                    break  # it was one too many
            else:
                head = 0
            event = RawData(data)
            del data  # while a slow body pauses, none of it is kept
            try:
                await http.handle(event)
            except _Asked as asked:
                return asked.request
            del event
        await http.handle(Closed())
        return None

    async def _upgrade(self, http: _Http, request: h11.Request) -> AsgiSocket | None:
        """Hand the connection over to a WebSocket.

        ``None`` if the handshake was invalid and has been answered, or if the client has left: nobody would tell the
        WebSocket of an end that came before it.
        """
        transport = cast(asyncio.Transport, self.writer.transport)
        if transport.is_closing() or self.reader.at_eof():
            return None
        assert isinstance(http.connection, h11.Connection)
        streams = transport.get_protocol()
        websocket = self._server.accept(transport, http.connection, request, streams.connection_lost)
        if websocket is None:
            return None
        # no await up to the protocol's change: every byte is seen by one of the two
        transport.set_protocol(websocket)
        self.reader.feed_eof()
        early = await self.reader.read()
        if early:
            websocket.data_received(early)
        return websocket
