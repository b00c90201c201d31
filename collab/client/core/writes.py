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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

import msgspec

from collab.client.core.overlay import Op
from collab.errors import RateLimitExceeded
from collab.wire.realtime.messages import Create, Delete, Restore, Transaction, Update, WriteMany
from collab.wire.realtime.values import AnyWrite, UpdateOne, WriteResult, Written

WriteMessage: TypeAlias = Create | Update | Delete | Restore | WriteMany | Transaction
"""A request that writes: one entity, or several."""
EntityPath: TypeAlias = tuple[str, str]
_OpName: TypeAlias = tuple[int, int]
"""The request, and the number of the write in it."""

MOST_IN_FLIGHT = 64
LATE_SECONDS = 2.0
"""After this time, a list that has not received a committed write is fetched again."""
REMEMBERED_SECONDS = 23 * 3600.0
"""The server remembers the name of a write for a day; an hour of it is for its way, and for clocks of servers that
differ.
"""
MOST_KEPT = 1000
"""Maximum number of committed writes kept for lists that have not received them."""


class Sent(NamedTuple):
    """A request that was answered. ``outcomes``: each entity, and what was written; ``None``: it was refused."""

    message: WriteMessage
    outcomes: Sequence[tuple[EntityPath, Written | None]]

    @property
    def collections(self) -> list[str]:
        """The collections of the entities."""
        return list(dict.fromkeys(collection for (collection, _), _ in self.outcomes))


