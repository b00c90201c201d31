"""The WebSockets of a server: lets them in, serves each by its protocol, and closes them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from time import monotonic, time

import anyio
from starlette.types import Receive, Scope, Send

from collab.access.limits import TokenBucket
from collab.access.price import METER, Ledger, Meter
from collab.errors import CollabError, InvalidName, Restarting
from collab.hooks import Hooks, Request
from collab.metrics import Metrics
from collab.realtime.hub import Hub
from collab.rooms.registry import Registry
from collab.server.admission import Admission, Admitted, own_path
from collab.server.config.settings import Settings
from collab.server.rights import Rights
from collab.server.sockets.connection import Connection
from collab.server.sockets.gatekeeper import CollabGatekeeper
from collab.server.sockets.handshake import accept, deny
from collab.server.sockets.hocuspocus import HocuspocusSocket, SocketLimits
from collab.server.sockets.realtime import RealtimeSocket
from collab.server.sockets.yjs import YjsSocket

_ROOMS = "/rooms/"
_HOCUSPOCUS = "/hocuspocus"
_REALTIME = "/realtime"
_GOODBYE_SECONDS = 3.0
_RESTARTING = "the server is restarting"


class Sockets:
    """All open WebSockets."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        hub: Hub,
        rights: Rights,
        admission: Admission,
        hooks: Hooks,
        metrics: Metrics,
        ledger: Ledger,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._hub = hub
        self._rights = rights
        self._admission = admission
        self._hooks = hooks
        self._metrics = metrics
        self._ledger = ledger
        self._connections: dict[Connection, None] = {}
        self._empty = asyncio.Event()  # set when the last connection closes
        self._draining = False

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._connections))

    def __len__(self) -> int:
        return len(self._connections)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one WebSocket until it ends."""
        await receive()  # websocket.connect
        try:
            if self._draining:
                raise Restarting(_RESTARTING)
            path = own_path(scope)
            if path not in {_HOCUSPOCUS, _REALTIME} and not path.startswith(_ROOMS):
                raise InvalidName("no such endpoint")
            request = self._admission.read(scope)
            self._admission.connect(request)
        except CollabError as error:
            await self._deny(error, scope, send)
            return
        try:
            if path == _HOCUSPOCUS:
                await self._serve_hocuspocus(request, scope, receive, send)
            elif path == _REALTIME:
                await self._serve_realtime(request, scope, receive, send)
            else:
                await self._serve_yjs(path.removeprefix(_ROOMS), request, scope, receive, send)
        finally:
            self._admission.disconnect(request)

    def refuse_new(self) -> None:
        """From now on, refuse every new WebSocket: the server is restarting."""
        self._draining = True

    async def close(self) -> None:
        """Ask all clients to connect again later, and wait a moment until they are gone."""
        self._empty.clear()
        for connection in self:
            connection.close(Restarting(_RESTARTING))
        if self._connections:
            with anyio.move_on_after(_GOODBYE_SECONDS):
                await self._empty.wait()

    async def beat(self) -> None:
        """Once a second, let every connection do what is due. Runs until cancelled."""
        while True:
            await asyncio.sleep(1.0)
            now, wall = monotonic(), time()
            for connection in self:
                connection.beat(now, wall)

    async def _deny(self, error: CollabError, scope: Scope, send: Send) -> None:
        self._metrics.error(error.code)
        await deny(scope, send, error)

    async def _serve_yjs(self, name: str, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            admitted = await self._admission.admit(request, name)
            self._admission.check_strikes(request, admitted)
            self._enter(admitted)
        except CollabError as error:
            await self._deny(error, scope, send)
            return
        self._hub.analytics.entered(admitted.identity)
        connection = self._connect(request, scope, receive, send, bucket=self._bucket())
        connection.meter.payer = self._admission.payer(request, admitted.identity)
        try:
            await accept(scope, send)
            connection.trust()
            try:
                room, admitted = await self._rights.open(admitted)
            except CollabError as error:
                # y-websocket 2 reconnects immediately after an accepted connection: delay it here instead
                await asyncio.sleep(1.0)
                await send({"type": "websocket.close", "code": error.close_code, "reason": error.message[:120]})
                return
            socket = YjsSocket(
                connection, self._registry, room, admitted.identity, admitted.access, self._settings.outbox_bytes
            )
            closed = await connection.run(socket)
            if closed is not None and not closed.retryable:
                self._admission.strike(request, admitted)
        finally:
            self._disconnect(connection)
            self._hub.analytics.left(admitted.identity)
            self._leave(admitted)

    async def _serve_hocuspocus(self, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        settings = self._settings
        connection = self._connect(request, scope, receive, send, bucket=self._bucket())
        try:
            await accept(scope, send)
            socket = HocuspocusSocket(
                connection,
                self._registry,
                self._gatekeeper(request, connection, counts=True),
                limits=SocketLimits(
                    documents=settings.max_documents_per_socket,
                    queued_bytes=settings.pre_auth_bytes,
                    queued_messages=settings.pre_auth_messages,
                    token_seconds=settings.pre_auth_seconds,
                ),
                outbox_bytes=settings.outbox_bytes,
                now=monotonic(),
            )
            await connection.run(socket)
        finally:
            self._disconnect(connection)

    async def _serve_realtime(self, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        connection = self._connect(request, scope, receive, send, bucket=None)
        try:
            await accept(scope, send)
            socket = RealtimeSocket(
                connection,
                request,
                hub=self._hub,
                admission=self._admission,
                registry=self._registry,
                documents=self._gatekeeper(request, connection, counts=False),
                settings=self._settings,
            )
            await connection.run(socket)
        finally:
            self._disconnect(connection)

    def _connect(
        self, request: Request, scope: Scope, receive: Receive, send: Send, *, bucket: TokenBucket | None
    ) -> Connection:
        settings = self._settings
        meter = Meter(self._ledger, self._admission.payer(request))
        METER.set(meter)  # for this socket's task, and the tasks it starts
        connection = Connection(
            scope,
            receive,
            send,
            metrics=self._metrics,
            send_cost=self._registry.send_cost,
            meter=meter,
            bucket=bucket,
            max_message_bytes=settings.max_message_bytes,
            heartbeat_seconds=settings.heartbeat_seconds,
            stall_seconds=settings.stall_seconds,
        )
        self._connections[connection] = None
        return connection

    def _gatekeeper(self, request: Request, connection: Connection, *, counts: bool) -> CollabGatekeeper:
        return CollabGatekeeper(
            request,
            connection.meter,
            counts=counts,
            admission=self._admission,
            rights=self._rights,
            hooks=self._hooks,
            analytics=self._hub.analytics,
            enter=self._enter,
            leave=self._leave,
        )

    def _bucket(self) -> TokenBucket:
        return TokenBucket(self._settings.messages_per_second, self._settings.bytes_per_second)

    def _disconnect(self, connection: Connection) -> None:
        del self._connections[connection]
        if not self._connections:
            self._empty.set()

    def _enter(self, admitted: Admitted) -> None:
        """A client is about to join. Raises :class:`collab.errors.RateLimitExceeded`; else call :meth:`leave` later."""
        self._admission.enter(admitted.identity)
        if type(self._hooks).session_opened is not Hooks.session_opened:
            self._registry.spawn(self._hooks.session_opened(admitted.identity, admitted.key))

    def _leave(self, admitted: Admitted) -> None:
        """A client has left."""
        self._admission.leave(admitted.identity)
        if type(self._hooks).session_closed is not Hooks.session_closed:
            self._registry.spawn(self._hooks.session_closed(admitted.identity, admitted.key))
