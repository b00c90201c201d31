"""Subscriptions outside the record: custom and system events, metrics, and presence."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import msgspec

from collab.access.identity import Identity
from collab.errors import CollabError, RateLimitExceeded, Unavailable
from collab.realtime.sending.streams import LatestStream, PeopleStream, QueueStream
from collab.realtime.subscriptions.base import Context, Filters, OpenSubscription
from collab.realtime.topics.custom_events import check_subscribe
from collab.realtime.topics.system import SCHEMA_UPDATED, read_versions, write_versions
from collab.wire.realtime.messages import CustomEvent, Metric, People, SystemEvent
from collab.wire.realtime.values import Analytics, Custom, Presence, Subscribed, System

_MOST_SYSTEM_EVENTS = 100


class _Told(NamedTuple):
    event: dict[str, Any]
    cursor: str


class OpenedCustom(OpenSubscription):
    """Custom events of one type, in the session's channels."""

    def __init__(self, context: Context, sub: int, target: Custom) -> None:
        super().__init__(context, sub)
        self._target = target
        self._cursor = ""  # everything up to here was sent
        self._stream: QueueStream[_Told] = QueueStream(self._frame, full=self._overflowed)

    @property
    def stream(self) -> QueueStream[Any]:
        """Waiting events."""
        return self._stream

    @property
    def identity(self) -> Identity:
        """The session's identity."""
        return self.context.caller.identity

    @property
    def channels(self) -> Collection[str]:
        """The session's channels."""
        return self.context.channels

    async def open(self, filters: Filters) -> Subscribed:
        """Start; with a cursor, replay missed events."""
        resumed = await self.context.hub.events.resume(self, self._target.event, self._target.cursor)
        self._cursor = resumed.cursor
        self.watch(resumed.end)
        for sent in resumed.events:
            self._stream.add(_Told(sent.event, sent.cursor))
        return Subscribed(sub=self.sub, cursor=resumed.cursor, recovered=resumed.recovered)

    async def recheck(self, filters: Filters) -> None:
        """Check whether the type is still allowed."""
        check_subscribe(self.identity, self._target.event)

    def missed(self) -> None:
        """End it: who subscribes again is told that events may be missing."""
        self.context.ended(self.sub, Unavailable("events may be missing: subscribe again", cursor=self._cursor))

    def custom(self, event: dict[str, Any], cursor: str) -> None:
        """Send an event, which is shared with others."""
        told = _Told(event, cursor)
        self.offer(lambda: self._frame(told), lambda: self._stream.add(told))

    def _frame(self, told: _Told) -> bytes | str:
        self._cursor = told.cursor
        event: Any = self.context.once.encode(told.event, self.context.form, None, lambda: told.event)
        return self.context.encode(CustomEvent(subs=(self.sub,), cursor=told.cursor, event=event))

    def _overflowed(self) -> None:
        self.context.ended(self.sub, RateLimitExceeded("too many queued events: subscribe again", cursor=self._cursor))


class OpenedSystem(OpenSubscription):
    """System events of one type."""

    def __init__(self, context: Context, sub: int, target: System) -> None:
        super().__init__(context, sub)
        self._target = target
        self._known: dict[str, int] = {}  # versions of declarations that the client has received
        self._stream: QueueStream[dict[str, Any]] = QueueStream(
            self._frame, full=self._overflowed, limit=_MOST_SYSTEM_EVENTS
        )

    @property
    def stream(self) -> QueueStream[Any]:
        """Waiting events."""
        return self._stream

    async def open(self, filters: Filters) -> Subscribed:
        """Start; with a cursor, send declarations that changed since, because changing one needs a restart."""
        identity, target = self.context.caller.identity, self._target
        hub = self.context.hub
        self.watch(hub.system.subscribe(identity.project, target.event, self._tell, user_id=identity.user_id))
        if target.event != SCHEMA_UPDATED:
            return Subscribed(sub=self.sub)
        declared = {name: said["version"] for name, said in hub.schema(identity.project).items()}
        known = declared if target.cursor is None else read_versions(target.cursor)
        self._known = declared if known is None else known
        for name, version in declared.items():
            if self._known.get(name) != version:
                self._tell(hub.system.schema_event(name, version))
        return Subscribed(sub=self.sub, cursor=write_versions(self._known), recovered=known is not None)

    def _tell(self, event: dict[str, Any]) -> None:
        self.offer(lambda: self._frame(event), lambda: self._stream.add(event))

    def _frame(self, event: dict[str, Any]) -> bytes | str:
        cursor = None
        if self._target.event == SCHEMA_UPDATED:
            self._known = {**self._known, event["entityName"]: event["version"]}
            cursor = write_versions(self._known)
        return self.context.encode(SystemEvent(subs=(self.sub,), event=event, cursor=cursor))

    def _overflowed(self) -> None:
        self.context.ended(self.sub, RateLimitExceeded("too many queued events: subscribe again"))


class OpenedAnalytics(OpenSubscription):
    """One metric."""

    def __init__(self, context: Context, sub: int, target: Analytics) -> None:
        super().__init__(context, sub)
        self._target = target
        self._stream: LatestStream[int | float] = LatestStream(self._frame)

    @property
    def stream(self) -> LatestStream[Any]:
        """The waiting value."""
        return self._stream

    async def open(self, filters: Filters) -> Subscribed:
        """Start; the current value is sent first."""
        project = self.context.caller.identity.project
        self.watch(self.context.hub.analytics.subscribe(project, self._target.metric, self._tell))
        return Subscribed(sub=self.sub)

    def _tell(self, value: int | float) -> None:
        self.offer(lambda: self._frame(value), lambda: self._stream.add(value))

    def _frame(self, value: int | float) -> bytes | str:
        return self.context.encode(Metric(subs=(self.sub,), value=value))


class OpenedPresence(OpenSubscription):
    """Presence in a room."""

    def __init__(self, context: Context, sub: int, target: Presence) -> None:
        super().__init__(context, sub)
        self._target = target
        self._stream = PeopleStream(self._frame)

    @property
    def stream(self) -> PeopleStream:
        """Waiting changes."""
        return self._stream

    async def open(self, filters: Filters) -> Subscribed:
        """Start; everybody in the room is sent first."""
        await self._watch()
        return Subscribed(sub=self.sub)

    async def recheck(self, filters: Filters) -> None:
        """Check whether the room is still allowed; if so, send everybody again."""
        await self._watch()

    async def _watch(self) -> None:
        self.unwatch()
        presence, caller = self.context.hub.presence, self.context.caller
        self.watch(await presence.subscribe(caller, self._target.room, self._tell, self._ended))

    def _ended(self, error: CollabError) -> None:
        self.context.ended(self.sub, error)

    def _tell(self, people: People) -> None:
        self.offer(lambda: self._frame(people), lambda: self._stream.add(people))

    def _frame(self, people: People) -> bytes | str:
        return self.context.encode(msgspec.structs.replace(people, subs=(self.sub,)))
