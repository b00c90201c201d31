"""Where custom events are numbered and kept for who comes back: the seam between one process and a cluster."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection, Generator, Sequence
from typing import Any, NamedTuple, Protocol

from collab.errors import CollabError
from collab.event import write_cursor

log = logging.getLogger(__name__)


class SentEvent(NamedTuple):
    """An event that was sent, and its number in a numbering named ``epoch``."""

    event: dict[str, Any]
    epoch: str
    number: int
    cursor: str

    @property
    def type(self) -> str:
        """The type of the event."""
        return str(self.event["type"])

    def is_for(self, listening: Collection[str]) -> bool:
        """Whether it reaches somebody who listens to these channels."""
        channels = self.event.get("channels")
        return channels is None or any(name in listening for name in channels)


def sent_event(event: dict[str, Any], epoch: str, number: int) -> SentEvent:
    """An event with its number, and the cursor that stands for both."""
    return SentEvent(event, epoch, number, write_cursor(epoch, number))


class EventName(NamedTuple):
    """An idempotency key of a caller (``None``: the server), and the digest of the event that it stands for."""

    caller: str | None
    name: str
    digest: bytes


class EventsSince(NamedTuple):
    """The events of a project after a cursor, up to a number, which is where the subscription stands then.

    ``recovered`` is false if some may be missing; there are none then.
    """

    events: Sequence[SentEvent]
    epoch: str
    number: int
    recovered: bool


class Emission(Awaitable[dict[str, Any]]):
    """An event on its way, whether or not somebody awaits it. Awaited, it returns the event as sent, with ``at``.

    Awaiting raises :class:`collab.errors.Unavailable` if the event could not be sent, or may not have been.
    """

    def __init__(self, sent: dict[str, Any] | Awaitable[dict[str, Any]]) -> None:
        self._sent = sent

    def __await__(self) -> Generator[Any, None, dict[str, Any]]:
        if isinstance(self._sent, dict):
            return self._sent
        return (yield from self._sent.__await__())


class KeptEvents(Protocol):
    """Numbers events, keeps the newest of each project for a while, and tells them to this process."""

    def connect(self, hear: Callable[[str, SentEvent], None], missed: Callable[[str], None]) -> None:
        """Call ``hear`` with a project and each event of it, in order, and ``missed`` if some may never come."""

    def emit(self, project: str, event: dict[str, Any], now: float, name: EventName | None) -> Emission:
        """Send an event, at ``now`` (seconds since the epoch), unless the same was sent under its name.

        Raises :class:`collab.errors.InvalidRequest` for what is no name. Raises
        :class:`collab.errors.IdempotencyKeyReused`, at once or when awaited.
        """

    def hold(self, project: str) -> Callable[[], None]:
        """Hear the events of a project until the returned function is called."""

    def cursor(self, project: str) -> str:
        """The cursor that stands for all events that were heard."""

    async def since(self, project: str, cursor: str | None) -> EventsSince:
        """The events after a cursor; none without a cursor. The project must be held.

        When it returns, all later events are heard, unless ``recovered`` is false.
        """

    async def close(self) -> None:
        """Hear nothing more."""


def log_failure(project: str, error: BaseException | None) -> None:
    """Log that an event was not sent: perhaps nobody awaits it."""
    if isinstance(error, CollabError):
        log.info("a custom event of project %s was not sent: %s", project, error.message)
    elif error is not None:
        log.error("a custom event of project %s was not sent", project, exc_info=error)
