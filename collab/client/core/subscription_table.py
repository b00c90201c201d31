"""All subscriptions of a client: which to send on a new connection, and how to route their messages. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from collab.client.core.effects import Confirmed, Delayed, Delivery, Effect, Ended
from collab.client.core.failures import rebuild
from collab.client.core.overlay import Op
from collab.client.core.views import GroupsView, PeopleView, RowsView, View, read_event, view_of
from collab.errors import CollabError
from collab.wire.realtime import messages as realtime
from collab.wire.realtime import values as wire
from collab.wire.realtime.messages import Subscription
from collab.wire.realtime.values import AnyTarget, Subscribed

MOST_IN_ONE_MESSAGE = 256
MOST_SEEN = 10_000
RETRY_SECONDS = 1.0
"""Delay before a subscription that failed temporarily is retried."""


@dataclass(slots=True)
class _Sub:
    target: AnyTarget
    view: View
    cursor: str | None = None
    delayed: bool = False  # already reported as delayed
    seen: OrderedDict[str, int] = field(default_factory=OrderedDict)  # newest delivered version of each entity

    def is_news(self, entity: str, version: int) -> bool:
        """Whether this version is new: events may arrive again after a reconnect."""
        if self.seen.get(entity, 0) >= version:
            return False
        self.seen[entity] = version
        self.seen.move_to_end(entity)
        if len(self.seen) > MOST_SEEN:
            self.seen.popitem(last=False)
        return True


@dataclass(slots=True)
class SubscriptionTable:
    """All subscriptions by number. Numbers are never reused."""

    _subs: dict[int, _Sub] = field(default_factory=dict)
    _new: dict[int, None] = field(default_factory=dict)  # to subscribe
    _retry: dict[int, float] = field(default_factory=dict)
    _gone: list[int] = field(default_factory=list)  # to unsubscribe
    _renewed: set[int] = field(default_factory=set)  # subscribed again: ignore messages until the end is confirmed

    def add(self, sub: int, target: AnyTarget) -> None:
        """Add a subscription."""
        self._subs[sub] = _Sub(target, view_of(target))
        self._new[sub] = None

    def remove(self, sub: int) -> None:
        """Remove a subscription; later messages about it are ignored."""
        if self._subs.pop(sub, None) is None:
            return
        retried = self._retry.pop(sub, None) is not None
        if sub in self._new:
            del self._new[sub]
        elif not retried:
            self._gone.append(sub)

    def opened(self) -> None:
        """A connection has opened: subscribe to all again."""
        self._new = dict.fromkeys(self._subs)
        self._retry.clear()
        self._gone.clear()
        self._renewed.clear()

    def asks(self, commits: int) -> Iterator[tuple[Subscription, ...]]:
        """Yield the subscriptions to send now, one message at a time, and mark them as sent.

        ``commits`` is the number of own writes known to be committed.
        """
        while self._new:
            some = list(self._new)[:MOST_IN_ONE_MESSAGE]
            for sub in some:
                del self._new[sub]
                if (found := self._live(sub)) is not None:
                    found[1].asking(commits)
            yield tuple(Subscription(sub=sub, target=self._resuming(sub)) for sub in some)

    def cancels(self) -> tuple[int, ...]:
        """Return the subscriptions to cancel now, and mark them as cancelled."""
        gone, self._gone = tuple(self._gone), []
        return gone

    def cancelled(self, subs: Iterable[int]) -> None:
        """The server confirmed the end of these; later messages with their numbers are valid again."""
        self._renewed.difference_update(subs)

    def _resuming(self, sub: int) -> AnyTarget:
        known = self._subs[sub]
        if known.cursor is not None and isinstance(known.target, wire.Entities | wire.Custom | wire.System):
            return msgspec.structs.replace(known.target, cursor=known.cursor)
        return known.target

    def retry(self, now: float) -> None:
        """Queue temporarily failed subscriptions whose delay is over."""
        for sub in [sub for sub, at in self._retry.items() if at <= now]:
            del self._retry[sub]
            self._new[sub] = None

    def retries_at(self) -> float | None:
        """When :meth:`retry` is due."""
        return min(self._retry.values(), default=None)

    def answered(self, subs: Sequence[int], result: Any, now: float) -> Iterator[Effect]:
        """Process the answer to one message of :meth:`asks`. Raises :class:`msgspec.ValidationError`."""
        for said in msgspec.convert(result, list[Subscribed]):
            known = self._subs.get(said.sub)
            if known is None or said.sub not in subs:
                continue
            if said.error is not None:
                yield from self.failed(said.sub, rebuild(said.error), now)
                continue
            if known.cursor is None or not said.recovered:
                known.cursor = said.cursor
            known.delayed = False
            yield Confirmed(said.sub, said.recovered)

    def failed(self, sub: int, error: CollabError, now: float) -> Iterator[Effect]:
        """A subscription has failed, permanently or temporarily."""
        if sub not in self._subs:
            return
        if error.retryable:
            self._retry[sub] = now + RETRY_SECONDS
            if not self._subs[sub].delayed:
                self._subs[sub].delayed = True
                yield Delayed(sub, error)
        else:
            del self._subs[sub]
            yield Ended(sub, error)

    def event(self, message: realtime.Event) -> Iterator[Effect]:
        """Route an entity event. Raises :class:`msgspec.ValidationError`."""
        event = read_event(message)
        for sub in message.subs:
            known = self._subs.get(sub)
            if known is not None:
                known.cursor = message.cursor
                if known.is_news(event.id, event.version):
                    yield Delivery(sub, event)

    def custom(self, message: realtime.CustomEvent) -> Iterator[Effect]:
        """Route a custom event."""
        for sub in message.subs:
            known = self._subs.get(sub)
            if known is not None:
                known.cursor = message.cursor
                yield Delivery(sub, message.event)

    def system(self, message: realtime.SystemEvent) -> Iterator[Effect]:
        """Route a system event."""
        for sub in message.subs:
            known = self._subs.get(sub)
            if known is not None:
                known.cursor = message.cursor
                yield Delivery(sub, message.event)

    def value(self, subs: Iterable[int], value: Any) -> Iterator[Effect]:
        """Route a metric."""
        for sub in subs:
            if sub in self._subs:
                yield Delivery(sub, value)

    def people(self, message: realtime.People) -> Iterator[Effect]:
        """Route presence."""
        for sub in message.subs:
            known = self._subs.get(sub)
            if known is not None and isinstance(known.view, PeopleView):
                yield Delivery(sub, known.view.change(message))

    def groups(self, sub: int) -> GroupsView | None:
        """Return the groups of a live aggregate, unless messages about it are outdated."""
        known = self._subs.get(sub)
        view = None if known is None or sub in self._renewed else known.view
        return view if isinstance(view, GroupsView) else None

    def rows(self, sub: int) -> tuple[str, RowsView] | None:
        """Return the collection and the rows of a live query, unless messages about it are outdated."""
        return None if sub in self._renewed else self._live(sub)

    def _live(self, sub: int) -> tuple[str, RowsView] | None:
        known = self._subs.get(sub)
        if known is None or not isinstance(known.view, RowsView) or not isinstance(known.target, wire.Rows):
            return None
        return known.target.collection, known.view

    def live(self, collection: str) -> Iterator[tuple[int, RowsView]]:
        """Yield the live queries that show rows of a collection."""
        for sub in list(self._subs):
            if (found := self._live(sub)) is not None and collection in found[1].collections:
                yield sub, found[1]

    def shown(self, collection: str, ops: Callable[[Iterable[str]], Sequence[Op]]) -> Iterator[Effect]:
        """Apply own writes to the live queries that show rows of a collection; yield what changed.

        ``ops`` returns the own writes in collections.
        """
        for sub, view in self.live(collection):
            yield from self.show(sub, view, ops(view.collections))

    def show(self, sub: int, view: RowsView, ops: Sequence[Op]) -> Iterator[Effect]:
        """Yield the rows of a live query if they changed."""
        rows = view.shown(ops)
        if rows is not None:
            yield Delivery(sub, rows)
        if view.wants_renewal(ops):
            self.again(sub)

    def again(self, sub: int) -> None:
        """Subscribe again on this connection: the local state is outdated or inconsistent."""
        if sub in self._subs and sub not in self._new and sub not in self._retry:
            self._gone.append(sub)
            self._renewed.add(sub)
            self._new[sub] = None
