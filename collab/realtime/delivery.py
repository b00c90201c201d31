"""What to send next, and when: events of many entities to one receiver that may fail. Pure; time is an argument.

Events of one entity are sent one after the other, those of different entities beside each other. ``position`` is how
far all is settled: what is remembered of it is never ahead of what was sent.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import NamedTuple

from collab.event import EntityEvent

MOST_OPEN = 1000
"""Events that are held in memory."""
MOST_AHEAD = 100_000
"""Events that are settled while an older one is not: so many may be sent twice after a restart."""

_FIRST_SECONDS = 1.0
_FACTOR = 4.0
_LONGEST_SECONDS = 3600.0

Entity = tuple[str, str, str]


@dataclass(slots=True, eq=False)
class Parcel:
    """One event on its way, with how often it was tried in vain."""

    project: str
    event: EntityEvent
    not_before: float
    failures: int = 0

    @property
    def entity(self) -> Entity:
        """Whose event it is."""
        return (self.project, self.event.collection, self.event.id)


class Dead(NamedTuple):
    """An event that was given up."""

    project: str
    event: EntityEvent
    reason: str


def backoff(failures: int, random: float) -> float:
    """Seconds to wait after so many failures (at least one); ``random`` in [0, 1) spreads them over half of it."""
    full = min(_LONGEST_SECONDS, _FIRST_SECONDS * _FACTOR ** min(failures - 1, 20))
    return full * (1.0 - random / 2)


class Deliveries:
    """The events for one receiver behind ``position``, each of which is tried ``attempts`` times at most."""

    def __init__(self, position: int, attempts: int) -> None:
        self.read_to = position
        self._attempts = attempts
        self._queues: dict[Entity, deque[Parcel]] = {}
        self._ready: list[tuple[float, int, Entity]] = []  # heads of queues that are not under way
        self._settled: OrderedDict[int, bool] = OrderedDict()  # all from the oldest that is not
        self._open = 0
        self._dead: OrderedDict[int, Dead] = OrderedDict()

    @property
    def position(self) -> int:
        """All events up to here are settled."""
        return next(iter(self._settled)) - 1 if self._settled else self.read_to

    @property
    def room(self) -> int:
        """How many events more may be taken in."""
        return max(0, min(MOST_OPEN - self._open - len(self._dead), MOST_AHEAD - len(self._settled)))

    def take(self, events: Iterable[tuple[str, EntityEvent]], read_to: int, now: float) -> None:
        """Take in events, each with its project, by position; between them, up to ``read_to``, there are no others."""
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
        """What to send now, if anything. Tell :meth:`sent` or :meth:`failed` what became of it."""
        if not self._ready or self._ready[0][0] > now:
            return None
        return self._queues[heappop(self._ready)[2]][0]

    def due(self) -> float | None:
        """When there is something to send, unless more is taken in or becomes of what is under way."""
        return self._ready[0][0] if self._ready else None

    def sent(self, parcel: Parcel) -> None:
        """It was taken."""
        self._settle(parcel)

    def failed(self, parcel: Parcel, reason: str, now: float, random: float, retry_after: float = 0.0) -> Dead | None:
        """It was not taken: try it again later (not before ``retry_after`` seconds), or give it up.

        Returns what was given up.
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
        """What was given up and is to be remembered along with :attr:`position`."""
        return [dead for position, dead in self._dead.items() if position <= self.position]

    def saved(self, position: int) -> None:
        """All up to ``position`` is remembered now."""
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
