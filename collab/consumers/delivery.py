"""Scheduling of webhook deliveries: events of many entities to one receiver that may fail. Pure; time is an argument.

Events of one entity are sent in order, events of different entities concurrently. All events up to ``position`` are
settled; the saved position is never ahead of what was delivered.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import NamedTuple

from collab.event import EntityEvent

MOST_OPEN = 1000
"""Maximum number of events held in memory."""
MOST_AHEAD = 100_000
"""Maximum number of events settled before an older one; at most these are sent twice after a restart."""

_FIRST_SECONDS = 1.0
_FACTOR = 4.0
_LONGEST_SECONDS = 3600.0

EntityKey = tuple[str, str, str]


@dataclass(slots=True, eq=False)
class Parcel:
    """One event to deliver, and how many attempts have failed."""

    project: str
    event: EntityEvent
    not_before: float
    failures: int = 0

    @property
    def entity(self) -> EntityKey:
        """The entity that the event belongs to."""
        return (self.project, self.event.collection, self.event.id)


class Dead(NamedTuple):
    """An event that was given up."""

    project: str
    event: EntityEvent
    reason: str


def backoff(failures: int, random: float) -> float:
    """Seconds to wait after ``failures`` (at least one); ``random`` in [0, 1) spreads the upper half of the delay."""
    full = min(_LONGEST_SECONDS, _FIRST_SECONDS * _FACTOR ** min(failures - 1, 20))
    return full * (1.0 - random / 2)


class Deliveries:
    """Events behind ``position`` for one receiver. Each is attempted at most ``attempts`` times."""

    def __init__(self, position: int, attempts: int) -> None:
        self.read_to = position
        self._attempts = attempts
        self._queues: dict[EntityKey, deque[Parcel]] = {}
        self._ready: list[tuple[float, int, EntityKey]] = []  # heads of the queues that are not being sent
        self._settled: OrderedDict[int, bool] = OrderedDict()  # starts with the oldest unsettled event
        self._open = 0
        self._dead: OrderedDict[int, Dead] = OrderedDict()

    @property
    def position(self) -> int:
        """All events up to this position are settled."""
        return next(iter(self._settled)) - 1 if self._settled else self.read_to

    @property
    def room(self) -> int:
        """Number of events that may be added."""
        return max(0, min(MOST_OPEN - self._open - len(self._dead), MOST_AHEAD - len(self._settled)))

    def take(self, events: Iterable[tuple[str, EntityEvent]], read_to: int, now: float) -> None:
        """Add events with their projects, ordered by position. No others exist between them, up to ``read_to``."""
        for project, event in events:
            parcel = Parcel(project, event, now)
            self._settled[event.position] = False
            self._open += 1
            queue = self._queues.get(parcel.entity)
            if queue is None:
                self._queues[parcel.entity] = deque((parcel,))
                self._offer(parcel)
            else:
                queue.append(parcel)
        self.read_to = max(self.read_to, read_to)

    def next(self, now: float) -> Parcel | None:
        """Return the parcel to send now, if any. Report the outcome to :meth:`sent` or :meth:`failed`."""
        if not self._ready or self._ready[0][0] > now:
            return None
        return self._queues[heappop(self._ready)[2]][0]

    def due(self) -> float | None:
        """When the next parcel is due, if nothing is added or reported before."""
        return self._ready[0][0] if self._ready else None

    def sent(self, parcel: Parcel) -> None:
        """The receiver accepted it."""
        self._settle(parcel)

    def failed(self, parcel: Parcel, reason: str, now: float, random: float, retry_after: float = 0.0) -> Dead | None:
        """An attempt failed: retry later (not before ``retry_after`` seconds), or give up.

        Returns the event if it was given up.
        """
        parcel.failures += 1
        if parcel.failures < self._attempts:
            wait = max(backoff(parcel.failures, random), min(retry_after, _LONGEST_SECONDS))
            parcel.not_before = now + wait
            self._offer(parcel)
            return None
        dead = self._dead[parcel.event.position] = Dead(parcel.project, parcel.event, reason)
        self._settle(parcel)
        return dead

    def dead(self) -> list[Dead]:
        """Events that were given up and must be saved together with :attr:`position`."""
        return [dead for position, dead in self._dead.items() if position <= self.position]

    def saved(self, position: int) -> None:
        """The state up to ``position`` has been saved."""
        for saved in [dead for dead in self._dead if dead <= position]:
            del self._dead[saved]

    def _offer(self, parcel: Parcel) -> None:
        heappush(self._ready, (parcel.not_before, parcel.event.position, parcel.entity))

    def _settle(self, parcel: Parcel) -> None:
        queue = self._queues[parcel.entity]
        queue.popleft()
        if queue:
            self._offer(queue[0])
        else:
            del self._queues[parcel.entity]
        self._open -= 1
        self._settled[parcel.event.position] = True
        while self._settled and self._settled[next(iter(self._settled))]:
            self._settled.popitem(last=False)
