"""Subscriptions to entity events."""

from __future__ import annotations

from collab.access.rules import Access
from collab.errors import PermissionDenied, RateLimitExceeded
from collab.event import EntityEvent
from collab.names import RoomKey
from collab.query.query import Condition
from collab.realtime.matching.entity_index import ALL, Seen
from collab.realtime.sending.streams import EntityStream
from collab.realtime.subscriptions.base import Context, Filters, OpenSubscription, check_fields
from collab.records.entity_view import EntityView
from collab.wire.realtime.values import Entities, Subscribed

MOST_REPLAYED = 1000
"""Max events replayed on resume. If more were missed, none are replayed."""


class OpenedEntities(OpenSubscription):
    """Events of one entity, or of all in a collection."""

    def __init__(self, context: Context, sub: int, target: Entities) -> None:
        super().__init__(context, sub)
        self._target = target
        self._filter: str | None = None
        self._follows = False
        self._project = context.caller.identity.project
        feed = context.hub.entities.feed
        self._stream = EntityStream(
            sub, feed.position(self._project), encode=context.encode, cursor=feed.cursor, full=self._overflowed
        )

    @property
    def stream(self) -> EntityStream:
        """Waiting events."""
        return self._stream

    async def open(self, filters: Filters) -> Subscribed:
        """Start; with a cursor, replay missed events."""
        target, feed = self._target, self.context.hub.entities.feed
        check_fields(target.fields)
        if target.cursor is not None:
            await feed.catch_up(self._project, target.cursor)
        where = await self._visible(filters)
        # no await from here on: every later event is delivered
        now = self._stream.position = feed.position(self._project)
        view = self._look(where)
        if target.cursor is None:
            return Subscribed(sub=self.sub, cursor=feed.cursor(now))
        after = feed.parse(self._project, target.cursor)
        if after is None or not await self._replay(view, after, now):
            return Subscribed(sub=self.sub, cursor=feed.cursor(now), recovered=False)
        return Subscribed(sub=self.sub, cursor=feed.cursor(after))

    async def recheck(self, filters: Filters) -> None:
        """Apply a changed row filter."""
        where = await self._visible(filters)
        if not self.closed and repr(where) != self._filter:
            self.unwatch()
            self._look(where)

    def saw(self, event: EntityEvent) -> None:
        """An event was sent. Stop following the channels of an entity that was deleted or left the view."""
        if self._target.entity != ALL and not self.closed:
            self._follow(event.type != "deleted")

    def deliver(self, seen: Seen) -> None:
        """Queue an event that cannot be sent immediately."""
        self._stream.add(seen.event, seen.permissions, whole=self.corked)
        if not self.corked and not self.closed:
            self.context.outbox.wait(self._stream)

    def close(self) -> None:
        """End it."""
        super().close()
        self._follow(False)

    def _follow(self, follow: bool) -> None:
        if follow == self._follows:
            return
        key = RoomKey(self.context.caller.identity.project, self._target.collection, self._target.entity)
        if follow:
            self.context.channels.follow(key)
        else:
            self.context.channels.unfollow(key)
        self._follows = follow

    async def _visible(self, filters: Filters) -> Condition:
        target, records = self._target, self.context.hub.records
        if (
            target.entity != ALL
            and await records.access(self.context.caller, target.collection, target.entity) < Access.READ
        ):
            raise PermissionDenied(f"this identity may not read {target.collection}/{target.entity}")
        return await filters.of(target.collection)

    def _look(self, where: Condition) -> EntityView:
        target, identity = self._target, self.context.caller.identity
        self._filter = repr(where)
        view = EntityView(where, target.fields, identity if target.include_permissions else None)
        self.watch(
            self.context.hub.entities.subscribe(
                identity.project, target.collection, target.entity, self.context.follower, self.sub, view
            )
        )
        if target.entity != ALL and not self.closed:
            self._follow(True)
        return view

    async def _replay(self, view: EntityView, after: int, now: int) -> bool:
        """Queue the events after ``after``, up to ``now``. Returns whether these are all."""
        if after >= now:
            return after == now
        target, past, owner = self._target, self.context.hub.past, self.context.caller.owner
        missed = await past.events(
            owner,
            after,
            limit=MOST_REPLAYED + 1,
            collection=target.collection,
            entity=None if target.entity == ALL else target.entity,
        )
        # read after the events, so none of them can have been deleted in between
        if after < (await past.span(self._project)).oldest:
            return False
        events = [event for event in missed if event.position <= now]
        if len(events) > MOST_REPLAYED:
            return False
        seen = [(view.see(event), view.permissions(owner.project, event)) for event in events]
        self._stream.replay(after, [(event, permissions) for event, permissions in seen if event is not None])
        return True

    def _overflowed(self) -> None:
        cursor = self.context.hub.entities.feed.cursor(self._stream.position)
        self.context.ended(self.sub, RateLimitExceeded("too many queued events: subscribe again", cursor=cursor))
