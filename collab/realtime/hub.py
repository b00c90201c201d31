"""The application side of one server: everything that sessions, HTTP and Python code share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import time
from typing import Any

from collab.entities.feed import Feed
from collab.names import DEFAULT_PROJECT
from collab.realtime.analytics import Analytics
from collab.realtime.collection import Collection
from collab.realtime.collections import Collections
from collab.realtime.documents import Documents
from collab.realtime.entity_subscriptions import EntitySubscriptions
from collab.realtime.events import CustomEvents
from collab.realtime.handlers import Handlers
from collab.realtime.live_queries import LiveQueries
from collab.realtime.places import Places
from collab.realtime.presence import PresenceRooms
from collab.realtime.schema import CollectionDeclaration, Schemas
from collab.realtime.services import Services
from collab.realtime.system import Health, System
from collab.realtime.webhook import Webhook
from collab.realtime.webhooks import Webhooks
from collab.rooms.hooks import Hooks
from collab.rooms.registry import Registry
from collab.sandbox import Sandbox
from collab.storage.base import Storage

log = logging.getLogger(__name__)

_TRIM_SECONDS = 3600.0
_DAY = 86_400.0


class Hub:
    """Made once for a server; :meth:`start` when the storage is open. ``flush`` waits until all is committed."""

    def __init__(
        self,
        storage: Storage,
        registry: Registry,
        sandbox: Sandbox,
        hooks: Hooks,
        feed: Feed,
        schemas: Schemas,
        *,
        flush: Callable[[], Awaitable[None]],
        probe: Callable[[str], Health],
        max_entity_bytes: int,
        history_days: float,
        webhooks: Sequence[Webhook] = (),
        presence_sample: int = 50,
    ) -> None:
        self.feed = feed
        self.schemas = schemas
        self.events = CustomEvents()
        self.system = System(probe)
        self.analytics = Analytics()
        self.live_queries = LiveQueries(storage.find, feed)
        self.entities = EntitySubscriptions(feed)
        self.handlers = Handlers(storage, feed)
        self._webhooks = Webhooks(storage, feed, webhooks)
        self.collections = Collections(
            storage,
            registry,
            hooks,
            schemas,
            Places(schemas),
            Documents(storage, registry, sandbox),
            max_entity_bytes=max_entity_bytes,
            flush=flush,
        )
        self.presence = PresenceRooms(registry, self.collections.access, sample=presence_sample)
        self._storage = storage
        self._history_days = history_days
        self._tasks: list[asyncio.Task[None]] = []
        self._started = False

    @property
    def services(self) -> Services:
        """All of it, as sessions want it."""
        return Services(
            self.collections,
            self.entities,
            self.live_queries,
            self.events,
            self.system,
            self.analytics,
            self.presence,
            self._storage,
            self._describe,
        )

    async def start(self) -> None:
        """Begin. Raises what the storage raises."""
        positions = await self._storage.positions()
        self.feed.begin(positions.epoch, positions.newest)
        await self._save_schemas()
        self._started = True
        self._tasks = [asyncio.create_task(self._trim()), asyncio.create_task(self._webhooks.run())]

    async def stop(self) -> None:
        """End what runs by itself."""
        self._started = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.handlers.stop()
        await self.live_queries.close()
        self.entities.close()

    def collection(self, name: str, project: str = DEFAULT_PROJECT, *, user: str | None = None) -> Collection:
        """A collection from Python, in the name of ``user``."""
        return Collection(self.collections, self.handlers, project, name, user)

    async def declare(self, name: str, declared: CollectionDeclaration) -> None:
        """Declare a collection, or declare it anew; a change is told as ``schema_updated``. Raises ValueError."""
        self.schemas.declare(name, declared)
        if self._started:
            await self._save_schemas()

    async def _save_schemas(self) -> None:
        for event in await self.schemas.save(self._storage, time()):
            self.system.announce_to_all(event)

    def _describe(self, project: str) -> Mapping[str, Any]:
        return self.schemas.describe()

    async def _trim(self) -> None:
        """Forget what is older than is to be kept."""
        while True:
            try:
                await self._storage.trim(time() - self._history_days * _DAY)
            except Exception:
                log.exception("old events could not be removed")
            await asyncio.sleep(_TRIM_SECONDS)