class Writes:
    """The queue of own writes. It takes no more once it has ``limit``."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._queue: deque[int] = deque()
        self._unanswered: OrderedDict[int, WriteMessage] = OrderedDict()
        self._in_flight: dict[EntityPath, int] = {}
        self._sent = 0  # number of requests in flight
        self._sent_at: dict[int, float] = {}  # when each was first sent, by the server's clock
        self._followers: dict[EntityPath, int] = {}  # number of unanswered requests about each entity
        self._ops: OrderedDict[_OpName, Op] = OrderedDict()
        self._late: deque[tuple[float, _OpName]] = deque()  # when each committed write becomes late
        self.commits = 0
        """Number of own writes known to be committed."""

    def __len__(self) -> int:
        return self._size

    def __contains__(self, ticket: object) -> bool:
        return ticket in self._unanswered

    def add(self, message: WriteMessage, at: str) -> None:
        """Queue a request made at ``at`` (RFC 3339). Raises :class:`RateLimitExceeded` if the queue is full."""
        if self._size >= self._limit:
            raise RateLimitExceeded(f"{self._limit} writes are already queued", limit=self._limit)
        self._queue.append(message.id)
        self._unanswered[message.id] = message
        self._size += len(writes_in(message))
        for key in keys_of(message):
            self._followers[key] = self._followers.get(key, 0) + 1
        for number, write in enumerate(writes_in(message)):
            op = Op.of(write, at)
            if op is not None:
                self._ops[message.id, number] = op

    def ready(self, server_time: float | None) -> Iterator[WriteMessage]:
        """Yield the requests that may be sent now, in order, and mark them as sent.

        ``server_time`` is in seconds since the epoch; ``None``: the server does not say.
        """
        while self._queue and self._sent < MOST_IN_FLIGHT:
            message = self._unanswered[self._queue[0]]
            keys = keys_of(message)
            if any(key in self._in_flight for key in keys):
                return
            self._queue.popleft()
            self._in_flight.update(dict.fromkeys(keys, message.id))
            self._sent += 1
            if server_time is not None:
                self._sent_at.setdefault(message.id, server_time)
            yield message

    def forgotten(self, server_time: float) -> list[int]:
        """Return the requests that were sent so long ago that the server may not know any more if it made them.

        Sending one of these could make it a second time.
        """
        return [ticket for ticket, at in self._sent_at.items() if abs(server_time - at) > REMEMBERED_SECONDS]

    def answered(self, ticket: int, written: Sequence[Written | None], now: float) -> Sent:
        """A request was answered: what was written by each of its writes, or ``None`` if it was refused."""
        message = self._unanswered.pop(ticket)
        self._sent_at.pop(ticket, None)
        keys = keys_of(message)
        self._size -= len(writes_in(message))
        if not self._land(ticket, keys):
            self._queue.remove(ticket)
        for key in keys:
            self._followers[key] -= 1
            if not self._followers[key]:
                del self._followers[key]
        outcomes = list(zip(map(path_of, writes_in(message)), written, strict=True))
        for number, (key, one) in enumerate(outcomes):
            name = ticket, number
            if one is None:
                self._ops.pop(name, None)
                continue
            if name in self._ops:
                self.commits += 1
                self._ops[name] = self._ops[name].committed(one, self.commits)
                self._late.append((now + LATE_SECONDS, name))
            if key in self._followers:
                self._have_seen(key, one.version)
        return Sent(message, outcomes)

    def refused(self, ticket: int, now: float) -> Sent:
        """A request was refused as a whole."""
        return self.answered(ticket, [None] * len(writes_in(self._unanswered[ticket])), now)

    def message(self, ticket: int) -> WriteMessage:
        """Return an unanswered request."""
        return self._unanswered[ticket]

    def again(self, ticket: int) -> None:
        """The server could not accept a request now; put it back in its place in the queue."""
        self._land(ticket, keys_of(self._unanswered[ticket]))
        insort(self._queue, ticket)

    def _land(self, ticket: int, keys: Sequence[EntityPath]) -> bool:
        """A request is no longer in flight. Returns whether it was."""
        flew = [key for key in keys if self._in_flight.get(key) == ticket]
        for key in flew:
            del self._in_flight[key]
        self._sent -= bool(flew)
        return bool(flew)

    def link_lost(self) -> None:
        """Put unanswered writes back into the queue, in order, before all others."""
        self._in_flight.clear()
        self._sent = 0
        self._queue = deque(self._unanswered)

    def clear(self) -> list[int]:
        """Drop all writes; returns their ids."""
        tickets = list(self._unanswered)
        self._queue.clear()
        self._unanswered.clear()
        self._in_flight.clear()
        self._sent = self._size = 0
        self._sent_at.clear()
        self._followers.clear()
        self._ops.clear()
        self._late.clear()
        return tickets

    def ops(self, collection: str) -> list[Op]:
        """Return the writes to apply to the rows of a collection, in order."""
        return [op for op in self._ops.values() if op.collection == collection] if self._ops else []

    def ops_in(self, collections: Iterable[str]) -> list[Op]:
        """Return the writes to apply to the rows of collections, in order."""
        wanted = set(collections)
        return [op for op in self._ops.values() if op.collection in wanted] if self._ops else []

    def collections(self) -> set[str]:
        """Return the collections with writes to apply."""
        return {op.collection for op in self._ops.values()}

    def told(self, collection: str, is_told: Callable[[Op], bool]) -> None:
        """Drop committed writes for which ``is_told`` returns true: every view has received them."""
        committed = [(name, op) for name, op in self._ops.items() if op.commit is not None]
        excess = len(committed) - MOST_KEPT
        for index, (name, op) in enumerate(committed):
            if index < excess or (op.collection == collection and is_told(op)):
                del self._ops[name]

    def late(self, now: float) -> set[str]:
        """Mark writes that were committed long enough ago. Returns the collections with late writes."""
        collections = set()
        while self._late and self._late[0][0] <= now:
            _, name = self._late.popleft()
            if name in self._ops:
                self._ops[name] = replace(self._ops[name], late=True)
                collections.add(self._ops[name].collection)
        return collections

    def late_at(self) -> float | None:
        """When :meth:`late` is due."""
        return self._late[0][0] if self._late else None

    def _have_seen(self, key: EntityPath, version: int) -> None:
        # Raise the base version past our own write: another session of ours may send the next write, and the server
        # would take this one for somebody else's.

        def based(seen: int | None) -> int:
            return max(version, seen or 0)

        for ticket, message in self._unanswered.items():
            if key in keys_of(message):
                self._unanswered[ticket] = with_versions(
                    message, lambda path, seen: based(seen) if path == key else seen
                )


def writes_in(message: WriteMessage) -> Sequence[Create | Update | Delete | Restore | AnyWrite]:
    """Return the writes of a request."""
    return message.writes if isinstance(message, WriteMany | Transaction) else (message,)


def path_of(write: Create | Update | Delete | Restore | AnyWrite) -> EntityPath:
    """Return which entity a write is about. Clients name what they create."""
    assert write.entity is not None
    return write.collection, write.entity


def keys_of(message: WriteMessage) -> Sequence[EntityPath]:
    """Return the entities that a request is about."""
    return list(dict.fromkeys(map(path_of, writes_in(message))))


def collections_of(message: WriteMessage) -> Sequence[str]:
    """Return the collections that a request writes to."""
    return list(dict.fromkeys(collection for collection, _ in keys_of(message)))


def with_versions(message: WriteMessage, base: Callable[[EntityPath, int | None], int | None]) -> WriteMessage:
    """Return a request whose updates are based on the versions that ``base`` says, given those of the request."""

    def based(write: AnyWrite) -> AnyWrite:
        if not isinstance(write, UpdateOne):
            return write
        return msgspec.structs.replace(write, version=base(path_of(write), write.version))

    match message:
        case Update():
            return msgspec.structs.replace(message, version=base(path_of(message), message.version))
        case WriteMany() | Transaction():
            return msgspec.structs.replace(message, writes=tuple(map(based, message.writes)))
    return message


def results_of(message: WriteMessage, result: Any) -> Sequence[WriteResult]:
    """Read a server's answer to a request. Raises :class:`msgspec.ValidationError`."""
    if isinstance(message, WriteMany | Transaction):
        results = msgspec.convert(result, list[WriteResult])
        if len(results) != len(message.writes):
            raise ValueError("the server answered another number of writes")
        return results
    return [WriteResult.of(msgspec.convert(result, Written))]


def written_of(result: WriteResult) -> Written | None:
    """Return what was written; ``None`` if it was refused."""
    if result.error is not None or result.data is None:
        return None
    return Written(data=result.data, version=result.version, conflicts=result.conflicts)
