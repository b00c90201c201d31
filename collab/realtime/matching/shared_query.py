"""One live query with everybody who watches it, and the queries of one collection."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence, Set
from typing import Any, NamedTuple, Protocol

from collab.errors import CollabError
from collab.event import EntityEvent
from collab.query.aggregate import Aggregation
from collab.query.query import Condition, Query
from collab.realtime.matching.query_index import QueryIndex
from collab.realtime.matching.query_window import LiveQuery
from collab.realtime.matching.row_steps import WindowRow
from collab.turns import TurnOwner
from collab.wire.realtime import values as wire


class Live(Protocol):
    """The state of one query or aggregate: :class:`LiveQuery`, :class:`LiveAggregate`."""

    @property
    def rows(self) -> Sequence[WindowRow]: ...
    @property
    def held(self) -> Set[str]: ...
    @property
    def indexed(self) -> Condition: ...
    @property
    def dry(self) -> bool: ...
    def holds(self, name: str) -> bool: ...
    def ask(self) -> Query | Aggregation: ...
    def load(self, found: Any, later: Iterable[EntityEvent] = ()) -> list[wire.Step]: ...
    def apply(self, event: EntityEvent) -> list[wire.Step]: ...
    def trim(self) -> list[str]: ...


class Watcher(Protocol):
    """Receives one live query, or aggregate, whose groups are its rows.

    Rows and steps are shared with other watchers and must not be modified.
    """

    def reset(self, rows: list[dict[str, Any]], versions: list[int]) -> None:
        """Receive all rows, in order."""

    def steps(self, steps: Sequence[wire.Step]) -> None:
        """Receive the changes since the last call."""

    def failed(self, error: CollabError) -> None:
        """The query has ended; no more calls follow."""


class QueryCost(NamedTuple):
    """What one live query is and has cost since it was opened.

    ``query`` is its canonical form, ``rows`` are those that the server holds for it. ``events`` were compared with it
    in ``seconds`` of the event loop, which made ``steps`` for each watcher. ``reads`` of the storage took
    ``read_seconds``.
    """

    project: str
    collection: str
    query: bytes
    watchers: int
    rows: int
    events: int
    steps: int
    seconds: float
    reads: int
    read_seconds: float


class SharedQuery:
    """One query with everybody who watches it or waits for its first rows."""

    __slots__ = (
        *("ended", "failure", "key", "live", "owner", "ready", "task", "topic", "waiting", "watchers"),
        *("events", "read_seconds", "reads", "seconds", "steps"),
    )

    def __init__(self, key: tuple[str, str, bytes], owner: TurnOwner, live: Live, topic: Topic) -> None:
        self.key = key
        self.owner = owner  # the first watcher: reads wait in its queue
        self.live = live
        self.topic = topic
        self.watchers: dict[object, Watcher] = {}
        self.waiting = 0
        self.ready: asyncio.Event | None = asyncio.Event()  # None: the first rows have arrived
        self.task: asyncio.Task[None] | None = None  # which reads its rows
        self.failure: CollabError | None = None
        self.ended = False
        self.events = self.steps = self.reads = 0
        self.seconds = self.read_seconds = 0.0

    def cost(self) -> QueryCost:
        return QueryCost(
            *self.key,
            watchers=len(self.watchers),
            rows=len(self.live.held),
            events=self.events,
            steps=self.steps,
            seconds=self.seconds,
            reads=self.reads,
            read_seconds=self.read_seconds,
        )


class Topic:
    """The queries of one collection, and the running reads with the events since each began.

    ``unsure`` are those queries whose documents decide whether some of their rows are found.
    """

    __slots__ = ("aggregates", "index", "reads", "settling", "unsure")

    def __init__(self) -> None:
        self.aggregates = 0
        self.index: QueryIndex[SharedQuery] = QueryIndex()
        self.reads: dict[object, list[EntityEvent]] = {}
        self.unsure: dict[SharedQuery, LiveQuery] = {}
        self.settling: asyncio.Task[None] | None = None  # which reads rows that are unsure

    def next_unsure(self) -> dict[SharedQuery, LiveQuery]:
        """Queries that are unsure of rows and search the same, with the one that waits longest; none if none is."""
        self.unsure = {shared: live for shared, live in self.unsure.items() if live.unsure}
        first = next(iter(self.unsure.values()), None)
        return {
            shared: live
            for shared, live in self.unsure.items()
            if first is not None and live.searched == first.searched
        }
