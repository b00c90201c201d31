"""The stream of committed events, in the order of their positions, to whoever in this process wants to know."""

from __future__ import annotations

import logging
from collections.abc import Callable

from collab.event import EntityEvent

log = logging.getLogger(__name__)

Listener = Callable[[str, EntityEvent], None]
"""Told the project and the event. It must not wait, and what it raises is logged and harms nobody else."""


class Feed:
    """``epoch`` names the database that positions belong to; ``position`` is that of the newest event."""

    def __init__(self) -> None:
        self.epoch = ""
        self.position = 0
        self._listeners: dict[object, Listener] = {}

    def begin(self, epoch: str, position: int) -> None:
        """Where the record stands when the server starts."""
        self.epoch = epoch
        self.position = position

    def publish(self, project: str, event: EntityEvent) -> None:
        """Tell all listeners, in the order in which they came."""
        self.position = event.position
        for listener in list(self._listeners.values()):
            try:
                listener(project, event)
            except Exception:
                log.exception("a listener failed on %s/%s version %d", event.collection, event.id, event.version)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Be told every event from now on. Returns what ends that."""
        token = object()
        self._listeners[token] = listener

        def close() -> None:
            self._listeners.pop(token, None)

        return close

    def cursor(self, position: int) -> str:
        """A position as clients keep it."""
        return f"{self.epoch}.{position}"

    def parse(self, cursor: str) -> int | None:
        """The position of a cursor; ``None`` if it is of another database, or none at all."""
        epoch, dot, position = cursor.rpartition(".")
        if not dot or epoch != self.epoch or not (position.isascii() and position.isdigit() and len(position) <= 18):
            return None
        known = int(position)
        return known if known <= self.position else None  # of a record that was put back to an earlier state
