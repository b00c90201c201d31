"""The ASGI application: routes requests to rooms, and owns all objects with the lifetime of the server.

``Collab`` is an ASGI callable. Serve it alone, or mount it in Starlette or FastAPI with ``lifespan=collab.lifespan``.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import chain
from time import monotonic
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Receive, Scope, Send

from collab.access.credentials import Authenticator
from collab.access.inspection import InspectionKey
from collab.access.price import Ledger, Meter, Payer, Share
from collab.access.revocations import Revocations
from collab.entities.feed import Feed
from collab.entities.recorder import Recorder
from collab.errors import CollabError
from collab.hooks import Hooks
from collab.project_names import ProjectNames
from collab.realtime.hub import Hub, HubParts
from collab.realtime.topics.system import ProjectHealth
from collab.records.schema import Schemas
from collab.rooms.authorization import Authorization
from collab.rooms.blackbox import NoBlackBox
from collab.rooms.content_events import ContentEvents
from collab.rooms.handle import Locks, RoomHandle
from collab.rooms.live.ring import RECENT_BYTES, RoomOptions
from collab.rooms.registry import Registry
from collab.rooms.unread_contents import UnreadContents
from collab.sandbox.client import Sandbox
from collab.sandbox.metered import metered
from collab.server.admission import Admission
from collab.server.config.settings import Settings
from collab.server.heartbeat import beat
from collab.server.http import app as http
from collab.server.http.api import routes
from collab.server.http.api.serving import Api
from collab.server.inspector import app as inspector
from collab.server.inspector.documents import DocumentViews
from collab.server.inspector.door import Door
from collab.server.inspector.live import LiveViews
from collab.server.inspector.node import NodeViews
from collab.server.inspector.record import RecordViews
from collab.server.key_fetcher import KeyFetcher
from collab.server.notices import startup_warnings
from collab.server.observation import Observation
from collab.server.project_usage import ProjectUsage
from collab.server.python_api import PythonApi
from collab.server.releases import Releases
from collab.server.rights import Rights
from collab.server.sessions import Sessions
from collab.server.sockets.sockets import Sockets
from collab.server.supervision import Supervision, offered
from collab.storage.base import Storage
from collab.storage.jobs import unshared
from collab.storage.location import check_cluster_extra, storage_at
from collab.storage.nodes import Fenced, NodeAddress, Nodes, new_node_name
from collab.tasks import BackgroundTasks

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from collab.cluster.node import ClusterNode

log = logging.getLogger(__name__)


class Collab(PythonApi):
    """A collaboration server as an ASGI application.

    ``settings`` default to :meth:`Settings.from_env`, ``storage`` to the one at ``settings.location``. ``supervision``
    comes from a supervisor: its ``blackbox`` records what is being applied, ``quarantined`` are updates that crashed a
    worker, ``closed`` selects rooms to keep closed for a while, ``banned`` callers to refuse, and ``node_name`` is that
    of all its workers: each declares its predecessor dead. Traces go to ``tracer_provider``; without one none are made,
    or with the setting ``tracing`` they go where :meth:`collab.server.tracing.start.Tracing.start` says.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        hooks: Hooks | None = None,
        storage: Storage | None = None,
        authenticator: Authenticator | None = None,
        supervision: Supervision | None = None,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        supervised = supervision if supervision is not None else offered()
        self.is_supervised = not isinstance(supervised.blackbox, NoBlackBox)
        """Whether a supervisor watches this process."""
        self.settings = settings if settings is not None else Settings.from_env()
        self.hooks = hooks if hooks is not None else Hooks()
        observed = self._observed = Observation(self.settings, tracer_provider)
        self.metrics = observed.metrics
        name = supervised.node_name if supervised.node_name is not None else new_node_name()
        joining = self.settings.joining(name)
        beside = self.settings.location if storage is None else None
        self._storage = storage if storage is not None else _storage_of(self.settings, joining)
        redis = self.settings.redis
        self._node = _node_of(self._storage, name, redis, observed) if redis is not None else None
        self.schemas = Schemas(
            self.settings.collections,
            strict=self.settings.strict_collections,
            reads_content=self.settings.content_event_seconds > 0,
        )
        rights = Authorization(self.hooks, self.schemas.mapped_in, self._storage.children)
        authenticator = authenticator or Authenticator(self.settings.all_keys, self.settings.all_issuers)
        self._keys = KeyFetcher(authenticator, self._task_failed)
        revocations = Revocations()
        inspection = _inspection(self.settings)
        self.admission = Admission(
            self.settings,
            authenticator,
            self._keys,
            revocations,
            self.hooks,
            rights,
            self._storage.entity,
            supervised.banned,
            inspection,
        )
        self.ledger = _ledger_of(self.settings, observed.names, is_open=self.admission.is_open)
        feed = self._node.feed if self._node is not None else Feed(observed.events)
        jobs = self._node.jobs if self._node is not None else None
        self._quarantined = supervised.quarantined
        self._worker_deaths = supervised.deaths
        self._sandbox = Sandbox(
            charge_project=lambda project, seconds: self.ledger.charge_project(project, seconds, monotonic())
        )
        self._recorder = Recorder(
            self._storage,
            max_pending_bytes=self.settings.max_pending_bytes,
            observe=self.metrics.committed,
            feed=feed,
            traces=observed.events,
            wrote=self.metrics.wrote,
        )
        self._content = ContentEvents(
            self._storage,
            self._sandbox,
            interval=self.settings.content_event_seconds,
            jobs=jobs,
            contents_paths=self.schemas.contents_paths,
        )
        self._unread = UnreadContents(
            self._storage, self._sandbox, contents_paths=self.schemas.contents_paths, jobs=jobs
        )
        self._registry = Registry(
            self._storage,
            self._recorder,
            self._sandbox,
            self.hooks,
            rights,
            options=_room_options(self.settings),
            metrics=self.metrics,
            blackbox=supervised.blackbox,
            idle_seconds=self.settings.room_idle_seconds,
            pending_bytes=self.settings.max_pending_bytes,
            closed=supervised.closed,
            mapped=self.schemas.mapped_in,
            check_document=self.schemas.check_document,
            content_changed=self._content.changed,
            cuts_covered=not self.settings.history_days and self.settings.content_event_seconds > 0,
            ownership=self._node.ownership if self._node is not None else None,
            leftovers=supervised.leftovers,
            tracer=observed.tracer,
        )
        self.hub = Hub(
            self._storage,
            self._registry,
            self._sandbox,
            rights,
            feed,
            self.schemas,
            flush=self._recorder.flush,
            probe=self._health,
            max_entity_bytes=self.settings.max_entity_bytes,
            history_days=self.settings.history_days,
            webhooks=self.settings.webhooks,
            count_delivery=self.metrics.delivered,
            presence_sample=self.settings.presence_sample,
            query_seconds=self.settings.query_seconds,
            presence_bytes=self.settings.presence_bytes,
            jobs=jobs,
            bus=self._node.bus if self._node is not None else None,
            others=self._node.has_others if self._node is not None else None,
            failed=self._task_failed,
            parts=self._node.parts if self._node is not None else HubParts(),
            announcements=self._node.announcements if self._node is not None else None,
            deliveries=observed.deliveries,
        )
        self.rights = Rights(
            self._registry,
            self.admission,
            rights,
            self.hub.places.document_of,
            self.hub.presence,
            self.hub.system,
            self.hub.announcements,
        )
        feed.subscribe(self.rights.happened)
        self._locks = Locks()
        self.sockets = Sockets(
            self.settings,
            self._registry,
            self.hub,
            self.rights,
            self.admission,
            self.hooks,
            self.metrics,
            self.ledger,
            self._node,
            observed.tracer,
        )
        if self._node is not None:
            self._node.lost = self.sockets.node_lost
            self.sockets.desk = self._node.desk(
                self.hub,
                self._registry,
                partial(self._handle, RoomHandle),
                feed,
                self.ledger,
                lambda project, user_id, limit: self._sessions.connected(project, user_id, limit),
                lambda view, limit: self._here.answer(view, limit),
            )
        self._tasks = BackgroundTasks(self._task_failed)
        self.failed = False
        """Whether a task that must always run has ended: only a restart helps. ``/readyz`` says so."""
        self._draining = False
        self._started = False
        self._sessions = Sessions(
            self._storage,
            lambda: chain(self.sockets.clients(), self.api.clients()),
            revocations,
            self.hub.announcements,
            self.admission.changed,
            elsewhere=self._node.sessions.elsewhere if self._node is not None else None,
        )
        self._usage = ProjectUsage(
            self.ledger,
            self.metrics,
            self.sockets.traffic,
            lambda: chain(self.sockets.clients(), self.api.clients()),
        )
        self._releases = (
            Releases(
                self._storage,
                self._registry,
                self._sandbox,
                beside,
                handle=lambda key: self._handle(RoomHandle, key, "release"),
                mapped=self.schemas.mapped_in,
            )
            if beside is not None
            else None
        )
        self._sized = beside if self.settings.metrics_secret is not None else None
        self._here = NodeViews(
            self.hub,
            self.admission,
            self.metrics,
            rooms=lambda: self._registry.rooms,
            usage=self._usage.now,
            gauges=self._gauges,
            unready=self.unready,
            nid=lambda: self._storage.nid if isinstance(self._storage, Nodes) else 0,
        )
        self.api = Api(self.hub, self.admission, self.rights, self._sessions, self.settings, self.unready)
        api = routes.build(self.api, observed.tracer)
        self.http = http.build(
            self.settings,
            self.admission,
            api,
            handle=self.handle,
            metrics=self.metrics,
            unready=self.unready,
            remark=self._remark,
            inspector=self._inspector(inspection, beside) if inspection is not None else None,
            tracer=observed.tracer,
        )
        self.metrics.expose(self._gauges, lambda: self._usage.families(named=self.settings.metrics_secret is not None))

    def _remark(self) -> str | None:
        remarks = (self._node.remark() if self._node is not None else None, self.hub.remark())
        return "; ".join(filter(None, remarks)) or None

    # lifespan

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:
        """Start; at the end drain and stop. Pass this to the application that mounts this one."""
        try:
            await self.startup()
        except CollabError as error:
            log.error("could not start: %s", error.message)
            raise error.with_traceback(None) from None  # the application's server prints what is left of it
        try:
            yield
        finally:
            await self.drain()
            await self.shutdown()

    async def startup(self) -> None:
        """Open the storage and start serving. Raises :class:`collab.storage.base.StorageCorrupt`."""
        for warning in startup_warnings(self.settings, os.environ, is_open=self.admission.is_open):
            log.warning("%s", warning)
        self._observed.start()
        await self._storage.open()
        for entry in self._quarantined:
            log.error("an update of %s crashed the worker and is quarantined: %s", entry.key, entry.reason)
            await self._storage.set_aside(entry)
        if self._node is not None:
            await self._node.start()
        await self._recorder.resume()
        for work in (
            self._recorder.run(),
            self._registry.maintain(),
            self._content.run(self._registry),
            self.sockets.beat(),
            *(self._node.work() if self._node is not None else self._beating()),
        ):
            self._tasks.spawn(work)
        if self._releases is not None:
            self._tasks.spawn(self._releases.run())
        if self._sized is not None:
            watch = partial(self._usage.watch_sizes, self._sized)
            self._tasks.spawn(watch() if self._node is None else self._node.jobs.run("sizes", watch))
        await self.hub.start()
        self._tasks.spawn(self._unread.run())
        await self._sessions.start()
        self._keys.start()
        self._started = True

    def _beating(self) -> Sequence[Coroutine[object, object, None]]:
        """What tells the record that a server that is alone lives, if the record is for several."""
        return [beat(self._storage, self._recorder.end)] if isinstance(self._storage, Nodes) else []

    async def drain(self) -> None:
        """Refuse new clients, commit everything, and ask every session to reconnect later."""
        if self._draining:
            return
        self._draining = True
        self.sockets.refuse_new()
        await self._registry.drain()
        self.api.drain()
        if self._node is not None:
            await self._node.finish()
        self.sockets.say_goodbye()
        if self._node is not None:
            await self._node.resign(self._recorder.flush)
        await self.sockets.closed()

    async def shutdown(self) -> None:
        """Stop all tasks and close the storage."""
        self._started = False
        if self._node is not None:
            await self._node.stop()
        await self.hub.stop()
        await self._keys.stop()
        self._tasks.cancel()
        await self._tasks.wait()
        await self._sandbox.close()
        if self._node is not None:
            await self._node.leave()
        await self._storage.close()
        await self._observed.stop()

    def unready(self) -> str | None:
        """Return why this server should get no traffic now; ``None`` if it should."""
        if not self._started:
            return "starting"
        if self._draining:
            return "draining"
        if self.failed:
            return "a background task has failed"
        if self._recorder.fenced is not None:
            return "another server has taken its place"
        if not self._recorder.healthy:
            return "storage does not accept writes"
        return None

    def _inspector(self, key: InspectionKey, location: str | None) -> ASGIApp:
        """Build the inspector. ``location`` is where the record can be read beside this server, if it can be."""
        elsewhere = self._node.inspection.elsewhere if self._node is not None else None
        live = LiveViews(location, self.settings, self.hub.presence, self._sessions, key, self._here, elsewhere)
        record = RecordViews(location, self.settings.webhooks, live.usage)
        documents = DocumentViews(self._storage, self._sandbox, lambda: self._registry.rooms)
        claim = self._node.jobs.claim_alone if self._node is not None else unshared
        door = Door(key, self.settings, self.admission, self.hub.announcements, claim)
        return inspector.build(door, inspector.operations(live, record, documents))

    def _task_failed(self, error: BaseException) -> None:
        if self._draining and isinstance(error, Fenced):
            return  # this node has resigned
        log.critical("a background task has failed, the server must be restarted", exc_info=error)
        self.failed = True

    def _health(self, project: str) -> ProjectHealth:
        reason = self.unready()
        return ProjectHealth(
            len(self.sockets),
            len(self._registry.rooms),
            self._recorder.pending_bytes,
            () if reason is None else (reason,),
        )

    # ASGI

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request, one WebSocket, or the ASGI lifespan."""
        if scope["type"] != "lifespan" and not self._started and not self._draining:
            self.admission.tell("Collab was not started: pass lifespan=collab.lifespan to the app that mounts it")
        match scope["type"]:
            case "websocket":
                await self.sockets.serve(scope, receive, send)
            case "http":
                peer = scope.get("client")
                payer = Payer(None, "address", peer[0] if peer else None)
                await metered(partial(self.http, scope, receive, send), Meter(self.ledger, payer))
            case "lifespan":
                await self._lifespan(receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.startup()
        except CollabError as error:
            log.error("could not start: %s", error.message)
            await send({"type": "lifespan.startup.failed", "message": error.message})
            return
        except Exception as error:
            log.exception("could not start")
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.drain()
        await self.shutdown()
        await send({"type": "lifespan.shutdown.complete"})

    def _gauges(self) -> dict[str, tuple[str, float]]:
        rooms, settings = self._registry.rooms.values(), self.settings
        return {
            "collab_connections": ("Open WebSockets.", len(self.sockets)),
            "collab_sessions": ("Clients in rooms.", sum(len(room.sessions) for room in rooms)),
            "collab_rooms": ("Open rooms.", len(rooms)),
            "collab_subscriptions": ("Open subscriptions to entities.", len(self.hub.entities)),
            "collab_live_queries": ("Distinct live queries.", len(self.hub.live_queries)),
            "collab_pending_bytes": ("Bytes accepted and not yet committed.", self._recorder.pending_bytes),
            "collab_pending_bytes_limit": ("Pending bytes at which edits are refused.", settings.max_pending_bytes),
            "collab_storage_healthy": ("1 if the storage accepts writes.", float(self._recorder.healthy)),
            "collab_replaced": ("1 if another server has taken its place.", float(self._recorder.fenced is not None)),
            "collab_task_failed": ("1 if a background task has failed: only a restart helps.", float(self.failed)),
            "collab_worker_deaths_total": ("Workers that died in the place of this one.", self._worker_deaths),
            "collab_traces_failing": ("1 if the last traces could not be sent.", float(self._observed.traces_failing)),
            **(self._node.gauges() if self._node is not None else {}),
        }


def _storage_of(settings: Settings, joining: NodeAddress | None) -> Storage:
    return storage_at(
        settings.location,
        history_seconds=settings.history_days * 86_400.0,
        loads=settings.load_connections,
        queries=settings.query_connections,
        joining=joining,
    )


def _ledger_of(settings: Settings, names: ProjectNames, *, is_open: bool) -> Ledger:
    share = partial(Share, burst=settings.cpu_burst)
    return Ledger(
        user=share(settings.cpu_per_user),
        # without credentials callers are not told apart: everybody may do everything
        address=share(0.0 if is_open else settings.cpu_per_address),
        project=share(settings.cpu_per_project),
        names=names,
    )


def _room_options(settings: Settings) -> RoomOptions:
    return RoomOptions(
        presence_bytes=settings.presence_bytes,
        flush_shortest=settings.flush_shortest,
        flush_longest=settings.flush_longest,
        document_bytes=settings.max_document_bytes,
        outbox_bytes=settings.outbox_bytes,
        keep_deleted=settings.keep_deleted,
        recent_bytes=RECENT_BYTES if settings.content_event_seconds else 0,
    )


def _inspection(settings: Settings) -> InspectionKey | None:
    if not settings.inspect:
        return None
    if settings.inspect_secret is None:
        raise ValueError("inspect needs inspect_secret (COLLAB_INSPECT_SECRET), except under `collab serve`")
    return InspectionKey(settings.inspect_secret)


def _node_of(storage: Storage, name: str, redis: str, observed: Observation) -> ClusterNode:
    check_cluster_extra()
    from collab.bus.redis import RedisBus
    from collab.cluster.node import ClusterNode  # a server alone needs none of its packages

    if not isinstance(storage, Nodes):
        raise ValueError("the nodes of a cluster share a storage for several nodes, like PostgreSQL")
    return ClusterNode(storage, name, RedisBus(redis), observed.tracer, observed.events)
