"""Presence for applications, on top of the awareness of a room.

Each session that joins is one more awareness client of the room. Subscribers receive all clients, grouped by user.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from secrets import randbits
from time import monotonic
from typing import Any

import msgspec

from collab.access.identity import Identity
from collab.access.rules import Access
from collab.errors import CollabError, InvalidRequest, PermissionDenied, RateLimitExceeded, TooLarge
from collab.names import RoomKey, parse_name
from collab.realtime.listeners import Later, Timer, call_later
from collab.realtime.topics.crowd import PresenceCrowd, RoomCrowd, present
from collab.records.reads import Caller
from collab.rooms.live.room import Room
from collab.rooms.registry import Registry
from collab.tasks import for_each
from collab.wire.realtime.messages import People
from collab.wire.realtime.values import Present
from presence.lib0 import DecodeError, encode_bytes, encode_uint
from presence.state import MAX_DEPTH, User, read_state

MOST_JOINED = 100
"""Maximum number of rooms that one session may join."""
_AT_ONCE = 8  # checked concurrently

_encoder = msgspec.json.Encoder()


class PresenceRooms:
    """Presence in all rooms. ``access`` returns a caller's rights on a document; read access is enough to join.

    ``depends`` tells whether those rights depend on the document's data; if so they are checked again after changes. At
    most ``sample`` people are sent. A state has at most ``state_bytes`` of JSON. ``timeout`` (seconds) is the awareness
    timeout of rooms; states of joined sessions are renewed within half of it.
    """

    def __init__(
        self,
        registry: Registry,
        access: Callable[[Caller, RoomKey], Awaitable[Access]],
        depends: Callable[[Identity, RoomKey], bool] = lambda identity, key: False,
        *,
        sample: int = 50,
        state_bytes: int = 64 * 1024,
        timeout: float = 30.0,
        clock: Callable[[], float] = monotonic,
        later: Later = call_later,
        new_client: Callable[[], int] = lambda: randbits(32),
    ) -> None:
        self._registry = registry
        self._access = access
        self._depends = depends
        self._sample = sample
        self._state_bytes = state_bytes
        self._renew_seconds = timeout / 2
        self._clock = clock
        self._later = later
        self._new_client = new_client
        self._crowds: dict[RoomKey, PresenceCrowd] = {}
        self._guests: dict[str, dict[RoomKey, _Guest]] = {}
        self._members: dict[RoomKey, dict[_Member, None]] = {}
        self._timer: Timer | None = None

    async def subscribe(
        self,
        caller: Caller,
        room: str,
        listener: Callable[[People], None],
        ended: Callable[[CollabError], None] = lambda error: None,
    ) -> Callable[[], None]:
        """Call ``listener`` with everybody in a room before this returns, then with changes, debounced by 0.1 s.

        Returns a function that ends it. ``ended`` is called if the caller loses the right to read the room. Raises
        :class:`PermissionDenied` without that right, and the errors of opening the room.
        """
        key = parse_name(caller.identity.project, room)
        hearer = _Hearer(caller, key, ended)
        self._note(hearer)  # before the first await, because its rights may change meanwhile
        try:
            await self._check(caller, key)
            crowd = await self._crowd(key)
            if hearer.gone:
                self._leave_if_empty(crowd)
                raise _denied(key)
        except BaseException:
            self._drop(hearer)
            raise
        remove = crowd.listeners.add(listener)
        listener(crowd.all())

        def close() -> None:
            hearer.close = None  # it refers to the hearer
            self._drop(hearer)
            remove()
            self._leave_if_empty(crowd)

        hearer.close = close
        return close

    async def present(self, key: RoomKey) -> Present:
        """Return who is in a room. Nobody's rights are checked."""
        return present(self._registry.rooms.get(key), self._sample)

    async def _crowd(self, key: RoomKey) -> PresenceCrowd:
        crowd = self._crowds.get(key)
        if crowd is None:
            opened = await self.open_crowd(key)
            crowd = self._crowds.setdefault(key, opened)
            if crowd is not opened:
                opened.close()
        return crowd

    async def open_crowd(self, key: RoomKey) -> PresenceCrowd:
        """The people of a room, for whoever may know them. Close it. Raises the errors of opening the room."""
        return RoomCrowd(await self._open(key), self._sample, self._later, self._registry.release)

    def _leave_if_empty(self, crowd: PresenceCrowd) -> None:
        if not crowd.listeners and self._crowds.get(crowd.key) is crowd:
            del self._crowds[crowd.key]
            crowd.close()

    async def join(self, caller: Caller, room: str, state: Mapping[str, Any]) -> None:
        """Join a room with this state. A second call replaces the state.

        Raises :class:`InvalidRequest` for a state that is not JSON, :class:`TooLarge`, :class:`PermissionDenied`
        without the right to read the room, :class:`RateLimitExceeded` above ``MOST_JOINED`` rooms, and the errors of
        opening the room.
        """
        key = parse_name(caller.identity.project, room)
        said = self._read(caller, state)
        guest = self._guests.get(caller.writer, {}).get(key)
        if guest is None:
            if len(self._joined(caller.writer) - {key}) >= MOST_JOINED:
                raise RateLimitExceeded(f"a session may join at most {MOST_JOINED} rooms")
            # recorded before the first await, because the session may end meanwhile
            guest = self._guests.setdefault(caller.writer, {})[key] = _Guest(caller, key)
            self._note(guest)
            await self._enter(caller, guest)
        elif guest.room is None:
            raise InvalidRequest("this session is already joining this room", room=room)
        if not guest.gone:
            self._say(caller, guest, said)

    def _joined(self, writer: str) -> set[RoomKey]:
        """The rooms that a session has joined."""
        return {*self._guests.get(writer, {})}

    async def update(self, caller: Caller, room: str, state: Mapping[str, Any]) -> None:
        """Change some members of the own state. Raises as :meth:`join`, which must come first.

        Rights are not checked again, because this is called for every cursor movement: see :meth:`recheck`.
        """
        guest = self._guests.get(caller.writer, {}).get(parse_name(caller.identity.project, room))
        if guest is None or guest.room is None:
            raise InvalidRequest("join the room before you update your state in it", room=room)
        self._say(caller, guest, self._read(caller, {**guest.said, **state}))

    def leave(self, caller: Caller, room: str) -> None:
        """Leave a room."""
        guest = self._guests.get(caller.writer, {}).get(parse_name(caller.identity.project, room))
        if guest is not None:
            self._forget(caller, guest)

    def leave_all(self, caller: Caller) -> None:
        """The session has ended: leave all rooms."""
        for guest in list(self._guests.get(caller.writer, {}).values()):
            self._forget(caller, guest)

    async def recheck(self, caller: Caller) -> None:
        """Rights may have changed: leave the rooms that ``caller`` may no longer read."""
        guests = list(self._guests.get(caller.writer, {}).values())
        for guest in guests:
            guest.caller = caller
        await for_each(guests, self._ask_again, at_once=_AT_ONCE)

    async def stop(self) -> None:
        """End background work."""

    def concerns(self, key: RoomKey) -> bool:
        """Whether anybody in the room has rights that depend on its data."""
        return any(self._depends(member.caller.identity, key) for member in self._members.get(key, ()))

    async def row_changed(self, key: RoomKey) -> None:
        """The room's data has changed: remove members who may no longer read it."""
        concerned = [member for member in self._members.get(key, ()) if self._depends(member.caller.identity, key)]
        await for_each(concerned, self._ask_again, at_once=_AT_ONCE)

    async def _ask_again(self, member: _Member) -> None:
        error: CollabError | None = None
        try:
            await self._check(member.caller, member.key)
        except CollabError as refused:
            error = refused
        if error is not None and not member.gone:
            if isinstance(member, _Guest):
                self._forget(member.caller, member)
            elif isinstance(member, _Hearer):
                member.end(error)

    def _note(self, member: _Member) -> None:
        self._members.setdefault(member.key, {})[member] = None

    def _drop(self, member: _Member) -> None:
        members = self._members.get(member.key, {})
        members.pop(member, None)
        if not members:
            self._members.pop(member.key, None)

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
        if await self._access(caller, room) < Access.READ:
            raise _denied(room)

    async def _open(self, key: RoomKey) -> Room:
        room = await self._registry.open(key)
        room.hold()
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
            raise InvalidRequest(f"a state must be an object of JSON values, nested at most {MAX_DEPTH} deep") from None
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
        self._drop(guest)
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
        """Send old states again: editors, like rooms, drop clients that are silent."""
        self._timer = self._later(self._renew_seconds / 2, self._renew)
        now = self._clock()
        for guests in self._guests.values():
            for guest in guests.values():
                if guest.room is not None and guest.spoke <= now - self._renew_seconds / 2:
                    guest.speak(now)


