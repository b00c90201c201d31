"""All subscriptions of a client: what to ask for on a new connection, and what their messages mean. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from collab.client.failures import rebuild
from collab.client.overlay import Op
from collab.client.told import Confirmed, Delayed, Ended, Told, Value
from collab.client.views import PeopleView, RowsView, View, read_event, view_of
from collab.errors import CollabError
from collab.wire import realtime
from collab.wire.realtime import AnyTarget, Subscribed, Subscription

MOST_IN_ONE_MESSAGE = 256
MOST_SEEN = 10_000
RETRY_SECONDS = 1.0
"""When a subscription that failed for now is asked for again."""


@dataclass(slots=True)
class _Sub:
    target: AnyTarget
    view: View
    cursor: str | None = None
    delayed: bool = False  # and that was told
    seen: OrderedDict[str, int] = field(default_factory=OrderedDict)  # versions of entities that it was told of

    def is_news(self, entity: str, version: int) -> bool:
        """Whether this version was not told: after a reconnect events may come once more."""
        if self.seen.get(entity, 0) >= version:
            return False
        self.seen[entity] = version
        self.seen.move_to_end(entity)
        if len(self.seen) > MOST_SEEN:
            self.seen.popitem(last=False)
        return True


@dataclass(slots=True)
class Subscriptions:
    """By number. A number is used once."""

    _subs: dict[int, _Sub] = field(default_factory=dict)
    _new: dict[int, None] = field(default_factory=dict)  # to be asked for
    _retry: dict[int, float] = field(default_factory=dict)
    _gone: list[int] = field(default_factory=list)  # to be cancelled

    def add(self, sub: int, target: AnyTarget) -> None:
        """One more."""
        self._subs[sub] = _Sub(target, view_of(target))
        self._new[sub] = None

    def remove(self, sub: int) -> None:
        """One less; nothing more is told of it."""
        if self._subs.pop(sub, None) is None:
            return
        retried = self._retry.pop(sub, None) is not None
        if sub in self._new:
            del self._new[sub]
        elif not retried:
            self._gone.append(sub)

    def opened(self) -> None:
        """On a new connection all of them are new."""
        self._new = dict.fromkeys(self._subs)
        self._retry.clear()
        self._gone.clear()

    def asks(self) -> Iterator[tuple[Subscription, ...]]:
        """What is to be asked for now, a message at a time; it counts as asked."""
        while self._new:
            some = list(self._new)[:MOST_IN_ONE_MESSAGE]
            for sub in some:
                del self._new[sub]
            yield tuple(Subscription(sub=sub, target=self._resuming(sub)) for sub in some)

    def cancels(self) -> tuple[int, ...]:
        """What is to be cancelled now; it counts as cancelled."""
        gone, self._gone = tuple(self._gone), []
        return gone

    def _resuming(self, sub: int) -> AnyTarget:
        known = self._subs[sub]
        if known.cursor is not None and isinstance(known.target, realtime.Entities | realtime.Custom | realtime.System):
            return msgspec.structs.replace(known.target, cursor=known.cursor)
        return known.target

    def retry(self, now: float) -> None:
        """Ask again for what failed for a while."""
        for sub in [sub for sub, at in self._retry.items() if at <= now]:
            del self._retry[sub]
            self._new[sub] = None

    def retries_at(self) -> float | None:
        """When :meth:`retry` has something to do."""
        return min(self._retry.values(), default=None)

    def answered(self, subs: Sequence[int], result: Any, now: float) -> Iterator[Told]:
        """The answer to one message of :meth:`asks`. Raises :class:`msgspec.ValidationError`."""
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

    def failed(self, sub: int, error: CollabError, now: float) -> Iterator[Told]:
        """One has ended, for good or for a while."""
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

    def event(self, message: realtime.Event) -> Iterator[Told]:
        """An entity event. Raises :class:`msgspec.ValidationError`."""
        event = read_event(message)
        for sub in message.subs:
            known = self._subs.get(sub)
            if known is not None:
                known.cursor = message.cursor
                if known.is_news(event.id, event.version):
                    yield Value(sub, event)

    def custom(self, message: realtime.CustomEvent) -> Iterator[Told]:
        """A custom event."""
        for sub in message.subs:
            known = self._subs.get(sub)
            if known is not None:
                known.cursor = message.cursor
                yield Value(sub, message.event)

    def system(self, message: realtime.SystemEvent) -> Iterator[Told]:
        """A system event."""
        for sub in message.subs:
            known = self._subs.get(sub)
            if known is not None:
                known.cursor = message.cursor
                yield Value(sub, message.event)

    def value(self, subs: Iterable[int], value: Any) -> Iterator[Told]:
        """A number."""
        for sub in subs:
            if sub in self._subs:
                yield Value(sub, value)

    def people(self, message: realtime.People) -> Iterator[Told]:
        """Who is in a room."""
        for sub in message.subs:
            known = self._subs.get(sub)
            if known is not None and isinstance(known.view, PeopleView):
                yield Value(sub, known.view.change(message))

    def rows(self, sub: int) -> tuple[str, RowsView] | None:
        """The collection and the rows of a live query."""
        known = self._subs.get(sub)
        if known is None or not isinstance(known.view, RowsView) or not isinstance(known.target, realtime.Rows):
            return None
        return known.target.collection, known.view

    def live(self, collection: str) -> Iterator[tuple[int, RowsView]]:
        """The live queries of a collection."""
        for sub in list(self._subs):
            if (found := self.rows(sub)) is not None and found[0] == collection:
                yield sub, found[1]

    def shown(self, collection: str, ops: Sequence[Op]) -> Iterator[Told]:
        """What the own writes change for the live queries of a collection."""
        for sub, view in self.live(collection):
            rows = view.shown(ops)
            if rows is not None:
                yield Value(sub, rows)

    def again(self, sub: int) -> None:
        """Ask for a subscription anew, on this connection: what is known of it does not fit together."""
        if sub in self._subs:
            self._gone.append(sub)
            self._new[sub] = None
