"""The application side of one server, shared by sessions, HTTP and Python code."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import time
from typing import Any, NamedTuple

from collab.access.identity import Identity
from collab.access.price import owed
from collab.bus.base import Bus
from collab.consumers.delivery_traces import DeliveryTraces
from collab.consumers.handlers import Handlers
from collab.consumers.webhook import Webhook
from collab.consumers.webhook_sender import CountDelivery, Webhooks
from collab.entities.feed import Feed
from collab.errors import CollabError
from collab.names import DEFAULT_PROJECT
from collab.realtime.matching.entity_index import EntitySubscriptions
from collab.realtime.matching.live_includes import LiveIncludes
from collab.realtime.matching.live_queries import LiveQueries
from collab.realtime.topics.analytics import AnalyticsMetrics
from collab.realtime.topics.announcements import Announcements, LocalAnnouncements
from collab.realtime.topics.custom_events import CustomEvents
from collab.realtime.topics.kept_on_bus import KeptOnBus
from collab.realtime.topics.presence import PresenceRooms
from collab.realtime.topics.system import SCHEMA_UPDATED, ProjectHealth, SystemEvents
from collab.records.cascade import Cascade
from collab.records.declaration import CollectionDeclaration
from collab.records.documents import Documents
from collab.records.erasing import Erasing
from collab.records.handle import Collection, of_server
from collab.records.missed_events import MissedEvents
from collab.records.places import Places
from collab.records.reads import Caller
from collab.records.records import Collections
from collab.records.schema import Schemas
from collab.records.transaction_handle import Transaction
from collab.rooms.authorization import Authorization
from collab.rooms.registry import Registry
from collab.sandbox.client import Sandbox
from collab.storage.base import Storage, StorageError
from collab.storage.jobs import AllJobs, JobHolder
from collab.storage.nodes import Announcement
from collab.tasks import BackgroundTasks
from collab.turns import Turns

log = logging.getLogger(__name__)

_TRIM_SECONDS = 3600.0
_TRIM_AGAIN_SECONDS = 60.0  # after the storage failed
_DAY = 86_400.0
QUERIES = 3
"""Maximum number of concurrent storage queries of callers."""


class HubParts(NamedTuple):
    """The classes of a hub's parts; a cluster has others, which take the same arguments."""

    records: Callable[..., Collections] = Collections
    documents: Callable[..., Documents] = Documents
    presence: Callable[..., PresenceRooms] = PresenceRooms