class _Member:
    """A subscriber or a joined session of a room. ``gone``: no longer."""

    __slots__ = ("caller", "gone", "key")

    def __init__(self, caller: Caller, key: RoomKey) -> None:
        self.caller = caller
        self.key = key
        self.gone = False


class _Hearer(_Member):
    """One subscription. ``close`` ends it, once it has started."""

    __slots__ = ("_ended", "close")

    def __init__(self, caller: Caller, key: RoomKey, ended: Callable[[CollabError], None]) -> None:
        super().__init__(caller, key)
        self.close: Callable[[], None] | None = None
        self._ended = ended

    def end(self, error: CollabError) -> None:
        """The caller has lost the right to read the room."""
        self.gone = True
        if self.close is not None:
            self.close()
            self._ended(error)


class _Guest(_Member):
    """One session in one room, as an awareness client of its own."""

    __slots__ = ("client", "clock", "owner", "room", "said", "spoke", "user")

    def __init__(self, caller: Caller, key: RoomKey) -> None:
        super().__init__(caller, key)
        self.owner = ("presence", caller.writer)
        self.room: Room | None = None  # None: not open yet
        self.client = 0
        self.clock = 0
        self.said: dict[str, Any] = {}
        self.user: User | None = None
        self.spoke = 0.0

    def enter(self, room: Room, new_client: Callable[[], int]) -> None:
        """The room is open; the caller holds it."""
        self.room = room
        self.client = new_client()
        while self.client in room.presence.awareness.states:
            self.client = new_client()

    def speak(self, now: float) -> None:
        """Send the own state with the next clock."""
        assert self.room is not None
        room = self.room = self.room.latest
        self.clock += 1
        self.spoke = now
        head = b"\x01" + encode_uint(self.client) + encode_uint(self.clock)
        # the clock in the returned change concerns clients that count their own; this one receives nothing, and peers
        # receive the clocks that the room chooses
        payload = head + encode_bytes(_encoder.encode(self.said))
        if room.presence.show(room.presence.awareness.apply(payload, self.owner, self.user, now), None):
            room.relay_when_due(now)

    def leave(self, now: float) -> Room | None:
        """Leave. Returns the room to release, if it was open."""
        self.gone = True
        room, self.room = self.room, None
        if room is not None:
            room = room.latest
            if room.presence.show(room.presence.awareness.leave(self.owner, now), None):
                room.relay_when_due(now)
        return room


def _denied(room: RoomKey) -> PermissionDenied:
    return PermissionDenied("this identity may not read this room", room=room.name)
