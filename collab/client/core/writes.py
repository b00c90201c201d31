"""Uncommitted own writes: their order, and their effect on rows. Pure.

Writes are sent in the order in which they were made. A write waits while an earlier write to the same entity is
unanswered, because its base is the version which that one creates. When a link breaks, unanswered writes return to
the queue; they are sent again with the same ``request`` (idempotency key), so they take effect once.

A write stays applied to the rows of its collection (:mod:`collab.client.core.overlay`) until every view of it has
received it. No timer removes it: time only decides when a list that still needs it is fetched again.
"""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

import msgspec

from collab.client.core.overlay import Op
from collab.errors import RateLimitExceeded
from collab.wire.realtime.messages import Create, Delete, Restore, Update
from collab.wire.realtime.values import Written

WriteMessage: TypeAlias = Create | Update | Delete | Restore
EntityPath: TypeAlias = tuple[str, str]

MOST_IN_FLIGHT = 64
LATE_SECONDS = 2.0
"""After this time, a list that has not received a committed write is fetched again."""
MOST_KEPT = 1000
"""Maximum number of committed writes kept for lists that have not received them."""


class Sent(NamedTuple):
    """A write that was answered."""

    message: WriteMessage
    key: EntityPath


class Writes:
    """The queue of own writes, at most ``limit``."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._queue: deque[int] = deque()
        self._unanswered: OrderedDict[int, WriteMessage] = OrderedDict()
        self._in_flight: dict[EntityPath, int] = {}
        self._followers: dict[EntityPath, int] = {}  # number of unanswered writes of each entity
        self._ops: OrderedDict[int, Op] = OrderedDict()
        self._late: deque[tuple[float, int]] = deque()  # when each committed write becomes late
        self.commits = 0
        """Number of own writes known to be committed."""

    def __len__(self) -> int:
        return len(self._unanswered)

    def __contains__(self, ticket: object) -> bool:
        return ticket in self._unanswered

    def add(self, message: WriteMessage, at: str) -> None:
        """Queue a write made at ``at`` (RFC 3339). Raises :class:`RateLimitExceeded` if the queue is full."""
        if len(self._unanswered) >= self._limit:
            raise RateLimitExceeded(f"{self._limit} writes are already queued", limit=self._limit)
        key = key_of(message)
        self._queue.append(message.id)
        self._unanswered[message.id] = message
        self._followers[key] = self._followers.get(key, 0) + 1
        op = Op.of(message, at)
        if op is not None:
            self._ops[message.id] = op

    def ready(self) -> Iterator[WriteMessage]:
        """Yield the writes that may be sent now, in order, and mark them as sent."""
        while self._queue and len(self._in_flight) < MOST_IN_FLIGHT:
            message = self._unanswered[self._queue[0]]
            key = key_of(message)
            if key in self._in_flight:
                return
            self._queue.popleft()
            self._in_flight[key] = message.id
            yield message

    def answered(self, ticket: int, written: Written | None, now: float) -> Sent:
        """A write was committed, or (``None``) refused."""
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
                self.commits += 1
                self._ops[ticket] = self._ops[ticket].committed(written, self.commits)
                self._late.append((now + LATE_SECONDS, ticket))
            if key in self._followers:
                self._have_seen(key, written.version)
        return Sent(message, key)

    def again(self, ticket: int) -> None:
        """The server could not accept a write now; put it back in its place in the queue."""
        message = self._unanswered[ticket]
        del self._in_flight[key_of(message)]
        insort(self._queue, ticket)

    def link_lost(self) -> None:
        """Put unanswered writes back into the queue, in order, before all others."""
        self._in_flight.clear()
        self._queue = deque(self._unanswered)

    def clear(self) -> list[int]:
        """Drop all writes; returns their ids."""
        tickets = list(self._unanswered)
        self._queue.clear()
        self._unanswered.clear()
        self._in_flight.clear()
        self._followers.clear()
        self._ops.clear()
        self._late.clear()
        return tickets

    def ops(self, collection: str) -> list[Op]:
        """Return the writes to apply to the rows of a collection, in order."""
        return [op for op in self._ops.values() if op.collection == collection] if self._ops else []

    def collections(self) -> set[str]:
        """Return the collections with writes to apply."""
        return {op.collection for op in self._ops.values()}

    def told(self, collection: str, is_told: Callable[[Op], bool]) -> None:
        """Drop committed writes for which ``is_told`` returns true: every view has received them."""
        committed = [(ticket, op) for ticket, op in self._ops.items() if op.commit is not None]
        excess = len(committed) - MOST_KEPT
        for index, (ticket, op) in enumerate(committed):
            if index < excess or (op.collection == collection and is_told(op)):
                del self._ops[ticket]

    def late(self, now: float) -> set[str]:
        """Mark writes that were committed long enough ago. Returns the collections with late writes."""
        collections = set()
        while self._late and self._late[0][0] <= now:
            _, ticket = self._late.popleft()
            if ticket in self._ops:
                self._ops[ticket] = replace(self._ops[ticket], late=True)
                collections.add(self._ops[ticket].collection)
        return collections

    def late_at(self) -> float | None:
        """When :meth:`late` is due."""
        return self._late[0][0] if self._late else None

    def _have_seen(self, key: EntityPath, version: int) -> None:
        # Raise the base version past our own write: another session of ours may send the next write, and the server
        # would take this one for somebody else's.
        for ticket, message in self._unanswered.items():
            if isinstance(message, Update) and key_of(message) == key:
                self._unanswered[ticket] = msgspec.structs.replace(message, version=max(version, message.version or 0))


def key_of(message: WriteMessage) -> EntityPath:
    """Return which entity a write is about. Clients name what they create."""
    assert message.entity is not None
    return message.collection, message.entity


def written_of(result: Any) -> Written:
    """Read a server's answer to a write. Raises :class:`msgspec.ValidationError`."""
    return msgspec.convert(result, Written)
