"""Runs an ASGI application on hypercorn, with the holes of hypercorn 0.18 closed.

hypercorn reads HTTP/1.1, calls the application for it, and keeps its lifespan. Where a request asks for a
WebSocket, its connection is handed to :class:`collab.server.asgi_socket.AsgiSocket`. What is different from
``hypercorn.asyncio.serve``:

* permessage-deflate is off unless asked for, and inflating is bounded;
* a WebSocket message is bounded over all its fragments, close 1009, and the connection ends;
* peers that fell silent are found and dropped;
* the application sees the close code and reason that the client sent, and sending to a closed socket raises;
* messages leave in fragments, so that a large one costs no copy per receiver;
* when told to stop: no new connections, then the application drains, then whatever is left is closed with
  1012, so that no version of Python waits for a WebSocket that stays open;
* HTTP/2 is not spoken, for WebSockets inside it would meet hypercorn's own code again. A proxy in front may;
* a client that is slow with its request, or does not take its response, is dropped.

Nothing of hypercorn is patched: the classes below extend it where it is open, and :func:`serve` puts them
together.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from time import time
from typing import Any
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

from collab.server.asgi_socket import Application, AsgiSocket, WebSocketLimits
from collab.server.upgrade import Upgrade, handshake_error

log = logging.getLogger(__name__)

_SERVICE_RESTART = 1012
_READ = 64 * 1024
_BACKLOG = 4096  # hypercorn takes 100: of 150 clients that connect at once, the rest would wait a second to try again


@dataclass(frozen=True, slots=True)
class Limits:
    """What the launcher holds its peers to. Times in seconds.

    ``head_timeout`` is for a whole request head, also between two requests of a connection; ``stall_timeout``
    for the next piece of a request body, and for a client to take some of its response. ``stop_timeout`` is
    what requests still running get when the server stops.
    """

    websocket: WebSocketLimits = field(default_factory=WebSocketLimits)
    head_timeout: float = 10.0
    stall_timeout: float = 30.0
    stop_timeout: float = 3.0


async def serve(
    app: Application,
    *,
    sockets: Sequence[socket.socket],
    shutdown: Callable[[], Awaitable[object]],
    drain: Callable[[], Awaitable[object]] | None = None,
    limits: Limits | None = None,
    access_log: logging.Logger | None = None,
    ready: Callable[[], object] | None = None,
) -> None:
    """Serve ``app`` on listening (or bound) ``sockets``, which it closes, until ``shutdown()`` returns.

    ``ready`` is called once connections are accepted. After ``shutdown()`` none is accepted any more; then
    ``drain()`` runs, in which the application finishes what it must and says goodbye to its clients; then
    what is left is ended. Lifespan startup comes before all of this and lifespan shutdown after; a failure of
    the startup is raised.
    """
    limits = limits or Limits()
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
                listener = await asyncio.start_server(server.connected, sock=sock, backlog=config.backlog)
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
    """The connections of one :func:`serve`."""

    def __init__(self, wrapped: ASGIWrapper, app: Application, config: Config, limits: Limits) -> None:
        self.wrapped = wrapped
        self.app = app
        self.config = config
        self.limits = limits
        self.context = WorkerContext(None)
        self.state: dict[str, Any] = {}
        self.sockets: set[AsgiSocket] = set()
        self._tasks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection from its first byte to its end."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks[task] = writer
        try:
            await _Connection(self, reader, writer)
        finally:
            del self._tasks[task]

    async def stop(self) -> None:
        """End all connections: idle ones now, WebSockets with 1012, requests when done or out of time."""
        await self.context.terminated.set()
        for websocket in list(self.sockets):
            websocket.shut(_SERVICE_RESTART, "the server restarts")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self.limits.stop_timeout)
        for task, writer in list(self._tasks.items()):
            writer.transport.abort()
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=1.0)


class _Asked(Exception):
    def __init__(self, request: h11.Request) -> None:
        super().__init__()
        self.request = request


class _Http(H11Protocol):
    """HTTP/1.1 that gives WebSockets away."""

    async def _check_protocol(self, event: h11.Request) -> None:
        """Take no offer to speak HTTP/2."""

    async def _create_stream(self, request: h11.Request) -> None:
        headers: dict[bytes, bytes] = dict(request.headers)
        tokens = [token.strip() for token in headers.get(b"connection", b"").lower().split(b",")]
        if b"upgrade" in tokens and headers.get(b"upgrade", b"").lower() == b"websocket":
            raise _Asked(request)
        await super()._create_stream(request)


class _Connection(TCPServer):
    """One TCP connection: HTTP as long as it is asked for, then perhaps a WebSocket."""

    def __init__(self, server: _Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(server.wrapped, loop, server.config, server.context, server.state, reader, writer)
        self._server = server

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
                    ConnectionState(self.state),
                    ssl,
                    client,
                    address,
                    self.protocol_send,
                )
                await self.idle_task.restart(tasks, self._idle_timeout)
                request = await self._read_http(http)
            if request is not None:
                websocket = await self._upgrade(http, request, client, address)
                # a connection may stay for days: what it took to get here goes now
                del http, request, tasks, sock
                del self.protocol
                if websocket is not None:
                    await self._run_websocket(websocket)
        except OSError:
            pass
        finally:
            self.loop.call_later(self._server.limits.websocket.close_timeout, self.writer.transport.abort)
            await self._close()

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
        """Read requests until the client goes (``None``) or asks for a WebSocket."""
        while not self.reader.at_eof():
            in_body = getattr(http.connection, "their_state", None) is h11.SEND_BODY
            try:
                async with asyncio.timeout(self._server.limits.stall_timeout if in_body else None):
                    data = await self.reader.read(_READ)
            except (OSError, TimeoutError):
                break
            try:
                await http.handle(RawData(data))
            except _Asked as asked:
                return asked.request
        await http.handle(Closed())
        return None

    async def _upgrade(
        self,
        http: _Http,
        request: h11.Request,
        client: tuple[str, int] | None,
        address: tuple[str, int] | None,
    ) -> AsgiSocket | None:
        """Hand the connection over to a WebSocket; ``None`` if the handshake was wrong and is answered."""
        connection = http.connection
        assert isinstance(connection, h11.Connection)
        status = handshake_error(request)
        if status is not None:
            headers = [(b"content-length", b"0"), (b"connection", b"close")]
            headers.append((b"sec-websocket-version", b"13"))
            for part in (h11.Response(status_code=status, headers=headers), h11.EndOfMessage()):
                self.writer.write(connection.send(part) or b"")
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

        transport = self.writer.transport
        streams = transport.get_protocol()
        websocket = AsgiSocket(
            transport,  # type: ignore[arg-type]
            Upgrade(connection, request, self.config.response_headers("h11")),
            scope,
            self._server.limits.websocket,
            answered=answered,
            lost=streams.connection_lost,
        )
        # no await up to the protocol's change: every byte is seen by one of the two
        transport.set_protocol(websocket)
        self.reader.feed_eof()
        early = await self.reader.read()
        if early:
            websocket.data_received(early)
        return websocket

    async def _run_websocket(self, websocket: AsgiSocket) -> None:
        self._server.sockets.add(websocket)
        try:
            await websocket.run(self._server.app)
        finally:
            self._server.sockets.discard(websocket)