class Hub:
    """One per server; call :meth:`start` when the storage is open. ``flush`` waits until everything is committed.

    Queries of callers take turns. Each may take ``query_seconds``; 0 is no limit. ``jobs`` says what of the record
    this process does if several write to it, ``others`` whether other nodes live, ``bus`` is what nodes hear each
    other on, and ``announcements`` what all of them hear.
    """

    def __init__(
        self,
        storage: Storage,
        registry: Registry,
        sandbox: Sandbox,
        rights: Authorization,
        feed: Feed,
        schemas: Schemas,
        *,
        flush: Callable[[], Awaitable[None]],
        probe: Callable[[str], ProjectHealth],
        max_entity_bytes: int,
        history_days: float,
        webhooks: Sequence[Webhook] = (),
        count_delivery: CountDelivery = lambda webhook, outcome, kind: None,
        presence_sample: int = 50,
        query_seconds: float = 10.0,
        presence_bytes: int = 64 * 1024,
        jobs: JobHolder | None = None,
        others: Callable[[], bool] | None = None,
        failed: Callable[[BaseException], object],
        parts: HubParts = HubParts(),  # noqa: B008 - a value that nobody can change
        bus: Bus | None = None,
        announcements: Announcements | None = None,
        deliveries: DeliveryTraces | None = None,
    ) -> None:
        self.feed = feed
        self.schemas = schemas
        self.events = CustomEvents(KeptOnBus(bus) if bus is not None else None)
        self.system = SystemEvents(probe)
        self.announcements: Announcements = LocalAnnouncements() if announcements is None else announcements
        self.announcements.on(SCHEMA_UPDATED, self._schema_updated)
        self.analytics = AnalyticsMetrics(bus)
        turns = Turns(QUERIES, seconds=query_seconds or None, per_caller=5_000, per_project=10_000, owed=owed)
        self.live_queries = LiveQueries(
            storage.find,
            storage.aggregate,
            feed,
            find_each=storage.find_each,
            find_contents=storage.find_contents,
            turns=turns,
        )
        self.live_includes = LiveIncludes(self.live_queries)
        self.entities = EntitySubscriptions(feed)
        self.handlers = Handlers(storage, feed)
        self.places = Places(schemas)
        self._others = others
        self._differing: Sequence[str] = ()
        self._jobs = jobs if jobs is not None else AllJobs()
        self._webhooks = Webhooks(storage, feed, webhooks, jobs=self._jobs, count=count_delivery, traces=deliveries)
        self._erasing = Erasing(storage, registry, schemas, flush)
        self._cascade = Cascade(storage, registry, rights, schemas, flush)
        self.documents = parts.documents(storage, turns, registry, sandbox)
        self.records = parts.records(
            storage,
            turns,
            registry,
            rights,
            schemas,
            self.places,
            self.documents,
            self._cascade,
            self._erasing,
            max_entity_bytes=max_entity_bytes,
            flush=flush,
            reached=feed.reached,
        )
        self.presence = parts.presence(
            registry,
            self.records.document_access,
            rights.depends_on_content,
            sample=presence_sample,
            state_bytes=presence_bytes,
        )
        self.past = MissedEvents(storage, turns)
        self._storage = storage
        self._history_days = history_days
        self._tasks = BackgroundTasks(failed)
        self._started = False

    async def start(self) -> None:
        """Start background tasks. Raises the storage's errors."""
        positions = await self._storage.positions()
        self.feed.begin(positions)
        await self._webhooks.register(positions)
        await self._save_schemas()
        self._started = True
        self._tasks.spawn(self._jobs.run("trim", self._trim))
        self._tasks.spawn(self._webhooks.run())
        self._tasks.spawn(self.analytics.run())

    async def stop(self) -> None:
        """Stop background tasks."""
        self._started = False
        self._tasks.cancel()
        await self._tasks.wait()
        await self.events.close()
        await self.handlers.stop()
        await self.presence.stop()
        await self.live_includes.close()
        await self.live_queries.close()
        self.entities.close()

    def collection(
        self, name: str, project: str = DEFAULT_PROJECT, *, user: str | None = None, identity: Identity | None = None
    ) -> Collection:
        """Return a collection for Python code: all rights, writing as ``user``; or the rights of ``identity``."""
        return Collection(self.records, self.handlers, name, identity or of_server(project, user))

    def transaction(
        self, project: str = DEFAULT_PROJECT, *, user: str | None = None, identity: Identity | None = None
    ) -> Transaction:
        """Return a transaction for Python code, as :meth:`collection` returns a collection."""
        return Transaction(self.records, identity or of_server(project, user))

    async def declare(self, name: str, declared: CollectionDeclaration) -> None:
        """Declare a collection, or replace its declaration; changes emit ``schema_updated``. Raises ValueError."""
        self.schemas.declare(name, declared)
        if self._started:
            await self._save_schemas()

    async def _save_schemas(self) -> None:
        for event in await self.schemas.save(self._storage, time(), others=self._others is not None and self._others()):
            await self.announcements.announce(Announcement(None, SCHEMA_UPDATED, event))
        await self._compare_schemas()

    async def _schema_updated(self, announcement: Announcement) -> None:
        self.system.announce_to_all(announcement.body)
        await self._compare_schemas()

    async def _compare_schemas(self) -> None:
        """Notice that another node declares collections otherwise, as during a deployment, or for a mistake."""
        if self._others is None:
            return
        try:
            differing = await self.schemas.differing(self._storage)
        except StorageError as error:
            log.info("declarations of collections are not compared: %s", error)
            return
        if differing != self._differing and differing:
            log.warning("%s", self._said_of(differing))
        self._differing = differing

    def remark(self) -> str | None:
        """What an operator should know of a server that works."""
        return self._said_of(self._differing) if self._differing else None

    def _said_of(self, differing: Sequence[str]) -> str:
        return f"another node has declared these collections otherwise, and later: {', '.join(differing)}"

    def schema(self, project: str) -> Mapping[str, Any]:
        """Return the declared collections of a project."""
        return self.schemas.describe()

    async def readable_schema(self, caller: Caller) -> dict[str, Any]:
        """Return the declared collections that this caller may read, at least in part."""
        readable = {}
        for name, said in self.schema(caller.identity.project).items():
            try:
                await self.records.visible(caller, name)
            except CollabError:
                continue
            readable[name] = said
        return readable

    async def _trim(self) -> None:
        """Finish interrupted deletions, and delete history that is older than configured."""
        while True:
            try:
                await self._cascade.sweep()
                before = time() - self._history_days * _DAY
                await self._storage.trim(before)
                await self._erasing.expire(before)
            except StorageError as error:
                log.error("could not delete old events: %s", error)
                await asyncio.sleep(_TRIM_AGAIN_SECONDS)
                continue
            except Exception:
                log.exception("could not delete old events")
            await asyncio.sleep(_TRIM_SECONDS)
