"""What subscriptions of all kinds have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from collab.errors import CollabError, InvalidRequest
from collab.query.query import Condition
from collab.realtime.channels import Channels
from collab.realtime.entity_subscriptions import EncodeOnce, Follower
from collab.realtime.outbox import Frame, Outbox, Stream
from collab.realtime.reads import Caller
from collab.realtime.services import Close, Services
from collab.wire.realtime import Format, ServerMessage, Subscribed, encode

MOST_FIELDS = 200


class Clearable(Stream, Protocol):
    """A stream that can let go of what it holds."""

    def clear(self) -> None:
        """Let go of everything."""


@dataclass(slots=True, eq=False)
class Context:
    """The session of a subscription. ``ended`` ends one and says why; ``run`` runs work that nobody waits for."""

    services: Services
    outbox: Outbox
    channels: Channels
    form: Format
    caller: Callable[[], Caller]
    follower: Follower
    ended: Callable[[int, CollabError], None]
    run: Callable[[Callable[[], Awaitable[None]]], None]
    once: EncodeOnce = field(default_factory=EncodeOnce)

    def encode(self, message: ServerMessage) -> Frame:
        """A message in the form that the client speaks."""
        return encode(message, self.form)


class Filters:
    """Row filters of one caller, each asked for once."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._asked: dict[str, asyncio.Future[Condition]] = {}

    async def of(self, collection: str) -> Condition:
        """Which rows of a collection the caller may see. Raises :class:`collab.errors.PermissionDenied`."""
        asked = self._asked.get(collection)
        if asked is None:
            visible = self._context.services.records.visible(self._context.caller(), collection)
            asked = self._asked[collection] = asyncio.ensure_future(visible)
        return await asyncio.shield(asked)


class Opened:
    """One subscription. While it is ``corked`` nothing of it is sent: its confirmation comes first."""

    def __init__(self, context: Context, sub: int) -> None:
        self.context = context
        self.sub = sub
        self.corked = True
        self.closed = False
        self._closers: list[Close] = []

    @property
    def stream(self) -> Clearable:
        """What waits."""
        raise NotImplementedError

    async def open(self, filters: Filters) -> Subscribed:
        """Begin. Raises :class:`CollabError`."""
        raise NotImplementedError

    async def recheck(self, filters: Filters) -> None:
        """Rights may have changed. Raises :class:`CollabError` if it is not allowed any more."""

    def uncork(self) -> None:
        """Send what waits, and what comes."""
        self.corked = False
        if self.stream:
            self.context.outbox.wait(self.stream)

    def close(self) -> None:
        """End it; nothing of it is sent any more."""
        self.closed = True
        self.unwatch()
        self.context.outbox.forget(self.stream)
        self.stream.clear()

    def watch(self, close: Close) -> None:
        """``close`` ends what this subscription hears of."""
        if self.closed:
            close()
        else:
            self._closers.append(close)

    def unwatch(self) -> None:
        """Hear of nothing any more."""
        closers, self._closers = self._closers, []
        for close in closers:
            close()

    def offer(self, frame: Callable[[], Frame], keep: Callable[[], None]) -> None:
        """Send ``frame`` if it may go at once, else ``keep`` what it says in the stream."""
        if self.closed:
            return
        if self.corked or self.stream or not self.context.outbox.event(frame):
            keep()
            if not self.corked and not self.closed:
                self.context.outbox.wait(self.stream)


def check_fields(fields: tuple[str, ...] | None) -> None:
    """Raise :class:`InvalidRequest` for a selection that makes no sense."""
    if fields is not None and not 0 < len(fields) <= MOST_FIELDS:
        raise InvalidRequest(f"fields names 1 to {MOST_FIELDS} members")
