"""Sends the events of the record to webhooks: each at least once, events of one entity in order.

Each webhook's position is saved in the storage. After a restart, or on the next node if one has died, sending resumes
there, and the last events may be sent twice; ``webhook-id`` identifies them.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from time import monotonic, time
from typing import NamedTuple

import httpx

from collab.consumers.delivery import Deliveries, Parcel, backoff
from collab.consumers.delivery_traces import DeliveryTraces
from collab.consumers.failure_log import FailureLog
from collab.consumers.webhook import Webhook, body_of, message_id, signed
from collab.entities.feed import Feed
from collab.errors import CollabError
from collab.event import EntityEvent
from collab.metrics import FailureKind
from collab.storage.base import DeadLetter, Positions, Storage
from collab.storage.jobs import AllJobs, JobHolder
from collab.tasks import BackgroundTasks

log = logging.getLogger(__name__)

_BATCH = 100
_SAVE_SECONDS = 1.0
_SAVE_EVENTS = 1000  # skipped events that are worth saving a new position
_STORAGE_SECONDS = 1.0
_CALM_SECONDS = 600.0  # after which an error counts as the first one again
_ANSWER_BYTES = 64 * 1024  # read this much of a response, so that the connection can be reused


CountDelivery = Callable[[str, str, FailureKind | None], object]


class Attempt(NamedTuple):
    """How an attempt ended. ``reason`` says why it failed, without a secret (``None``: it did not), ``kind`` in short.

    ``retry_after`` is how many seconds the receiver asks to wait.
    """

    reason: str | None = None
    kind: FailureKind | None = None
    retry_after: float = 0.0


class Webhooks:
    """All webhooks of one server, each sent by one node. Raises :class:`ValueError` if two have the same name.

    ``count(webhook, outcome, kind)`` is called for each attempt: ``taken``, ``failed``, or ``given_up`` for the last
    one, with the kind of failure; and with ``stopped`` if an error of our own interrupts the webhook, which begins
    again after a pause.
    """

    def __init__(
        self,
        storage: Storage,
        feed: Feed,
        webhooks: Sequence[Webhook],
        *,
        jobs: JobHolder | None = None,
        count: CountDelivery = lambda webhook, outcome, kind: None,
        traces: DeliveryTraces | None = None,
        random: Callable[[], float] = random.random,
    ) -> None:
        if len({webhook.name for webhook in webhooks}) < len(webhooks):
            raise ValueError("two webhooks have the same name")
        self._storage = storage
        self._feed = feed
        self._webhooks = webhooks
        self._jobs = jobs if jobs is not None else AllJobs()
        self._count = count
        self._traces = traces
        self._random = random

    async def register(self, positions: Positions) -> None:
        """Let new webhooks have all events after these positions. Raises the storage's errors.

        Not left to :meth:`run`, which may begin after the first events, or at another node.
        """
        for webhook in self._webhooks:
            if await self._storage.webhook_position(webhook.name, webhook.project) is None:
                await self._storage.save_webhook(webhook.name, webhook.project, positions.of(webhook.project))

    async def run(self) -> None:
        """Send until cancelled. Interrupted deliveries are repeated after the next start."""
        if not self._webhooks:
            return
        async with sending_client() as client, asyncio.TaskGroup() as group:
            for webhook in self._webhooks:
                group.create_task(self._keep_sending(webhook, client))

    async def _keep_sending(self, webhook: Webhook, client: httpx.AsyncClient) -> None:
        """Begin again after an unexpected error: here, or meanwhile at another node, from the saved position."""
        failures = 0
        while True:
            began = monotonic()
            sender = _Sender(webhook, self._storage, self._feed, client, self._count, self._random, self._traces)
            try:
                await self._jobs.run(f"webhook:{webhook.name}", sender.run)
                return
            except Exception:
                failures = failures + 1 if monotonic() < began + _CALM_SECONDS else 1
                pause = backoff(failures, self._random())
                log.exception("webhook %s has stopped, and begins again in %.0f s", webhook.name, pause)
                self._count(webhook.name, "stopped", None)
            await asyncio.sleep(pause)


class _Sender:
    """One webhook."""

    def __init__(
        self,
        webhook: Webhook,
        storage: Storage,
        feed: Feed,
        client: httpx.AsyncClient,
        count: CountDelivery,
        random: Callable[[], float],
        traces: DeliveryTraces | None,
    ) -> None:
        self._webhook = webhook
        self._storage = storage
        self._feed = feed
        self._client = client
        self._count = count
        self._traces = traces
        self._failures = FailureLog(webhook.name)
        self._away = False  # whether the storage failed last time
        self._random = random
        self._unfollow: Callable[[], None] = lambda: None
        self._wake = asyncio.Event()
        self._under_way = BackgroundTasks(self._unsettled)
        self._fault: BaseException | None = None
        self._saved = 0
        self._saved_at = 0.0
        self._news = False  # whether an event was settled since the last save

    async def run(self) -> None:
        """Send until cancelled; then save the position. Raises what nobody expected."""
        project = self._webhook.project
        unsubscribe = self._feed.subscribe(lambda owner, event: self._wake.set() if owner == project else None)
        deliveries: Deliveries | None = None
        try:
            deliveries = Deliveries(await self._begin(), self._webhook.attempts)
            while True:
                self._wake.clear()
                await self._read(deliveries)
                self._send(deliveries)
                await self._save(deliveries, monotonic())
                await self._sleep(deliveries)
                if self._fault is not None:
                    raise self._fault
        finally:
            unsubscribe()
            self._unfollow()
            self._under_way.cancel()
            await self._under_way.wait()
            if deliveries is not None:
                await self._save(deliveries, None)

    async def _begin(self) -> int:
        name, project = self._webhook.name, self._webhook.project
        while True:
            try:
                self._unfollow = await self._feed.follow(project)
                saved = await self._storage.webhook_position(name, project)
                if saved is not None:
                    await self._feed.reached(project, saved)
                position = self._first(saved, (await self._storage.span(project)).oldest)
                if position != saved:
                    await self._storage.save_webhook(name, project, position)
            except CollabError as error:
                self._unfollow()
                self._wait_for_storage(error)
                await asyncio.sleep(_STORAGE_SECONDS)
            else:
                self._away = False
                self._saved = position
                return position

    def _wait_for_storage(self, error: CollabError) -> None:
        if not self._away:
            log.error("webhook %s waits for the storage: %s", self._webhook.name, error)
        self._away = True

    def _first(self, saved: int | None, oldest: int) -> int:
        """Position after which to begin."""
        newest = self._feed.position(self._webhook.project)
        if saved is None:  # a new webhook receives events from now on
            return newest
        if saved < oldest:
            log.error("webhook %s was inactive too long: some of its events have been deleted", self._webhook.name)
            return oldest
        if saved > newest:
            log.error("webhook %s has received events that the record does not contain", self._webhook.name)
            return newest
        return saved

    async def _read(self, deliveries: Deliveries) -> None:
        """Add new events, as far as there is room."""
        project = self._webhook.project
        while deliveries.read_to < (known := self._feed.position(project)) and (room := deliveries.room):
            limit = min(room, _BATCH)
            try:
                found = await self._storage.events(project, deliveries.read_to, limit=limit)
            except CollabError as error:
                self._wait_for_storage(error)
                asyncio.get_running_loop().call_later(_STORAGE_SECONDS, self._wake.set)
                return
            self._away = False
            wanted = [(project, event) for event in found if self._webhook.wants(project, event)]
            last = found[-1].position if found else 0
            # fewer than requested means there are no more, up to the position known before the read
            deliveries.take(wanted, last if len(found) == limit else max(last, known), monotonic())
            self._send(deliveries)

    def _send(self, deliveries: Deliveries) -> None:
        while len(self._under_way) < self._webhook.concurrency:
            parcel = deliveries.next(monotonic())
            if parcel is None:
                return
            self._under_way.spawn(self._deliver(deliveries, parcel))

    def _unsettled(self, error: BaseException) -> None:
        self._fault = error  # its event would wait for ever, and later ones of its entity with it
        self._wake.set()

    async def _deliver(self, deliveries: Deliveries, parcel: Parcel) -> None:
        try:
            await self._settle(deliveries, parcel)
        finally:
            self._wake.set()

    async def _settle(self, deliveries: Deliveries, parcel: Parcel) -> None:
        if self._traces is None:
            reason, kind, retry_after = await self._attempt(parcel)
        else:
            with self._traces.attempt(self._webhook.name, parcel.project, parcel.event, parcel.failures) as trace:
                reason, kind, retry_after = await self._attempt(parcel, trace.traceparent)
                if kind is not None:
                    trace.failed(kind)
        self._news = True
        if reason is None:
            deliveries.sent(parcel)
            self._count(self._webhook.name, "taken", None)
            if line := self._failures.taken():
                log.warning("%s", line)
            return
        now = monotonic()
        dead = deliveries.failed(parcel, reason, now, self._random(), retry_after)
        if dead is None:
            self._count(self._webhook.name, "failed", kind)
            if line := self._failures.failed(reason, now):
                log.warning("%s", line)
            return
        self._count(self._webhook.name, "given_up", kind)
        event = parcel.event
        if line := self._failures.gave_up(f"version {event.version} of {event.collection}/{event.id}", reason, now):
            log.error("%s", line)

    async def _attempt(self, parcel: Parcel, traceparent: str | None = None) -> Attempt:
        try:
            return await post(
                self._client, self._webhook, self._feed.epoch, parcel.project, parcel.event, traceparent=traceparent
            )
        except Exception as error:
            log.exception("webhook %s could not send an event", self._webhook.name)
            return Attempt(self._webhook.conceal(f"{type(error).__name__}: {error}")[:500], "internal")

    async def _save(self, deliveries: Deliveries, now: float | None) -> None:
        """Save the position: at intervals, and, with ``now`` ``None``, at the end."""
        position = deliveries.position
        if position == self._saved:
            return
        if now is not None:
            if now < self._saved_at + _SAVE_SECONDS:
                return
            if not self._news and position < self._saved + _SAVE_EVENTS:
                return
            self._saved_at = now
        at = time()
        dead = [DeadLetter(self._webhook.name, dead.event, dead.project, dead.reason, at) for dead in deliveries.dead()]
        self._news = False
        try:
            await self._storage.save_webhook(self._webhook.name, self._webhook.project, position, dead)
        except CollabError as error:
            self._news = True
            self._wait_for_storage(error)
        else:
            self._away = False
            self._saved = position
            deliveries.saved(position)

    async def _sleep(self, deliveries: Deliveries) -> None:
        """Wait until there is something to do."""
        until = []
        due = deliveries.due()
        if due is not None and len(self._under_way) < self._webhook.concurrency:
            until.append(due)
        if self._news and deliveries.position != self._saved:
            until.append(self._saved_at + _SAVE_SECONDS)
        wait = None if not until else max(0.0, min(until) - monotonic())
        try:
            async with asyncio.timeout(wait):
                await self._wake.wait()
        except TimeoutError:
            pass


def sending_client() -> httpx.AsyncClient:
    """What :func:`post` sends with."""
    return httpx.AsyncClient(limits=httpx.Limits(max_connections=None), headers={"user-agent": "collab"})


async def post(
    client: httpx.AsyncClient,
    webhook: Webhook,
    epoch: str,
    project: str,
    event: EntityEvent,
    *,
    traceparent: str | None = None,
) -> Attempt:
    """Send an event once.

    ``epoch`` is that of the record: the same event has the same ``webhook-id`` each time. ``traceparent`` (W3C Trace
    Context) names the span of this attempt.
    """
    body = body_of(project, event)
    message = message_id(epoch, project, event.position)
    headers = {"content-type": "application/json", **signed(body, message, int(time()), webhook.secrets)}
    if traceparent is not None:
        headers["traceparent"] = traceparent
    try:
        async with (
            asyncio.timeout(webhook.timeout_seconds),
            client.stream("POST", webhook.url, content=body, headers=headers, timeout=None) as response,
        ):
            size = 0
            async for chunk in response.aiter_raw():
                size += len(chunk)
                if size > _ANSWER_BYTES:
                    break
    except TimeoutError:
        return Attempt(f"no answer within {webhook.timeout_seconds:g} s", "timeout")
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        return Attempt(webhook.conceal(f"{type(error).__name__}: {error}")[:500], "unreachable")
    if response.is_success:
        return Attempt()
    kind: FailureKind = "5xx" if response.is_server_error else "4xx" if response.is_client_error else "3xx"
    return Attempt(f"HTTP status {response.status_code}", kind, _seconds(response.headers.get("retry-after", "")))


def _seconds(retry_after: str) -> float:
    """Parse ``Retry-After``, if it is in seconds."""
    return float(retry_after) if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 10 else 0.0
