"""The WebSockets of a server: lets them in, serves each by its protocol, and closes them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from math import inf
from time import monotonic, time
from typing import TYPE_CHECKING, NamedTuple

import anyio
from starlette.types import Receive, Scope, Send

from collab.access.limits import TokenBucket
from collab.access.price import METER, Ledger, Meter, Payer, Share
from collab.cluster.answering import Desk
from collab.cluster.passes import HEADER, Pass
from collab.errors import CollabError, Elsewhere, InvalidName, PermissionDenied, Restarting
from collab.hooks import Hooks, Request
from collab.metrics import Metrics
from collab.realtime.hub import Hub
from collab.rooms.registry import Registry
from collab.server.admission import Admission, Admitted, own_path
from collab.server.config.settings import Settings
from collab.server.rights import Rights
from collab.server.sockets.connection import Client, Connection, SocketProtocol
from collab.server.sockets.documents import SocketLimits
from collab.server.sockets.gatekeeper import CollabGatekeeper
from collab.server.sockets.handshake import accept, deny
from collab.server.sockets.hocuspocus import HocuspocusSocket
from collab.server.sockets.node import NodeSocket
from collab.server.sockets.realtime import RealtimeSocket
from collab.server.sockets.send_turns import SendTurns
from collab.server.sockets.traced import connected, followed, headers_of
from collab.server.sockets.traffic import SocketBytes, Traffic
from collab.server.sockets.yjs import YjsSocket
from collab.tracing import Tracer

if TYPE_CHECKING:
    from collab.cluster.node import ClusterNode
    from collab.server.sockets.passing import Passing

_ROOMS = "/rooms/"
_HOCUSPOCUS = "/hocuspocus"
_REALTIME = "/realtime"
_NODE = "/node"
_GOODBYE_SECONDS = 3.0
_FIND_SECONDS = 8.0  # to find the owner of a room: a dead one is replaced earlier
_HELD_HEARTBEAT_SECONDS = 2.0  # a node that hears nothing for 5 s asks, and we may not read its question
_RESTARTING = "the server is restarting"


class _Client(NamedTuple):
    """Who opened a WebSocket. ``passed``: another node did, for a client that it has admitted and counts."""

    request: Request
    passed: Pass | None


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
        node: ClusterNode | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._node = node
        self._tracer = tracer
        self._settings = settings
        self._registry = registry
        self._hub = hub
        self._rights = rights
        self._admission = admission
        self._hooks = hooks
        self._metrics = metrics
        self._ledger = ledger
        self._connections: dict[Connection, int | None] = {}  # and which node has passed its client on
        self._traffic = Traffic(metrics.names)
        self._send_turns = SendTurns()
        self._empty = asyncio.Event()  # set when the last connection closes
        self._draining = False
        self.desk: Desk | None = None
        """Answers the other nodes of the cluster, if there is one."""

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._connections))

    def __len__(self) -> int:
        return len(self._connections)

    def clients(self) -> Iterator[Client]:
        """The sessions on all sockets."""
        for connection in self:
            yield from connection.clients()

    def traffic(self) -> Mapping[str, SocketBytes]:
        """Bytes of messages by project since the start; that of sockets without a credential is empty."""
        return self._traffic.with_open((each.meter.payer.project, each.received, each.sent) for each in self)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one WebSocket until it ends."""
        await receive()  # websocket.connect
        try:
            if self._draining:
                raise Restarting(_RESTARTING)
            path = own_path(scope)
            if path == _NODE and self.desk is not None:
                await self._serve_node(self.desk, self.desk.admit(scope["headers"]), scope, receive, send)
                return
            if path not in {_HOCUSPOCUS, _REALTIME} and not path.startswith(_ROOMS):
                raise InvalidName("no such endpoint")
            passed = self._pass_of(scope)
            request = self._admission.read(scope, passed)
            if passed is None:
                self._admission.connect(request)
        except CollabError as error:
            await self._deny(error, scope, send)
            return
        client = _Client(request, passed)
        try:
            if path == _HOCUSPOCUS:
                await self._serve_hocuspocus(client, scope, receive, send)
            elif path == _REALTIME:
                await self._serve_realtime(client, scope, receive, send)
            else:
                await self._serve_yjs(path.removeprefix(_ROOMS), client, scope, receive, send)
        finally:
            if passed is None:
                self._admission.disconnect(request)

    def _pass_of(self, scope: Scope) -> Pass | None:
        """What another node says about its client. Raises :class:`PermissionDenied` if it is no node of ours."""
        shown = next((value for name, value in scope["headers"] if name == HEADER.encode()), None)
        if shown is None:
            return None
        if self._node is None:
            raise PermissionDenied("this server is no node of a cluster")
        return self._node.check(shown.decode("latin-1"))

    def refuse_new(self) -> None:
        """From now on, refuse every new WebSocket: the server is restarting."""
        self._draining = True

    def node_lost(self, nid: int) -> None:
        """A node is dead: the clients that it passed on are gone, whether their connections have noticed or not."""
        for connection, sender in list(self._connections.items()):
            if sender == nid:
                connection.abandon(Restarting("the server that passed this client on is gone"))

    def say_goodbye(self) -> None:
        """Ask all clients to connect again later. What they still send is not taken."""
        self._empty.clear()
        for connection in self:
            connection.close(Restarting(_RESTARTING))

    async def closed(self) -> None:
        """Wait a moment until all clients are gone."""
        if self._connections:
            with anyio.move_on_after(_GOODBYE_SECONDS):
                await self._empty.wait()

    async def beat(self) -> None:
        """Once a second, let every connection do what is due. Runs until cancelled."""
        while True:
            await asyncio.sleep(1.0)
            self._beat(monotonic(), time())

    def _beat(self, now: float, wall: float) -> None:
        # a function of its own, because the variable of a loop would keep the last connection alive
        for connection in self:
            connection.beat(now, wall)

    async def _deny(self, error: CollabError, scope: Scope, send: Send) -> None:
        self._metrics.error(error.code)
        await deny(scope, send, error)

    async def _serve_yjs(self, name: str, client: _Client, scope: Scope, receive: Receive, send: Send) -> None:
        request = client.request
        try:
            admitted = await self._admission.admit(request, name)
            self._admission.check_strikes(request, admitted)
            if client.passed is None:
                self._enter(admitted)
        except CollabError as error:
            await self._deny(error, scope, send)
            return
        if client.passed is None:
            self._hub.analytics.entered(admitted.identity)
        connection = self._connect(client, scope, receive, send, bucket=self._bucket())
        connection.meter.payer = self._admission.payer(request, admitted.identity)
        try:
            await accept(scope, send)
            connection.trust()
            try:
                socket = await self._yjs_socket(connection, admitted, client, scope)
            except CollabError as error:
                if client.passed is None:
                    # y-websocket 2 reconnects immediately after an accepted connection: delay it here instead
                    await asyncio.sleep(1.0)
                elif isinstance(error, Elsewhere):
                    error = Restarting(error.message)  # so the client asks again, and at once
                await send({"type": "websocket.close", "code": error.close_code, "reason": error.message[:120]})
                return
            closed = await connection.run(socket)
            if closed is not None and not closed.retryable:
                self._admission.strike(request, admitted)
        finally:
            self._disconnect(connection)
            if client.passed is None:
                self._hub.analytics.left(admitted.identity)
                self._leave(admitted)

    async def _yjs_socket(
        self, connection: Connection, admitted: Admitted, client: _Client, scope: Scope
    ) -> SocketProtocol:
        """Join the room, here or at its owner. Raises :class:`CollabError`."""
        passing = self._passing(connection, client, scope, f"{_ROOMS}{admitted.key.name}")
        deadline = monotonic() + _FIND_SECONDS
        while True:
            try:
                room, admitted = await self._rights.open(admitted)
            except Elsewhere as elsewhere:
                if passing is None:
                    raise
                socket = await passing.socket(elsewhere.nid, admitted.key)
                if socket is not None:
                    return socket
                if monotonic() > deadline:
                    raise
            else:
                return YjsSocket(
                    connection, self._registry, room, admitted.identity, admitted.access, self._settings.outbox_bytes
                )

    def _passing(
        self, connection: Connection, client: _Client, scope: Scope, target: str, *, by_identity: bool = False
    ) -> Passing | None:
        """How to pass a client on to other nodes; ``None`` if there are none, or another node has passed it to us."""
        if self._node is None or client.passed is not None:
            return None
        from collab.server.sockets.passing import Passing  # a server alone needs none of its packages

        headers = followed(headers_of(scope), connection.origin)
        return Passing(connection, self._node, client.request, scope, target, headers, by_identity=by_identity)

    async def _serve_hocuspocus(self, client: _Client, scope: Scope, receive: Receive, send: Send) -> None:
        settings = self._settings
        connection = self._connect(client, scope, receive, send, bucket=self._bucket())
        self._registry.leftovers.opened()
        try:
            await accept(scope, send)
            socket = HocuspocusSocket(
                connection,
                self._registry,
                self._gatekeeper(client, connection, counts=True),
                passing=self._passing(connection, client, scope, _HOCUSPOCUS),
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
            self._registry.leftovers.closed()

    async def _serve_realtime(self, client: _Client, scope: Scope, receive: Receive, send: Send) -> None:
        connection = self._connect(client, scope, receive, send, bucket=None)
        self._registry.leftovers.opened()
        try:
            await accept(scope, send)
            socket = RealtimeSocket(
                connection,
                client.request,
                hub=self._hub,
                admission=self._admission,
                registry=self._registry,
                documents=self._gatekeeper(client, connection, counts=False),
                passing=self._passing(connection, client, scope, _HOCUSPOCUS, by_identity=True),
                settings=self._settings,
                tracer=self._tracer,
            )
            await connection.run(socket)
        finally:
            self._disconnect(connection)
            self._registry.leftovers.closed()

    async def _serve_node(self, desk: Desk, shown: Pass, scope: Scope, receive: Receive, send: Send) -> None:
        # each call names who pays for it; the link itself is free
        free = Meter(Ledger(user=Share(0.0), address=Share(0.0), project=Share(0.0)), Payer(None, "address", None))
        client = _Client(Request(None, {}, {}, None), shown)
        connection = self._connect(client, scope, receive, send, bucket=None, meter=free)
        try:
            await accept(scope, send)
            await connection.run(NodeSocket(connection, desk, shown, self._settings.max_message_bytes))
        finally:
            self._disconnect(connection)

    def _connect(
        self,
        client: _Client,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        bucket: TokenBucket | None,
        meter: Meter | None = None,
    ) -> Connection:
        settings = self._settings
        if meter is None:
            meter = Meter(self._ledger, self._admission.payer(client.request))
        METER.set(meter)  # for this socket's task, and the tasks it starts
        connection = Connection(
            scope,
            receive,
            send,
            metrics=self._metrics,
            send_turns=self._send_turns,
            send_cost=self._registry.send_cost,
            meter=meter,
            bucket=bucket,
            max_message_bytes=settings.max_message_bytes,
            heartbeat_seconds=settings.heartbeat_seconds,
            stall_seconds=settings.stall_seconds,
            address=client.request.client,
            held_heartbeat_seconds=_HELD_HEARTBEAT_SECONDS if client.passed is not None else inf,
            origin=connected(self._tracer, scope) if self._tracer is not None else None,
        )
        self._connections[connection] = client.passed.sender if client.passed is not None else None
        if client.passed is not None:
            connection.trust()  # it is a node; what its client may hold is limited there
        return connection

    def _gatekeeper(self, client: _Client, connection: Connection, *, counts: bool) -> CollabGatekeeper:
        return CollabGatekeeper(
            client.request,
            connection.meter,
            counts=counts,
            check_pass=self._node.check if self._node is not None and client.passed is not None else None,
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
        self._traffic.closed(connection.meter.payer.project, connection.received, connection.sent)
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
