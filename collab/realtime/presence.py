"""Presence for applications: the awareness that editors of a room speak, without being one.

Whoever joins is one more awareness client of the room. Whoever subscribes is told of all its clients, by people.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from math import isfinite
from secrets import randbits
from time import monotonic
from typing import Any

import msgspec

from collab.access.identity import Access
from collab.errors import InvalidRequest, PermissionDenied, RateLimitExceeded, TooLarge
from collab.names import RoomKey, parse_name
from collab.realtime.listeners import Gathered, Later, Listeners, Timer, call_later
from collab.realtime.reads import Caller
from collab.rooms.registry import Registry
from collab.rooms.room import Room
from collab.wire.realtime import People, Person
from presence import roster
from presence.awareness import User
from presence.lib0 import DecodeError, encode_bytes, encode_uint
from presence.state import MAX_DEPTH, read_state

MOST_JOINED = 100
"""Rooms in which one session may be seen."""

_GATHER_SECONDS = 0.1
_LONG_NUMBER = re.compile(rb"[0-9]{19}")
_encoder = msgspec.json.Encoder()


class PresenceRooms:
    """Who is in which room. ``access`` is what somebody may do with a room; reading it is enough to be seen.

    Of more than ``sample`` people so many are told. A state has at most ``state_bytes`` of JSON. ``timeout`` (seconds)
    is the awareness timeout of rooms: who has joined is renewed within half of it.
    """

    def __init__(
        self,
        registry: Registry,
        access: Callable[[Caller, str, str], Awaitable[Access]],
        *,
        sample: int = 50,
        state_bytes: int = 4096,
        timeout: float = 30.0,
        clock: Callable[[], float] = monotonic,
        later: Later = call_later,
        new_client: Callable[[], int] = lambda: randbits(32),
    ) -> None:
        self._registry = registry
        self._access = access
        self._sample = sample
        self._state_bytes = state_bytes
        self._renew_seconds = timeout / 2
        self._clock = clock
        self._later = later
        self._new_client = new_client
        self._crowds: dict[RoomKey, _Crowd] = {}
        self._guests: dict[str, dict[RoomKey, _Guest]] = {}
        self._timer: Timer | None = None

    async def subscribe(self, caller: Caller, room: str, listener: Callable[[People], None]) -> Callable[[], None]:
        """Tell ``listener`` who is in a room: all of them before this returns, then changes, gathered over 0.1 s.

        Returns what ends that. Raises :class:`PermissionDenied` without the right to read the room, and whatever
        opening it raises.
        """
        key = parse_name(caller.identity.project, room)
        await self._check(caller, key)
        crowd = self._crowds.get(key)
        if crowd is None:
            opened = await self._open(key)
            crowd = self._crowds.get(key)
            if crowd is None:
                crowd = self._crowds[key] = _Crowd(opened, self._sample, self._later)
            else:
                self._registry.release(opened)
        remove = crowd.listeners.add(listener)
        joined = crowd
        listener(joined.all())

        def close() -> None:
            remove()
            if not joined.listeners and self._crowds.get(key) is joined:
                del self._crowds[key]
                joined.close()
                self._registry.release(joined.room)

        return close

    async def join(self, caller: Caller, room: str, state: Mapping[str, Any]) -> None:
        """Be seen in a room, with this state; once more: it is replaced.

        Raises :class:`InvalidRequest` for what is not JSON, :class:`TooLarge`, :class:`PermissionDenied` without the
        right to read the room, :class:`RateLimitExceeded` above ``MOST_JOINED`` rooms, and whatever opening it raises.
        """
        key = parse_name(caller.identity.project, room)
        said = self._read(caller, state)
        guests = self._guests.setdefault(caller.writer, {})
        guest = guests.get(key)
        if guest is None:
            if len(guests) >= MOST_JOINED:
                raise RateLimitExceeded(f"a session is seen in {MOST_JOINED} rooms at most")
            # noted before anything is waited for: the session may end meanwhile
            guest = guests[key] = _Guest(caller.writer, key)
            await self._enter(caller, guest)
        elif guest.room is None:
            raise InvalidRequest("this room is being joined already", room=room)
        if not guest.gone:
            self._say(caller, guest, said)

    async def update(self, caller: Caller, room: str, state: Mapping[str, Any]) -> None:
        """Change some members of the own state. Raises as :meth:`join`, which must have come before.

        Rights are not asked for again, for this is said with every move of a cursor: see :meth:`recheck`.
        """
        guest = self._guests.get(caller.writer, {}).get(parse_name(caller.identity.project, room))
        if guest is None or guest.room is None:
            raise InvalidRequest("join the room before you change your state in it", room=room)
        self._say(caller, guest, self._read(caller, {**guest.said, **state}))

    def leave(self, caller: Caller, room: str) -> None:
        """Be seen no more."""
        guest = self._guests.get(caller.writer, {}).get(parse_name(caller.identity.project, room))
        if guest is not None:
            self._forget(caller, guest)

    def leave_all(self, caller: Caller) -> None:
        """The session has ended: it is seen nowhere any more."""
        for guest in list(self._guests.get(caller.writer, {}).values()):
            self._forget(caller, guest)

    async def recheck(self, caller: Caller) -> None:
        """Rights may have changed: leave the rooms that ``caller`` may not read any more."""
        for guest in list(self._guests.get(caller.writer, {}).values()):
            if await self._access(caller, guest.key.collection, guest.key.id) < Access.READ:
                self._forget(caller, guest)

    async def _enter(self, caller: Caller, guest: _Guest) -> None:
        try:
            await self._check(caller, guest.key)
            room = await self._open(guest.key)
        except BaseException:
            self._forget(caller, guest)
            raise
        if guest.gone:
            self._registry.release(room)
        else:
            guest.enter(room, self._new_client)

    async def _check(self, caller: Caller, room: RoomKey) -> None:
        if await self._access(caller, room.collection, room.id) < Access.READ:
            raise PermissionDenied("this room may not be read", room=room.name)

    async def _open(self, key: RoomKey) -> Room:
        room = await self._registry.open(key)
        room.holds += 1
        return room

    def _read(self, caller: Caller, state: Mapping[str, Any]) -> dict[str, Any]:
        said = dict(state)
        identity = caller.identity
        if identity.verified and identity.user_id is not None and "userId" in said:
            said["userId"] = identity.user_id
        try:
            encoded = _encoder.encode(said)
            if len(encoded) > self._state_bytes:
                raise TooLarge("the state is too large", limit=self._state_bytes)
            read = read_state(encoded, self._state_bytes)
        except (DecodeError, TypeError, ValueError, OverflowError, RecursionError):
            raise InvalidRequest(f"a state is an object of JSON values, at most {MAX_DEPTH} deep") from None
        assert read is not None
        return read

    def _say(self, caller: Caller, guest: _Guest, said: dict[str, Any]) -> None:
        identity = caller.identity
        guest.said = said
        guest.user = User(identity.user_id, identity.name) if identity.verified else None
        guest.speak(self._clock())
        if self._timer is None:
            self._timer = self._later(self._renew_seconds / 2, self._renew)

    def _forget(self, caller: Caller, guest: _Guest) -> None:
        guests = self._guests.get(caller.writer, {})
        if guests.get(guest.key) is guest:
            del guests[guest.key]
            if not guests:
                del self._guests[caller.writer]
        room = guest.leave(self._clock())
        if room is not None:
            self._registry.release(room)
        if not self._guests and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _renew(self) -> None:
        """Say again what was said long ago: editors forget who is silent, as rooms do."""
        self._timer = self._later(self._renew_seconds / 2, self._renew)
        now = self._clock()
        for guests in self._guests.values():
            for guest in guests.values():
                if guest.room is not None and guest.spoke <= now - self._renew_seconds / 2:
                    guest.speak(now)


class _Guest:
    """One session in one room, as an awareness client of its own."""

    __slots__ = ("client", "clock", "gone", "key", "owner", "room", "said", "spoke", "user")

    def __init__(self, writer: str, key: RoomKey) -> None:
        self.key = key
        self.owner = ("presence", writer)
        self.room: Room | None = None  # not open yet
        self.client = 0
        self.clock = 0
        self.said: dict[str, Any] = {}
        self.user: User | None = None
        self.spoke = 0.0
        self.gone = False

    def enter(self, room: Room, new_client: Callable[[], int]) -> None:
        """The room is open, and held."""
        self.room = room
        self.client = new_client()
        while self.client in room.awareness.states:
            self.client = new_client()

    def speak(self, now: float) -> None:
        """Say the own state, under the next clock."""
        assert self.room is not None
        room = self.room = current(self.room)
        self.clock += 1
        self.spoke = now
        head = b"\x01" + encode_uint(self.client) + encode_uint(self.clock)
        # the nudge in the change is for clients that count on: this one is told nothing, and peers are told the
        # clocks that the room chooses
        payload = head + encode_bytes(_encoder.encode(self.said))
        room.show(room.awareness.apply(payload, self.owner, self.user, now), None, now)

    def leave(self, now: float) -> Room | None:
        """Be gone. Returns the room to release, if it was open."""
        self.gone = True
        room, self.room = self.room, None
        if room is not None:
            room = current(room)
            room.show(room.awareness.leave(self.owner, now), None, now)
        return room


class _Crowd:
    """The people of one room as all who listen have been told them."""

    def __init__(self, room: Room, sample: int, later: Later) -> None:
        self.room = room
        self.listeners: Listeners[People] = Listeners()
        self._sample = sample
        self._gathered = Gathered(_GATHER_SECONDS, self._tell, later)
        self._watchers = room.watchers  # the same set in the room that succeeds this one
        self._watchers.add(self._gathered.happened)
        self._told = self._look(roster.EMPTY)

    def all(self) -> People:
        """Everybody, as of the last time that changes were told."""
        return People(subs=(), count=self._told.count, people=_people(self._told.people), complete=True)

    def close(self) -> None:
        """Nobody listens any more."""
        self._watchers.discard(self._gathered.happened)
        self._gathered.cancel()

    def _look(self, before: roster.Roster) -> roster.Roster:
        self.room = current(self.room)
        return roster.roster(self.room.awareness.states, self._sample, [person.key for person in before.people])

    def _tell(self) -> None:
        before, self._told = self._told, self._look(self._told)
        change = roster.difference(before, self._told)
        if change is not None:
            self.listeners.tell(People(subs=(), count=change.count, people=_people(change.people), left=change.left))


def current(room: Room) -> Room:
    """The room that stands in the place of this one, or this one."""
    while room.successor is not None:
        room = room.successor
    return room


def _people(people: Iterable[roster.Person]) -> list[Person]:
    told = []
    for person in people:
        states = [_value(state) for state in person.states]
        told.append(Person(key=person.key, user_id=person.id, name=person.name, state=states[0], states=states))
    return told


def _value(state: bytes) -> dict[str, Any]:
    read = partial(json.loads, parse_int=_number) if _LONG_NUMBER.search(state) else msgspec.json.decode
    value: dict[str, Any] = read(state)
    return value


def _number(digits: str) -> int | float | None:
    """An integer as all formats know it: MessagePack has 64 bits, JavaScript reads what is longer as it does this."""
    number = int(digits)
    if -(2**63) <= number < 2**64:
        return number
    rounded = float(digits)
    return rounded if isfinite(rounded) else None
