"""The stream of committed events, ordered by position within a project, for listeners in this process."""

from __future__ import annotations

import logging
from collections.abc import Callable

from collab.event import EntityEvent, read_cursor, write_cursor
from collab.storage.base import Positions

log = logging.getLogger(__name__)

FeedListener = Callable[[str, EntityEvent], None]
"""Gets the project and the event. It must not block; its exceptions are logged and affect nobody else."""


class Feed:
    """Publishes events. ``epoch`` identifies the database that positions belong to."""

    def __init__(self) -> None:
        self.epoch = ""
        self._base = 0
        self._newest: dict[str, int] = {}
        self._listeners: dict[object, FeedListener] = {}

    def begin(self, positions: Positions) -> None:
        """Set the positions of the record when the server starts."""
        self.epoch = positions.epoch
        self._base = positions.base
        self._newest = dict(positions.newest)

    def position(self, project: str) -> int:
        """The position of a project's newest event."""
        return self._newest.get(project, self._base)

    def publish(self, project: str, event: EntityEvent) -> None:
        """Call all listeners, in the order in which they subscribed."""
        self._newest[project] = event.position
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

    def parse(self, project: str, cursor: str) -> int | None:
        """The position of a project's cursor; ``None`` if it is malformed or of another database."""
        known = read_cursor(self.epoch, cursor)
        if known is None or known > self.position(project):  # the record was reset to an earlier state
            return None
        return known
