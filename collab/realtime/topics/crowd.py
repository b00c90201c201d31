"""The people of a room as its subscribers receive them: from awareness states to messages of the protocol."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from functools import partial
from math import isfinite
from typing import Any, Protocol

import msgspec

from collab.names import RoomKey
from collab.realtime.listeners import Gathered, Later, Listeners
from collab.rooms.live.room import Room
from collab.wire.realtime.messages import People
from collab.wire.realtime.values import PROTO, Person, Present, without_proto
from presence import roster

_GATHER_SECONDS = 0.1
_LONG_NUMBER = re.compile(rb"[0-9]{19}")


def present(room: Room | None, sample: int) -> Present:
    """Return who is in a room now, at most ``sample`` of them; nobody is in a room that is not open."""
    if room is None:
        return Present(count=0, people=[])
    now = roster.roster(room.presence.awareness.states, sample, [])
    return Present(count=now.count, people=_people(now.people))


class PresenceCrowd(Protocol):
    """The people of one room, as all listeners received them last."""

    @property
    def key(self) -> RoomKey:
        """The room."""

    @property
    def listeners(self) -> Listeners[People]:
        """Who gets the changes."""

    def all(self) -> People:
        """Everybody, as of the last change that was sent."""

    def close(self) -> None:
        """The last listener is gone."""


class RoomCrowd:
    """The :class:`PresenceCrowd` of an open room. ``release`` gets the room when the last listener is gone."""

    def __init__(self, room: Room, sample: int, later: Later, release: Callable[[Room], None]) -> None:
        self.room = room
        self.key = room.key
        self._release = release
        self.listeners: Listeners[People] = Listeners()
        self._sample = sample
        self._gathered = Gathered(_GATHER_SECONDS, self._tell, later)
        self._watchers = room.presence.watchers  # a successor of this room keeps the same set
        self._watchers.add(self._gathered.happened)
        self._told = self._look(roster.EMPTY)

    def all(self) -> People:
        """Everybody, as of the last change that was sent."""
        return People(subs=(), count=self._told.count, people=_people(self._told.people), complete=True)

    def close(self) -> None:
        """The last listener is gone."""
        self._watchers.discard(self._gathered.happened)
        self._gathered.cancel()
        del self._gathered  # it refers to us, and we to the room
        self._release(self.room)

    def _look(self, before: roster.Roster) -> roster.Roster:
        self.room = self.room.latest
        return roster.roster(
            self.room.presence.awareness.states, self._sample, [person.key for person in before.people]
        )

    def _tell(self) -> None:
        before, self._told = self._told, self._look(self._told)
        change = roster.difference(before, self._told)
        if change is not None:
            self.listeners.tell(People(subs=(), count=change.count, people=_people(change.people), left=change.left))


def _people(people: Iterable[roster.Person]) -> list[Person]:
    told = []
    for person in people:
        states = [_value(state) for state in person.states]
        told.append(Person(key=person.key, user_id=person.id, name=person.name, state=states[0], states=states))
    return told


def _value(state: bytes) -> dict[str, Any]:
    read = partial(json.loads, parse_int=_number) if _LONG_NUMBER.search(state) else msgspec.json.decode
    value: dict[str, Any] = read(state)
    # __proto__ in states of editors is legal between them, but applications could not read it
    return without_proto(value) if PROTO.encode() in state or b"\\" in state else value


def _number(digits: str) -> int | float | None:
    """Parse an integer into the common range: MessagePack has 64 bits, JavaScript rounds larger ones as this does."""
    number = int(digits)
    if -(2**63) <= number < 2**64:
        return number
    rounded = float(digits)
    return rounded if isfinite(rounded) else None
