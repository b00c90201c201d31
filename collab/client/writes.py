"""Writes that are not known to be committed yet: their order, and what the world looks like with them. Pure.

They leave in the order in which they were made. One that meets an earlier, unanswered write to the same entity waits
for its answer: what that one makes of the entity's version is what this one has seen. A broken link sends them back
into the queue; they are sent again under the same ``request`` name, so they have effect once.
"""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import msgspec

from collab.client.overlay import Op
from collab.errors import RateLimitExceeded
from collab.wire.realtime import Create, Delete, Restore, Update, Written

WriteMessage: TypeAlias = Create | Update | Delete | Restore
Key: TypeAlias = tuple[str, str]

MOST_IN_FLIGHT = 64
SETTLE_SECONDS = 2.0
"""How long a committed write is shown to a live query that has not been told of it: it may leave no trace there."""


class Sent(NamedTuple):
    """A write that is answered."""

    message: WriteMessage
    key: Key


class Writes:
    """The queue. ``limit`` writes may wait in it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._queue: deque[int] = deque()
        self._unanswered: OrderedDict[int, WriteMessage] = OrderedDict()
        self._in_flight: dict[Key, int] = {}
        self._followers: dict[Key, int] = {}  # how many unanswered writes an entity has
        self._ops: OrderedDict[int, Op] = OrderedDict()
        self._settling: deque[tuple[float, int]] = deque()  # until when what is committed is shown

    def __len__(self) -> int:
        return len(self._unanswered)

    def __contains__(self, ticket: object) -> bool:
        return ticket in self._unanswered

    def add(self, message: WriteMessage, at: str) -> None:
        """Queue a write made at ``at`` (RFC 3339). Raises :class:`RateLimitExceeded` when too many wait."""
        if len(self._unanswered) >= self._limit:
            raise RateLimitExceeded(f"{self._limit} writes wait to be saved already", limit=self._limit)
        key = key_of(message)
        self._queue.append(message.id)
        self._unanswered[message.id] = message
        self._followers[key] = self._followers.get(key, 0) + 1
        op = Op.of(message, at)
        if op is not None:
            self._ops[message.id] = op

    def ready(self) -> Iterator[WriteMessage]:
        """What may be sent now, in order; it counts as sent."""
        while self._queue and len(self._in_flight) < MOST_IN_FLIGHT:
            message = self._unanswered[self._queue[0]]
            key = key_of(message)
            if key in self._in_flight:
                return
            self._queue.popleft()
            self._in_flight[key] = message.id
            yield message

    def answered(self, ticket: int, written: Written | None, now: float) -> Sent:
        """A write has had its effect, or (``None``) was refused and has none."""
        message = self._unanswered.pop(ticket)
        key = key_of(message)
        if self._in_flight.get(key) == ticket:
            del self._in_flight[key]
        else:
            self._queue.remove(ticket)
        self._followers[key] -= 1
        if not self._followers[key]:
            del self._followers[key]
        if written is None:
            self._ops.pop(ticket, None)
        else:
            if ticket in self._ops:
                self._ops[ticket] = self._ops[ticket].committed(written)
                self._settling.append((now + SETTLE_SECONDS, ticket))
            if key in self._followers:
                self._have_seen(key, written.version)
        return Sent(message, key)

    def again(self, ticket: int) -> None:
        """A write could not be taken in now; it goes back to its place in the queue."""
        message = self._unanswered[ticket]
        del self._in_flight[key_of(message)]
        insort(self._queue, ticket)

    def link_lost(self) -> None:
        """What was sent and not answered will be sent again, in order, before all that waits."""
        self._in_flight.clear()
        self._queue = deque(self._unanswered)

    def clear(self) -> list[int]:
        """Give all up; returns what was given up."""
        tickets = list(self._unanswered)
        self._queue.clear()
        self._unanswered.clear()
        self._in_flight.clear()
        self._followers.clear()
        self._ops.clear()
        self._settling.clear()
        return tickets

    def ops(self, collection: str) -> list[Op]:
        """What lies over the rows of a collection, in order."""
        return [op for op in self._ops.values() if op.collection == collection] if self._ops else []

    def collections(self) -> set[str]:
        """In which collections something lies over the rows."""
        return {op.collection for op in self._ops.values()}

    def settle(self, now: float) -> set[str]:
        """Take away what was committed long enough ago. Returns the collections that this may change."""
        collections = set()
        while self._settling and self._settling[0][0] <= now:
            op = self._ops.pop(self._settling.popleft()[1], None)
            if op is not None:
                collections.add(op.collection)
        return collections

    def settles_at(self) -> float | None:
        """When :meth:`settle` has something to do."""
        return self._settling[0][0] if self._settling else None

    def _have_seen(self, key: Key, version: int) -> None:
        # Our own write came before: another session of ours may send the next one, and the server would take
        # the first for somebody else's.
        for ticket, message in self._unanswered.items():
            if isinstance(message, Update) and key_of(message) == key:
                self._unanswered[ticket] = msgspec.structs.replace(message, version=max(version, message.version or 0))


def key_of(message: WriteMessage) -> Key:
    """Which entity a write is about. Clients name what they create."""
    assert message.entity is not None
    return message.collection, message.entity


def written_of(result: Any) -> Written:
    """What a server answers to a write. Raises :class:`msgspec.ValidationError`."""
    return msgspec.convert(result, Written)
