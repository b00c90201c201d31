"""The stream of committed events, ordered by position within a project, for listeners in this process.

A single process commits all events itself: :class:`Feed` passes them on at once. A node of a cluster also gets those
of the others: :class:`collab.cluster.follow.ClusterFeed`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import msgspec

from collab.entities.entity import Answer
from collab.entities.event_traces import EventTraces
from collab.event import EntityEvent, read_cursor, write_cursor
from collab.storage.base import Fact, Positions

log = logging.getLogger(__name__)

FeedListener = Callable[[str, EntityEvent], None]
"""Gets the project and the event. It must not block; its exceptions are logged and affect nobody else."""


class Feed:
    """Publishes events. ``epoch`` identifies the database that positions belong to.

    ``own`` has the events that this process committed, and no others. ``traces`` knows which events are traced.
    """

    def __init__(self, traces: EventTraces | None = None) -> None:
        self.epoch = ""
        self._base = 0
        self._newest: dict[str, int] = {}
        self._listeners: dict[object, FeedListener] = {}
        self._traces = traces

    @property
    def own(self) -> Feed:
        """The events that this process committed: here all of them."""
        return self

    def begin(self, positions: Positions) -> None:
        """Set the positions of the record when the server starts."""
        self.epoch = positions.epoch
        self._base = positions.base
        self._newest = dict(positions.newest)

    def position(self, project: str) -> int:
        """The position of a project's newest event."""
        return self._newest.get(project, self._base)

    async def follow(self, project: str) -> Callable[[], None]:
        """Have all events of a project from now on, whoever commits them. Returns a function that ends this.

        Call it before :meth:`position` is used and before anything that is to miss no event begins. Raises
        :class:`collab.errors.CollabError`.
        """
        return _nothing

    async def reached(self, project: str, position: int) -> bool:
        """Wait until everything up to a position was published. Returns whether the record has that position.

        Does not wait for a project that nobody follows. Raises :class:`collab.errors.Unavailable`.
        """
        return position <= self.position(project)

    def commit(self, facts: Sequence[Fact], positions: Sequence[int], answers: Sequence[Answer]) -> None:
        """Publish the events of a commit, then answer: a writer that learns of it has already received its event."""
        for position, fact in zip(positions, facts, strict=True):
            self.publish(fact.entity.key.project, msgspec.structs.replace(fact.event, position=position))
        for one in answers:
            answer(one)

    def publish(self, project: str, event: EntityEvent) -> None:
        """Call all listeners, in the order in which they subscribed."""
        self._newest[project] = event.position
        if self._traces is None:
            self._tell(project, event)
        else:
            with self._traces.telling(project, event):
                self._tell(project, event)

    def _tell(self, project: str, event: EntityEvent) -> None:
        for listener in list(self._listeners.values()):
            try:
                listener(project, event)
            except Exception:
                log.exception("a listener failed on %s/%s version %d", event.collection, event.id, event.version)

    def subscribe(self, listener: FeedListener) -> Callable[[], None]:
        """Get every event from now on. Returns a function that ends the subscription."""
        token = object()
        self._listeners[token] = listener

        def close() -> None:
            self._listeners.pop(token, None)

        return close

    def cursor(self, position: int) -> str:
        """A position in the form that clients store."""
        return write_cursor(self.epoch, position)

    async def catch_up(self, project: str, cursor: str) -> None:
        """Wait until everything up to a cursor was published, if the record has it. Raises as :meth:`reached`."""
        known = read_cursor(self.epoch, cursor)
        if known is not None:
            await self.reached(project, known)

    def parse(self, project: str, cursor: str) -> int | None:
        """The position of a project's cursor; ``None`` if it is malformed or of another database.

        Call :meth:`catch_up` first.
        """
        known = read_cursor(self.epoch, cursor)
        if known is None or known > self.position(project):  # the record was reset to an earlier state
            return None
        return known


def answer(one: Answer) -> None:
    """Tell the author of a write that it is committed."""
    try:
        one.intent.told(one.outcome)
    except Exception:
        log.exception("a writer could not be notified of its commit")


def _nothing() -> None:
    """Nothing has to be ended."""
