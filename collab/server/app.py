"""The ASGI application: routes requests to rooms, and owns what lives as long as the server.

``Collab`` is an ASGI callable. Serve it alone, or mount it in Starlette or FastAPI with
``lifespan=collab.lifespan``.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic, time
from typing import Any

import anyio
from starlette.types import Receive, Scope, Send

from collab.access.credentials import Authenticator
from collab.access.limits import TokenBucket
from collab.entities.feed import Feed
from collab.entities.recorder import Recorder
from collab.errors import (
    CollabError,
    InvalidName,
    Restarting,
)
from collab.metrics import Metrics
from collab.names import DEFAULT_PROJECT, RoomKey, parse_name
from collab.realtime.collection import Collection
from collab.realtime.events import CustomEvents
from collab.realtime.hub import Hub
from collab.realtime.schema import Schemas
from collab.realtime.system import Health
from collab.rooms.blackbox import BlackBox, NoBlackBox
from collab.rooms.content import ContentEvents
from collab.rooms.handle import EditLocks, RoomHandle
from collab.rooms.hooks import Hooks, Request
from collab.rooms.registry import Registry
from collab.rooms.ring import RoomOptions
from collab.rooms.room import Room
from collab.sandbox import Sandbox
from collab.server import http
from collab.server.admission import Admission, Admitted, is_somebody, own_path
from collab.server.api.serving import Api
from collab.server.connection import Connection
from collab.server.hocuspocus_socket import HocuspocusSocket, SocketLimits
from collab.server.realtime_socket import RealtimeSocket
from collab.server.rights import Rights
from collab.server.settings import Settings
from collab.server.yjs_socket import YjsSocket
from collab.storage.base import SetAside, Storage
from collab.storage.sqlite import SqliteStorage

log = logging.getLogger(__name__)

_ROOMS = "/rooms/"
_HOCUSPOCUS = "/hocuspocus"
_REALTIME = "/realtime"
_GOODBYE_SECONDS = 3.0


class Collab:
    """A collaboration server as an ASGI application.

    ``storage`` defaults to SQLite in ``settings.data``. ``blackbox`` and ``quarantined`` come from a supervisor:
    where to note what is being applied, and what ended the worker before. ``closed`` names rooms that it wants
    to stay closed for a while.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        hooks: Hooks | None = None,
        storage: Storage | None = None,
        authenticator: Authenticator | None = None,
        blackbox: BlackBox | None = None,
        quarantined: Sequence[SetAside] = (),
        closed: Callable[[RoomKey], bool] = lambda key: False,
    ) -> None:
        self.settings = settings if settings is not None else Settings()
        self.hooks = hooks if hooks is not None else Hooks()
        self.metrics = Metrics()
        self._storage = (
            storage
            if storage is not None
            else SqliteStorage(Path(self.settings.data), history_seconds=self.settings.history_days * 86_400.0)
        )
        self.admission = Admission(
            self.settings,
            authenticator or Authenticator.from_settings(self.settings),
            self.hooks,
            self._entity_data,
        )
        feed = Feed()
        self.schemas = Schemas(self.settings.collections, strict=self.settings.strict_collections)
        self._quarantined = quarantined
        self._sandbox = Sandbox()
        self._recorder = Recorder(
            self._storage,
            max_pending_bytes=self.settings.max_pending_bytes,
            observe=self.metrics.committed,
            publish=feed.publish,
        )
        self._content = ContentEvents(self._storage, self._sandbox, interval=self.settings.content_event_seconds)
        self._registry = Registry(
            self._storage,
            self._recorder,
            self._sandbox,
            self.hooks,
            options=RoomOptions(
                flush_shortest=self.settings.flush_shortest,
                flush_longest=self.settings.flush_longest,
                document_bytes=self.settings.max_document_bytes,
                outbox_bytes=self.settings.outbox_bytes,
            ),
            metrics=self.metrics,
            blackbox=blackbox if blackbox is not None else NoBlackBox(),
            idle_seconds=self.settings.room_idle_seconds,
            pending_bytes=self.settings.max_pending_bytes,
            closed=closed,
            mapped=self.schemas.mapped_in,
            lives_inside=self.schemas.lives_inside,
            content_changed=self._content.changed,
            cuts_covered=not self.settings.history_days and self.settings.content_event_seconds > 0,
        )
        self.hub = Hub(
            self._storage,
            self._registry,
            self._sandbox,
            self.hooks,
            feed,
            self.schemas,
            flush=self._recorder.flush,
            probe=self._health,
            max_entity_bytes=self.settings.max_entity_bytes,
            history_days=self.settings.history_days,
            webhooks=self.settings.webhooks,
            presence_sample=self.settings.presence_sample,
        )
        self._rights = Rights(self._registry, self.admission, self._registry.spawn)
        feed.subscribe(self._rights.happened)
        self._locks = EditLocks()
        self._connections: dict[Connection, None] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._empty = asyncio.Event()  # set when the last connection ends
        self._draining = False
        self._started = False
        pages = Path(self.settings.pages) if self.settings.pages is not None else None
        self.api = Api(self)
        self._http = http.build(self, pages)
        self.metrics.expose(self._gauges)

    # from Python

    def room(self, name: str, project: str = DEFAULT_PROJECT) -> RoomHandle:
        """A document by name, ``collection/id``. Raises :class:`collab.errors.InvalidName`."""
        return self.handle(parse_name(project, name))

    def handle(self, key: RoomKey) -> RoomHandle:
        """A document by key."""
        return RoomHandle(key, self._registry, self._sandbox, self._locks)

    async def permissions_changed(
        self, project: str = DEFAULT_PROJECT, *, user_id: str | None = None, resource: str | None = None
    ) -> None:
        """Rights have changed, of one user or of all: those concerned are told, and held to them at once.

        What :class:`Hooks` answer from now on counts; rights that a token carries last as long as the token.
        """
        self.hub.system.permissions_changed(project, resource, user_id=user_id)
        await self._rights.recheck(project, user_id)

    def collection(self, name: str, project: str = DEFAULT_PROJECT, *, user: str | None = None) -> Collection:
        """A collection by name, to read and write its entities in the name of ``user``."""
        return self.hub.collection(name, project, user=user)

    @property
    def events(self) -> CustomEvents:
        """Custom events: ``collab.events.emit(project, {"type": …, …})``."""
        return self.hub.events

    @property
    def feed(self) -> Feed:
        """Every committed entity event of this server, as it happens."""
        return self.hub.feed

    # lifespan

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:
        """Start, and at the end drain and stop. Give this to the application that mounts this one."""
        await self.startup()
        try:
            yield
        finally:
            await self.drain()
            await self.shutdown()

    async def startup(self) -> None:
        """Open the storage and begin to serve. Raises :class:`collab.storage.base.StorageCorrupt`."""
        await self._storage.open()
        for entry in self._quarantined:
            log.error("%s ended the worker and is kept aside: %s", entry.key, entry.reason)
            await self._storage.set_aside(entry)
        self._tasks = [
            asyncio.create_task(self._recorder.run()),
            asyncio.create_task(self._registry.maintain()),
            asyncio.create_task(self._content.run(self._registry)),
            asyncio.create_task(self._beat()),
        ]
        await self.hub.start()
        self._started = True

    async def drain(self) -> None:
        """Take nobody in any more, commit everything, and send every session away to come back later."""
        if self._draining:
            return
        self._draining = True
        await self._registry.drain()
        self._empty.clear()
        for connection in list(self._connections):
            connection.close(Restarting("the server is restarting"))
        self.api.drain()
        if self._connections:
            with anyio.move_on_after(_GOODBYE_SECONDS):
                await self._empty.wait()

    async def shutdown(self) -> None:
        """Let go of everything."""
        self._started = False
        await self.hub.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._sandbox.close()
        await self._storage.close()

    def unready(self) -> str | None:
        """Why this server should get no traffic now; ``None`` if it should."""
        if not self._started:
            return "starting"
        if self._draining:
            return "draining"
        if not self._recorder.healthy:
            return "storage does not take writes"
        return None

    def _health(self, project: str) -> Health:
        reason = self.unready()
        return Health(
            len(self._connections),
            len(self._registry.rooms),
            self._recorder.pending_bytes,
            () if reason is None else (reason,),
        )

    async def _entity_data(self, key: RoomKey) -> Mapping[str, Any] | None:
        row = await self._storage.entity(key)
        return row.data if row is not None else None

    # ASGI

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request, one WebSocket, or the server's own lifespan."""
        match scope["type"]:
            case "websocket":
                await self._websocket(scope, receive, send)
            case "http":
                await self._http(scope, receive, send)
            case "lifespan":
                await self._lifespan(receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.startup()
        except Exception as error:
            log.exception("could not start")
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.drain()
        await self.shutdown()
        await send({"type": "lifespan.shutdown.complete"})

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        try:
            if self._draining:
                raise Restarting("the server is restarting")
            path = own_path(scope)
            if path not in {_HOCUSPOCUS, _REALTIME} and not path.startswith(_ROOMS):
                raise InvalidName("no such endpoint")
            request = self.admission.read(scope)
            self.admission.connect(request)
        except CollabError as error:
            await self._deny(scope, send, error)
            return
        try:
            if path == _HOCUSPOCUS:
                await self._serve_hocuspocus(request, scope, receive, send)
            elif path == _REALTIME:
                await self._serve_realtime(request, scope, receive, send)
            else:
                await self._serve_yjs(path.removeprefix(_ROOMS), request, scope, receive, send)
        finally:
            self.admission.disconnect(request)

    async def _serve_yjs(self, name: str, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            admitted = await self.admission.admit(request, name)
            self.admission.check_strikes(request, admitted)
            self.enter(admitted)
        except CollabError as error:
            await self._deny(scope, send, error)
            return
        self.hub.analytics.entered(admitted.identity)
        connection = self._connect(scope, receive, send, bucket=self._bucket())
        try:
            await send({"type": "websocket.accept"})
            try:
                room, admitted = await self._rights.open(admitted)
            except CollabError as error:
                # y-websocket 2 comes back at once after a connection that was accepted: make it wait here instead
                await asyncio.sleep(1.0)
                await send({"type": "websocket.close", "code": error.close_code, "reason": error.message[:120]})
                return
            socket = YjsSocket(
                connection, self._registry, room, admitted.identity, admitted.access, self.settings.outbox_bytes
            )
            closed = await connection.run(socket)
            if closed is not None and not closed.retryable:
                self.admission.strike(request, admitted)
        finally:
            self._disconnect(connection)
            self.hub.analytics.left(admitted.identity)
            self.leave(admitted)

    async def _serve_hocuspocus(self, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        settings = self.settings
        connection = self._connect(scope, receive, send, bucket=self._bucket())
        try:
            await send({"type": "websocket.accept"})
            socket = HocuspocusSocket(
                connection,
                self._registry,
                _Gatekeeper(self, request, counts=True),
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
        connection = self._connect(scope, receive, send, bucket=None)
        try:
            await send({"type": "websocket.accept"})
            socket = RealtimeSocket(
                connection,
                request,
                services=self.hub.services,
                admission=self.admission,
                registry=self._registry,
                documents=_Gatekeeper(self, request, counts=False),
                settings=self.settings,
            )
            await connection.run(socket, socket)
        finally:
            self._disconnect(connection)

    async def _deny(self, scope: Scope, send: Send, error: CollabError) -> None:
        """Refuse a handshake. With the ASGI denial extension the status says why; without it, it is 403."""
        self.metrics.error(error.code)
        if "websocket.http.response" in scope.get("extensions", {}):
            headers: list[tuple[bytes, bytes]] = [(b"content-type", b"text/plain; charset=utf-8")]
            if error.retryable:
                headers.append((b"retry-after", b"1"))
            await send({"type": "websocket.http.response.start", "status": error.http_status, "headers": headers})
            await send({"type": "websocket.http.response.body", "body": error.message.encode()})
        else:
            await send({"type": "websocket.close", "code": error.close_code})

    def _connect(self, scope: Scope, receive: Receive, send: Send, *, bucket: TokenBucket | None) -> Connection:
        settings = self.settings
        connection = Connection(
            scope,
            receive,
            send,
            metrics=self.metrics,
            send_cost=self._registry.send_cost,
            bucket=bucket,
            max_message_bytes=settings.max_message_bytes,
            heartbeat_seconds=settings.heartbeat_seconds,
            stall_seconds=settings.stall_seconds,
        )
        self._connections[connection] = None
        return connection

    def _bucket(self) -> TokenBucket:
        return TokenBucket(self.settings.messages_per_second, self.settings.bytes_per_second)

    def _disconnect(self, connection: Connection) -> None:
        del self._connections[connection]
        if not self._connections:
            self._empty.set()

    # sessions and housekeeping

    def enter(self, admitted: Admitted) -> None:
        """A client is about to join. Raises :class:`collab.errors.RateLimitExceeded`; else :meth:`leave` follows."""
        self.admission.enter(admitted.identity)
        if type(self.hooks).session_opened is not Hooks.session_opened:
            self._registry.spawn(self.hooks.session_opened(admitted.identity, admitted.key))

    def leave(self, admitted: Admitted) -> None:
        """A client has left."""
        self.admission.leave(admitted.identity)
        if type(self.hooks).session_closed is not Hooks.session_closed:
            self._registry.spawn(self.hooks.session_closed(admitted.identity, admitted.key))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            now, wall = monotonic(), time()
            for connection in list(self._connections):
                connection.beat(now, wall)

    def _gauges(self) -> dict[str, tuple[str, float]]:
        rooms = self._registry.rooms.values()
        return {
            "collab_connections": ("Open WebSockets.", len(self._connections)),
            "collab_sessions": ("Clients in rooms.", sum(len(room.sessions) for room in rooms)),
            "collab_rooms": ("Open rooms.", len(rooms)),
            "collab_subscriptions": ("Open subscriptions to entities.", len(self.hub.entities)),
            "collab_live_queries": ("Different live queries that are watched.", len(self.hub.live_queries)),
            "collab_pending_bytes": ("Bytes accepted and not yet committed.", self._recorder.pending_bytes),
            "collab_storage_healthy": ("1 if the last commit succeeded.", float(self._recorder.healthy)),
        }


class _Gatekeeper:
    """A Hocuspocus socket's way to the server's checks.

    Its documents are one active user, not several, where nobody verified who that is; with ``counts=False`` none, for
    the session that they belong to is one.
    """

    __slots__ = ("_collab", "_counts", "_request", "_unverified")

    def __init__(self, collab: Collab, request: Request, *, counts: bool) -> None:
        self._collab = collab
        self._request = request
        self._counts = counts
        self._unverified: Counter[str] = Counter()  # documents of each project

    async def admit(self, name: str, token: str | None) -> Admitted:
        return await self._collab.admission.admit_token(self._request, token, name)

    async def open(self, admitted: Admitted) -> tuple[Room, Admitted]:
        return await self._collab._rights.open(admitted)

    async def stateless(self, admitted: Admitted, payload: str) -> str | None:
        return await self._collab.hooks.stateless(admitted.identity, admitted.key, payload)

    def enter(self, admitted: Admitted) -> None:
        self._collab.enter(admitted)
        identity = admitted.identity
        if not is_somebody(identity):
            self._unverified[identity.project] += 1
            if not self._counts or self._unverified[identity.project] > 1:
                return
        self._collab.hub.analytics.entered(identity)

    def leave(self, admitted: Admitted) -> None:
        self._collab.leave(admitted)
        identity = admitted.identity
        if not is_somebody(identity):
            self._unverified[identity.project] -= 1
            if not self._counts or self._unverified[identity.project]:
                return
        self._collab.hub.analytics.left(identity)
