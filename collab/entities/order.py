"""The events of one project in the order of their positions, however they arrive. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from collab.event import EntityEvent


class Missing(NamedTuple):
    """Positions from ``first`` to ``last`` that have not arrived."""

    first: int
    last: int


class EventOrder:
    """Everything up to ``position`` was delivered. Keeps at most ``most`` events that arrived before their turn.

    What it returns must be delivered in this order; nothing is returned twice, and nothing is left out. It may be told
    wrong positions: :meth:`forget` what the record does not have.
    """

    def __init__(self, position: int, *, most: int = 1000) -> None:
        self.position = position
        self._most = most
        self._early: dict[int, EntityEvent] = {}
        self._expected = position  # the newest position that is said to exist

    @property
    def expected(self) -> int:
        """The newest position that is said to exist."""
        return self._expected

    @property
    def missing(self) -> Missing | None:
        """The first missing positions; ``None`` if everything that is said to exist has been delivered."""
        if self._expected <= self.position:
            return None
        return Missing(self.position + 1, min(self._early, default=self._expected + 1) - 1)

    def take(self, events: Iterable[EntityEvent]) -> list[EntityEvent]:
        """Take events that exist, in any order. Returns those whose turn it is."""
        ready: list[EntityEvent] = []
        for event in events:
            position = event.position
            if position == self.position + 1:
                self.position = position
                ready.append(event)
                self._continue(ready)
            elif position > self.position:
                self._keep(event)
        self._expected = max(self._expected, self.position)
        return ready

    def fill(self, events: Iterable[EntityEvent], upto: int) -> list[EntityEvent]:
        """Take what the record has, in order: beside these, nothing exists after :attr:`position` up to ``upto``.

        Events that arrived in the meantime are delivered among them. Returns those whose turn it is.
        """
        found = {event.position: event for event in events}
        found |= {position: event for position, event in self._early.items() if position <= upto}
        ready = [found[position] for position in sorted(found) if position > self.position]
        self.position = max(self.position, upto, ready[-1].position if ready else 0)
        self._early = {position: event for position, event in self._early.items() if position > self.position}
        self._continue(ready)
        self._expected = max(self._expected, self.position)
        return ready

    def expect(self, position: int) -> None:
        """Events up to this position are said to exist."""
        self._expected = max(self._expected, position)

    def forget(self, after: int) -> bool:
        """Forget what is said to exist after a position. Returns whether there was anything."""
        if max(self._expected, self.position) <= after:
            return False
        self._early = {position: event for position, event in self._early.items() if position <= after}
        self._expected = max(after, self.position)
        return True

    def _continue(self, ready: list[EntityEvent]) -> None:
        while self._early and (event := self._early.pop(self.position + 1, None)) is not None:
            self.position += 1
            ready.append(event)

    def _keep(self, event: EntityEvent) -> None:
        self._expected = max(self._expected, event.position)
        self._early[event.position] = event
        if len(self._early) > self._most:  # the last ones can be read from the record later
            del self._early[max(self._early)]
