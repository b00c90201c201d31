"""Who is told of which entity events: an index, so that an event costs by whom it concerns."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from typing import Any, Protocol

import msgspec

from collab.entities.feed import Feed
from collab.event import EntityEvent
from collab.realtime.entity_view import EntityView
from collab.realtime.outbox import Frame
from collab.wire.realtime import Event, Format, encode

log = logging.getLogger(__name__)

ALL = "*"

_json = msgspec.json.Encoder()
_msgpack = msgspec.msgpack.Encoder()

_Subs = dict["Follower", tuple[int, ...]]


class Seen:
    """An event as it is seen in one view, encoded once for all who see it so."""

    __slots__ = ("_frames", "_raw", "cursor", "event", "permissions")

    def __init__(self, event: EntityEvent, cursor: str, permissions: dict[str, bool] | None) -> None:
        self.event = event
        self.cursor = cursor
        self.permissions = permissions
        self._raw: dict[Format, msgspec.Raw] = {}
        self._frames: dict[tuple[Format, tuple[int, ...]], Frame] = {}

    def frame(self, form: Format, subs: tuple[int, ...]) -> Frame:
        """The message for these subscriptions of a client."""
        frame = self._frames.get((form, subs))
        if frame is None:
            raw = self._raw.get(form)
            if raw is None:
                raw = self._raw[form] = msgspec.Raw((_json if form == "json" else _msgpack).encode(self.event))
            message = Event(subs=subs, cursor=self.cursor, event=raw, permissions=self.permissions)
            frame = self._frames[form, subs] = encode(message, form)
        return frame


class Follower(Protocol):
    """A session that is told of entity events."""

    def entity_event(self, subs: tuple[int, ...], seen: Seen) -> None:
        """Take an event for these of its subscriptions. Must not wait."""


class _Topic:
    """The subscriptions to one collection: to all of it, and to single entities."""

    __slots__ = ("all", "one", "views")

    def __init__(self) -> None:
        self.views: dict[Hashable, tuple[EntityView, int]] = {}  # with the number of subscriptions that use it
        self.all: dict[EntityView, _Subs] = {}
        self.one: dict[str, dict[EntityView, _Subs]] = {}


class EntitySubscriptions:
    """All subscriptions to entities of one process, fed by ``feed``."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self._topics: dict[tuple[str, str], _Topic] = {}
        self._close = feed.subscribe(self._tell)

    def close(self) -> None:
        """Tell nobody any more."""
        self._close()

    def __len__(self) -> int:
        """How many subscriptions there are."""
        return sum(uses for topic in self._topics.values() for _, uses in topic.views.values())

    def subscribe(
        self, project: str, collection: str, entity: str, follower: Follower, sub: int, view: EntityView
    ) -> Callable[[], None]:
        """Tell ``follower`` of events of an entity, or all in a collection, from now on. Returns what ends it."""
        key = (project, collection)
        topic = self._topics.get(key)
        if topic is None:
            topic = self._topics[key] = _Topic()
        shared, uses = topic.views.get(view.key, (view, 0))
        topic.views[shared.key] = (shared, uses + 1)
        views = topic.all if entity == ALL else topic.one.setdefault(entity, {})
        subs = views.setdefault(shared, {})
        subs[follower] = (*subs.get(follower, ()), sub)
        open_ = True

        def close() -> None:
            nonlocal open_
            if open_:
                open_ = False
                self._remove(key, entity, follower, sub, shared)

        return close

    def _remove(self, key: tuple[str, str], entity: str, follower: Follower, sub: int, view: EntityView) -> None:
        topic = self._topics[key]
        views = topic.all if entity == ALL else topic.one[entity]
        left = tuple(other for other in views[view][follower] if other != sub)
        if left:
            views[view][follower] = left
        else:
            del views[view][follower]
            if not views[view]:
                del views[view]
        if entity != ALL and not views:
            del topic.one[entity]
        uses = topic.views[view.key][1] - 1
        if uses:
            topic.views[view.key] = (view, uses)
        else:
            del topic.views[view.key]
            if not topic.views:
                del self._topics[key]

    def _tell(self, project: str, event: EntityEvent) -> None:
        topic = self._topics.get((project, event.collection))
        if topic is None:
            return
        one = topic.one.get(event.id, {})
        cursor = self.feed.cursor(event.position)
        for view in [*topic.all, *(view for view in one if view not in topic.all)]:
            seen_as = view.see(event)
            if seen_as is None:
                continue
            seen = Seen(seen_as, cursor, view.permissions(project, event))
            every, single = topic.all.get(view, {}), one.get(view, {})
            told = [(one, (*subs, *single[one]) if one in single else subs) for one, subs in every.items()]
            told += [(follower, subs) for follower, subs in single.items() if follower not in every]
            for follower, subs in told:
                try:
                    follower.entity_event(subs, seen)
                except Exception:
                    log.exception("a session failed on %s/%s version %d", event.collection, event.id, event.version)


class EncodeOnce:
    """Remembers how the newest value was encoded, for the others who are told the same object."""

    __slots__ = ("_encoded", "_value")

    def __init__(self) -> None:
        self._value: Any = None
        self._encoded: dict[Hashable, msgspec.Raw] = {}

    def encode(self, value: Any, form: Format, part: Hashable, make: Callable[[], Any]) -> msgspec.Raw:
        """``make()``, which is part ``part`` of ``value``, as the inside of a message."""
        if self._value is not value:
            self._value = value
            self._encoded = {}
        raw = self._encoded.get((form, part))
        if raw is None:
            raw = self._encoded[form, part] = msgspec.Raw((_json if form == "json" else _msgpack).encode(make()))
        return raw
