"""Index of subscriptions to entities: an event costs time only for the subscriptions that it matches."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from typing import Any, Protocol

import msgspec

from collab.entities.feed import Feed
from collab.event import EntityEvent
from collab.records.entity_view import EntityView
from collab.wire.realtime.encoding import Format, Frame
from collab.wire.realtime.messages import Event, ServerMessage

log = logging.getLogger(__name__)

ALL = "*"

_json = msgspec.json.Encoder()
_msgpack = msgspec.msgpack.Encoder()

_Subs = dict["Follower", tuple[int, ...]]

Encode = Callable[[ServerMessage], Frame]
"""Encodes a message. Followers that pass the same function share frames."""


class Seen:
    """An event as one view shows it, encoded once for all subscribers of that view."""

    __slots__ = ("_frames", "_raw", "cursor", "event", "permissions")

    def __init__(self, event: EntityEvent, cursor: str, permissions: dict[str, bool] | None) -> None:
        self.event = event
        self.cursor = cursor
        self.permissions = permissions
        self._raw: dict[Format, msgspec.Raw] = {}
        self._frames: dict[tuple[Encode, tuple[int, ...]], Frame] = {}

    def frame(self, form: Format, encode: Encode, subs: tuple[int, ...]) -> Frame:
        """Return the message for these subscriptions of a client, with the event encoded in ``form``."""
        frame = self._frames.get((encode, subs))
        if frame is None:
            raw = self._raw.get(form)
            if raw is None:
                raw = self._raw[form] = msgspec.Raw((_json if form == "json" else _msgpack).encode(self.event))
            message = Event(subs=subs, cursor=self.cursor, event=raw, permissions=self.permissions)
            frame = self._frames[encode, subs] = encode(message)
        return frame


class Follower(Protocol):
    """A session that receives entity events."""

    def entity_event(self, subs: tuple[int, ...], seen: Seen) -> None:
        """Receive an event for these of its subscriptions. Must not block."""


class _Topic:
    """The subscriptions in one collection: to all of it, and to single entities."""

    __slots__ = ("all", "one", "views")

    def __init__(self) -> None:
        self.views: dict[Hashable, tuple[EntityView, int]] = {}  # with the number of subscriptions
        self.all: dict[EntityView, _Subs] = {}
        self.one: dict[str, dict[EntityView, _Subs]] = {}


class EntitySubscriptions:
    """All subscriptions to entities of one process. ``feed`` delivers the events."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self._topics: dict[tuple[str, str], _Topic] = {}
        self._close = feed.subscribe(self._tell)

    def close(self) -> None:
        """Stop delivering events."""
        self._close()

    def __len__(self) -> int:
        """Number of subscriptions."""
        return sum(uses for topic in self._topics.values() for _, uses in topic.views.values())

    def subscribe(
        self, project: str, collection: str, entity: str, follower: Follower, sub: int, view: EntityView
    ) -> Callable[[], None]:
        """Send ``follower`` later events of an entity, or of all in a collection. Returns a function to end it."""
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
    """Caches the encodings of the newest value, because many subscribers receive the same object."""

    __slots__ = ("_encoded", "_value")

    def __init__(self) -> None:
        self._value: Any = None
        self._encoded: dict[Hashable, msgspec.Raw] = {}

    def encode(self, value: Any, form: Format, part: Hashable, make: Callable[[], Any]) -> msgspec.Raw:
        """Encode ``make()``, the part ``part`` of ``value``, for embedding in a message."""
        if self._value is not value:
            self._value = value
            self._encoded = {}
        raw = self._encoded.get((form, part))
        if raw is None:
            raw = self._encoded[form, part] = msgspec.Raw((_json if form == "json" else _msgpack).encode(make()))
        return raw
