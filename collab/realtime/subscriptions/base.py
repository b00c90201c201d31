"""Common parts of all kinds of subscriptions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from collab.errors import CollabError, InvalidRequest
from collab.query.query import MAX_FIELDS, Condition
from collab.realtime.hub import Hub
from collab.realtime.listeners import ignore
from collab.realtime.matching.entity_index import Encode, EncodeOnce, Follower, Seen
from collab.realtime.sending.outbox import SessionOutbox, Stream
from collab.realtime.topics.channels import Channels
from collab.records.reads import Caller
from collab.wire.realtime.encoding import Format, Frame
from collab.wire.realtime.values import Subscribed

Cancel = Callable[[], None]
"""Ends something. It may be called more than once."""


@dataclass(slots=True, eq=False)
class Context:
    """The owner of subscriptions, and how to send them.

    ``form`` encodes values, ``encode`` a whole message. ``ended`` ends a subscription with an error. ``run`` starts
    background work.
    """

    hub: Hub
    outbox: SessionOutbox
    channels: Channels
    form: Format
    encode: Encode
    caller: Caller
    follower: Follower
    ended: Callable[[int, CollabError], None]
    run: Callable[[Callable[[], Awaitable[None]]], None]
    once: EncodeOnce = field(default_factory=EncodeOnce)

    def detach(self) -> None:
        """The owner has left. Cut the references to it, so that it need not wait for the garbage collector."""
        self.follower = _NOBODY
        self.ended = self.run = ignore


class Filters:
    """Row filters of one caller; each is requested once."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._asked: dict[str, asyncio.Future[Condition]] = {}

    async def of(self, collection: str) -> Condition:
        """Return which rows of a collection the caller may see. Raises :class:`collab.errors.PermissionDenied`."""
        asked = self._asked.get(collection)
        if asked is None:
            visible = self._context.hub.records.visible(self._context.caller, collection)
            asked = self._asked[collection] = asyncio.ensure_future(visible)
        return await asyncio.shield(asked)


class OpenSubscription:
    """One subscription. While it is ``corked`` nothing is sent, because its confirmation must come first."""

    def __init__(self, context: Context, sub: int) -> None:
        self.context = context
        self.sub = sub
        self.corked = True
        self.closed = False
        self._closers: list[Cancel] = []

    @property
    def stream(self) -> Stream:
        """Waiting messages."""
        raise NotImplementedError

    async def open(self, filters: Filters) -> Subscribed:
        """Start. Raises :class:`CollabError`."""
        raise NotImplementedError

    async def recheck(self, filters: Filters) -> None:
        """Rights may have changed. Raises :class:`CollabError` if the subscription is no longer allowed."""

    def uncork(self) -> None:
        """Send waiting and later messages."""
        self.corked = False
        if self.stream:
            self.context.outbox.wait(self.stream)

    def close(self) -> None:
        """End it and drop waiting messages."""
        self.closed = True
        self.unwatch()
        self.context.outbox.forget(self.stream)
        self.stream.close()

    def watch(self, close: Cancel) -> None:
        """Register ``close``, which ends one source of this subscription."""
        if self.closed:
            close()
        else:
            self._closers.append(close)

    def unwatch(self) -> None:
        """End all sources."""
        closers, self._closers = self._closers, []
        for close in closers:
            close()

    def offer(self, frame: Callable[[], Frame], keep: Callable[[], None]) -> None:
        """Send ``frame`` if possible now, else ``keep`` its content in the stream."""
        if self.closed:
            return
        if self.corked or self.stream or not self.context.outbox.event(frame):
            keep()
            if not self.corked and not self.closed:
                self.context.outbox.wait(self.stream)


class _Nobody:
    """Follows after the owner of subscriptions has left."""

    def entity_event(self, subs: tuple[int, ...], seen: Seen) -> None: ...


_NOBODY = _Nobody()


def check_fields(fields: tuple[str, ...] | None) -> None:
    """Raise :class:`InvalidRequest` for an invalid selection of fields."""
    if fields is not None and not 0 < len(fields) <= MAX_FIELDS:
        raise InvalidRequest(f"fields must name 1 to {MAX_FIELDS} members")
