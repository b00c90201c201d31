"""Steady load: typing and cursor movements at a fixed rate, on an open-loop schedule."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Protocol

from bench.session import Session
from bench.yjs import Id, Line, awareness, cursor

LETTERS = [bytes([letter]) for letter in b"etaoin shrdlu"]


class Actor(Protocol):
    """A simulated user with one repeated action."""

    session: Session

    def act(self) -> None:
        """Perform the action once."""


class Typist:
    """Types one character per action; ``sent[clock]`` is its time."""

    def __init__(self, session: Session, line: Line) -> None:
        self.session = session
        self.line = line
        self.sent: list[float] = []

    def act(self) -> None:
        """Type one character."""
        sent = self.sent
        update = self.line.type(LETTERS[len(sent) % len(LETTERS)])
        sent.append(perf_counter())
        self.session.edit(update)


class Pointer:
    """Moves a cursor once per action; ``sent[sequence]`` is its time (0 is never sent)."""

    def __init__(self, session: Session, client: int, name: str, anchor: Id) -> None:
        self.session = session
        self.client = client
        self._name = name
        self._anchor = anchor
        self.sent: list[float] = [0.0]

    def act(self) -> None:
        """Move the cursor by a character."""
        sequence = len(self.sent)
        anchor = (self._anchor[0], self._anchor[1] + sequence % 8)
        payload = awareness(self.client, sequence, cursor(sequence, self._name, anchor))
        self.sent.append(perf_counter())
        self.session.send(self.session.framing.awareness(payload))


def schedule(actors: Sequence[tuple[Actor, float]], seconds: float, seed: int = 7) -> list[tuple[float, Actor]]:
    """Compute when each actor acts: at its rate per second, each interval ±30 %, with random phases."""
    rng = random.Random(seed)
    events: list[tuple[float, Actor]] = []
    for actor, rate in actors:
        due = rng.random() / rate
        while due < seconds:
            events.append((due, actor))
            due += rng.uniform(0.7, 1.3) / rate
    events.sort(key=lambda event: event[0])
    return events


async def play(
    events: Sequence[tuple[float, Actor]], marks: Sequence[tuple[float, Callable[[], None]]] = ()
) -> list[float]:
    """Run each action when it is due, and call each of ``marks`` at its time.

    Returns the delay of each action in seconds. Delays of the generator affect only the rate, because
    latency is measured from the moment of sending.
    """
    late: list[float] = []
    pending = sorted(marks, key=lambda mark: mark[0])
    began = perf_counter()
    index = 0
    while index < len(events) or pending:
        now = perf_counter() - began
        while pending and pending[0][0] <= now:
            pending.pop(0)[1]()
        # A slice at a time, so that received messages are read in between.
        stop = min(index + 64, len(events))
        while index < stop and events[index][0] <= now:
            due, actor = events[index]
            actor.act()
            late.append(now - due)
            index += 1
        upcoming = [events[index][0]] if index < len(events) else []
        if pending:
            upcoming.append(pending[0][0])
        if upcoming:
            await asyncio.sleep(max(0.0, min(upcoming) - (perf_counter() - began)))
    return late
