"""Presence, whichever node owns the room.

Who joins a room of another node is present there, for as long as a stream lasts: when the link breaks, the owner
removes them at once. When the owner is lost, this node lets them join again at the next one, with their last state.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from collab.cluster.answering import Asking, Service
from collab.cluster.arguments import (
    CallerNamed,
    GuestAsked,
    RoomAsked,
    StateSaid,
    decode_value,
    encode_value,
)
from collab.cluster.calls import Calls, Patience
from collab.cluster.crowd import FollowedCrowd
from collab.cluster.link import Lost
from collab.errors import (
    CollabError,
    Elsewhere,
    InternalError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    Restarting,
    Unavailable,
)
from collab.names import RoomKey, parse_name
from collab.realtime.topics.crowd import PresenceCrowd
from collab.realtime.topics.presence import PresenceRooms
from collab.records.reads import Caller
from collab.tasks import BackgroundTasks
from collab.wire.realtime.messages import People
from collab.wire.realtime.values import Present

log = logging.getLogger(__name__)

_MOST_WAITING = 20  # lists that a slow node has not been sent; then it gets a whole one

_encoder = msgspec.json.Encoder()


class RoutedPresence(PresenceRooms):
    """Presence in the rooms of all nodes. ``owner`` returns the number of the node that owns a room, if one does."""

    def __init__(
        self, calls: Calls, owner: Callable[[RoomKey], Awaitable[int | None]], *args: Any, **options: Any
    ) -> None:
        super().__init__(*args, **options)
        self._calls = calls
        self._owner = owner
        self._away: dict[str, dict[RoomKey, _Away]] = {}
        self._tasks = BackgroundTasks(lambda error: log.error("presence at another node failed", exc_info=error))

    async def join(self, caller: Caller, room: str, state: Mapping[str, Any]) -> None:
        key = parse_name(caller.identity.project, room)
        away = self._away.get(caller.writer, {}).get(key)
        if away is not None:
            said = self._read(caller, state)
            if not away.began.done():
                raise InvalidRequest("this session is already joining this room", room=room)
            away.caller = caller
            await self._tell(away, said, replaces=True)
            return
        away = _Away(caller, key)
        self._away.setdefault(caller.writer, {})[key] = away  # before the first await: the session may leave meanwhile
        try:
            await super().join(caller, room, state)
            self._end(away)
        except Elsewhere:
            if away.gone:
                return
            away.said = self._read(caller, state)
            away.task = self._tasks.spawn(self._stay(away))
            await self._wait(away)
        except BaseException:
            self._end(away)
            raise

    async def _wait(self, away: _Away) -> None:
        try:
            await asyncio.shield(away.began)
        except BaseException:
            self._end(away)
            raise

    async def update(self, caller: Caller, room: str, state: Mapping[str, Any]) -> None:
        away = self._away.get(caller.writer, {}).get(parse_name(caller.identity.project, room))
        if away is None or not away.began.done():
            await super().update(caller, room, state)
        else:
            await self._tell(away, self._read(caller, {**away.said, **state}), replaces=False)

    def leave(self, caller: Caller, room: str) -> None:
        away = self._away.get(caller.writer, {}).get(parse_name(caller.identity.project, room))
        if away is not None:
            self._end(away)
        super().leave(caller, room)

    def leave_all(self, caller: Caller) -> None:
        for away in list(self._away.get(caller.writer, {}).values()):
            self._end(away)
        super().leave_all(caller)

    async def recheck(self, caller: Caller) -> None:
        of_session = list(self._away.get(caller.writer, {}).values())
        for away in of_session:
            away.caller = caller

        async def ask(nid: int) -> None:
            with suppress(Unavailable):  # who joins again is checked again
                await self._calls.ask_raw(nid, "presence.recheck", CallerNamed.of(caller))

        owners = {away.nid for away in of_session if away.nid is not None}
        await asyncio.gather(super().recheck(caller), *map(ask, owners))

    def _joined(self, writer: str) -> set[RoomKey]:
        return super()._joined(writer) | self._away.get(writer, {}).keys()

    async def present(self, key: RoomKey) -> Present:
        # nobody is in a room that is open nowhere, so it is not opened to see that
        if key in self._registry.rooms or await self._owner(key) is None:
            return await super().present(key)
        try:
            crowd = await self.open_crowd(key)
        except NotFound:  # it was deleted
            return Present(count=0, people=[])
        try:
            told = crowd.all()
        finally:
            crowd.close()
        return Present(count=told.count, people=told.people)

    async def open_crowd(self, key: RoomKey) -> PresenceCrowd:
        crowd = FollowedCrowd(key, self._calls, super().open_crowd)
        await crowd.start()
        return crowd

    async def stop(self) -> None:
        """Leave all rooms of other nodes."""
        self._tasks.cancel()
        await self._tasks.wait()

    async def _tell(self, away: _Away, said: dict[str, Any], *, replaces: bool) -> None:
        """Say the state at the owner; if that is lost, it is said when the next one is found."""
        away.said = said
        if away.nid is None:
            return
        asked = StateSaid(away.caller.writer, away.key, _encoder.encode(said), replaces)
        with suppress(Elsewhere, Lost, Restarting):
            await self._calls.ask_raw(away.nid, "presence.say", asked)

    def _end(self, away: _Away) -> None:
        """The session is in this room no longer, or no longer at another node."""
        away.gone = True
        away.begin()  # who still waits has left meanwhile
        of_session = self._away.get(away.caller.writer, {})
        if of_session.get(away.key) is away:
            del of_session[away.key]
            if not of_session:
                del self._away[away.caller.writer]
        if away.task is not None and away.task is not asyncio.current_task():
            away.task.cancel()

    async def _stay(self, away: _Away) -> None:
        """Be present at the owner, whoever that is, until the session leaves or this node becomes the owner."""
        patience = Patience()
        try:
            while True:
                try:
                    if await self._be_present(away):
                        return
                except CollabError as error:
                    again = isinstance(error, Elsewhere | Lost | Restarting)
                    if not away.began.done():
                        if not again or patience.over:
                            away.began.set_exception(Unavailable(error.message, **error.details) if again else error)
                            return
                    elif isinstance(error, PermissionDenied):
                        return
                if away.met:
                    away.met, patience = False, Patience()
                await patience.pause()
        finally:
            if not away.began.done() and not away.gone:
                away.began.set_exception(InternalError("could not join the room"))
                away.began.exception()  # nobody may wait for it any more
            self._end(away)

    async def _be_present(self, away: _Away) -> bool:
        """Returns whether this node has become the owner, and has the session from now on."""
        caller, said = away.caller, away.said
        try:
            await super().join(caller, away.key.name, said)
        except Elsewhere as elsewhere:
            nid = elsewhere.nid
        else:
            self._end(away)
            if away.said is not said:
                await super().join(away.caller, away.key.name, away.said)
            away.begin()
            return True
        asked = GuestAsked(CallerNamed.of(caller), away.key, _encoder.encode(said))
        try:
            async with self._calls.stream(nid, "presence.guest", asked) as items:
                await anext(items, None)
                away.nid, away.met = nid, True
                away.begin()
                if away.said is not said:
                    await self._tell(away, away.said, replaces=True)
                async for _ in items:
                    pass
        except (Elsewhere, Lost, Restarting):
            self._calls.forget(nid)
            raise
        finally:
            away.nid = None
        return False


class _Away:
    """One session in one room of another node. ``nid`` is where it is present; ``None``: on the way."""

    __slots__ = ("began", "caller", "gone", "key", "met", "nid", "said", "task")

    def __init__(self, caller: Caller, key: RoomKey) -> None:
        self.caller = caller
        self.key = key
        self.gone = False
        self.said: dict[str, Any] = {}
        self.nid: int | None = None
        self.met = False
        """Whether it was present since the last failure."""
        self.began: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """It is present for the first time, perhaps."""
        if not self.began.done():
            self.began.set_result(None)


# at the owner


class PresenceServices:
    """Sessions of other nodes in the rooms of this one, and the people there.

    The methods of the base class are called, which never ask another node.
    """

    def __init__(self, presence: PresenceRooms) -> None:
        self._presence = presence
        self._present: dict[tuple[str, RoomKey], _Present] = {}

    def services(self) -> Mapping[str, Service]:
        """Return what nodes can ask for."""
        return {
            "presence.guest": Service(streams=self._guest),
            "presence.say": Service(answers=self._say),
            "presence.recheck": Service(answers=self._recheck),
            "presence.people": Service(streams=self._people),
        }

    async def _guest(self, sender: Asking, value: bytes) -> AsyncGenerator[bytes]:
        asked = decode_value(value, GuestAsked)
        caller, key = asked.caller.caller(), asked.room
        _check_project(caller, key)
        place = caller.writer, key
        before = self._present.get(place)  # the link broke, and we have not noticed yet
        mine = self._present[place] = _Present(caller)
        try:
            if before is not None:
                await before.settled.wait()
            await PresenceRooms.join(self._presence, caller, key.name, msgspec.json.decode(asked.state))
            mine.settled.set()
            yield b""
            await asyncio.Event().wait()
        finally:
            mine.settled.set()
            if self._present.get(place) is mine:
                del self._present[place]
                PresenceRooms.leave(self._presence, caller, key.name)

    async def _say(self, sender: Asking, value: bytes) -> bytes:
        said = decode_value(value, StateSaid)
        present = self._present.get((said.writer, said.room))
        if present is not None:  # else it comes again, with this state
            say = PresenceRooms.join if said.replaces else PresenceRooms.update
            await say(self._presence, present.caller, said.room.name, msgspec.json.decode(said.state))
        return b""

    async def _recheck(self, sender: Asking, value: bytes) -> bytes:
        caller = decode_value(value, CallerNamed).caller()
        for (writer, _), present in self._present.items():
            if writer == caller.writer:
                present.caller = caller
        await PresenceRooms.recheck(self._presence, caller)
        return b""

    async def _people(self, sender: Asking, value: bytes) -> AsyncGenerator[bytes]:
        """The people of a room. The node that asks checks the rights of its subscribers."""
        crowd = await PresenceRooms.open_crowd(self._presence, decode_value(value, RoomAsked).room)
        waiting = [crowd.all()]
        heard = asyncio.Event()

        def listen(people: People) -> None:
            waiting.append(people)
            if len(waiting) > _MOST_WAITING:
                waiting[:] = [crowd.all()]
            heard.set()

        crowd.listeners.add(listen)
        try:
            while True:
                while waiting:
                    yield encode_value(waiting.pop(0))
                heard.clear()
                await heard.wait()
        finally:
            crowd.close()


class _Present:
    """A session of another node. ``settled``: it has joined, or never will."""

    __slots__ = ("caller", "settled")

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.settled = asyncio.Event()


def _check_project(caller: Caller, key: RoomKey) -> None:
    if caller.identity.project != key.project:
        raise InvalidRequest("a caller can be present in rooms of its project only")
