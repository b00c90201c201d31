"""Subscriptions to events of entities."""

from __future__ import annotations

from collab.access.identity import Access
from collab.errors import PermissionDenied, RateLimitExceeded
from collab.names import RoomKey
from collab.query.query import Condition
from collab.realtime.entity_subscriptions import ALL, Seen
from collab.realtime.entity_view import EntityView
from collab.realtime.streams import EntityStream
from collab.realtime.subscription import Context, Filters, Opened, check_fields
from collab.wire.realtime import Entities, Subscribed

MOST_REPLAYED = 1000
"""Missed events that are told to who resumes; of more nothing is told."""


class OpenedEntities(Opened):
    """Events of one entity, or of all in a collection."""

    def __init__(self, context: Context, sub: int, target: Entities) -> None:
        super().__init__(context, sub)
        self._target = target
        self._filter: str | None = None
        self._follows: RoomKey | None = None
        feed = context.services.entities.feed
        self._stream = EntityStream(
            sub, feed.position, encode=context.encode, cursor=feed.cursor, full=self._overflowed
        )

    @property
    def stream(self) -> EntityStream:
        """What waits."""
        return self._stream

    async def open(self, filters: Filters) -> Subscribed:
        """Begin; with a cursor, with what was missed."""
        target, feed = self._target, self.context.services.entities.feed
        check_fields(target.fields)
        where = await self._visible(filters)
        # nothing is waited for from here on: what comes later than this position is heard of
        now = self._stream.position = feed.position
        view = self._look(where)
        if target.cursor is None:
            return Subscribed(sub=self.sub, cursor=feed.cursor(now))
        after = feed.parse(target.cursor)
        if after is None or not await self._replay(view, after, now):
            return Subscribed(sub=self.sub, cursor=feed.cursor(now), recovered=False)
        return Subscribed(sub=self.sub, cursor=feed.cursor(after))

    async def recheck(self, filters: Filters) -> None:
        """The row filter may be another one now."""
        where = await self._visible(filters)
        if not self.closed and repr(where) != self._filter:
            self.unwatch()
            self._look(where)

    def deliver(self, seen: Seen) -> None:
        """Take an event that is not sent at once."""
        self._stream.add(seen.event, seen.permissions, whole=self.corked)
        if not self.corked and not self.closed:
            self.context.outbox.wait(self._stream)

    def close(self) -> None:
        """End it."""
        super().close()
        if self._follows is not None:
            self.context.channels.unfollow(self._follows)
            self._follows = None

    async def _visible(self, filters: Filters) -> Condition:
        target, records = self._target, self.context.services.records
        if (
            target.entity != ALL
            and await records.access(self.context.caller(), target.collection, target.entity) < Access.READ
        ):
            raise PermissionDenied(f"this identity may not see {target.collection}/{target.entity}")
        return await filters.of(target.collection)

    def _look(self, where: Condition) -> EntityView:
        target, identity = self._target, self.context.caller().identity
        self._filter = repr(where)
        view = EntityView(where, target.fields, identity if target.include_permissions else None)
        self.watch(
            self.context.services.entities.subscribe(
                identity.project, target.collection, target.entity, self.context.follower, self.sub, view
            )
        )
        if target.entity != ALL and self._follows is None and not self.closed:
            self._follows = RoomKey(identity.project, target.collection, target.entity)
            self.context.channels.follow(self._follows)
        return view

    async def _replay(self, view: EntityView, after: int, now: int) -> bool:
        """Put the events behind ``after``, up to ``now``, into the stream. Whether these are all."""
        if after >= now:
            return after == now
        target, past, project = self._target, self.context.services.past, self.context.caller().identity.project
        missed = await past.events(
            after,
            limit=MOST_REPLAYED + 1,
            project=project,
            collection=target.collection,
            entity=None if target.entity == ALL else target.entity,
        )
        # asked for behind the events: none of them can have been forgotten in between
        if after < (await past.positions()).oldest:
            return False
        events = [event for _, event in missed if event.position <= now]
        if len(events) > MOST_REPLAYED:
            return False
        seen = [(view.see(event), view.permissions(project, event)) for event in events]
        self._stream.replay(after, [(event, permissions) for event, permissions in seen if event is not None])
        return True

    def _overflowed(self) -> None:
        cursor = self.context.services.entities.feed.cursor(self._stream.position)
        self.context.ended(self.sub, RateLimitExceeded("too many events wait: subscribe again", cursor=cursor))
