"""The people of a room of another node, for subscribers here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from collab.access.price import METER
from collab.cluster.arguments import RoomAsked, decode_value
from collab.cluster.calls import Calls, Patience
from collab.cluster.link import Lost
from collab.errors import CollabError, Elsewhere, InternalError, NotFound, Restarting, Unavailable
from collab.names import RoomKey
from collab.realtime.listeners import Listeners
from collab.realtime.topics.crowd import PresenceCrowd
from collab.wire.realtime.messages import People
from collab.wire.realtime.values import Person


class FollowedCrowd:
    """One stream from the owner for all listeners of this node. Call :meth:`start` once.

    After the owner was lost, the next one is asked, without an error: the listeners get the whole list again. That may
    be this node: ``open_here`` opens the crowd of a room that it owns.
    """

    def __init__(self, key: RoomKey, calls: Calls, open_here: Callable[[RoomKey], Awaitable[PresenceCrowd]]) -> None:
        self.key = key
        self.listeners: Listeners[People] = Listeners()
        self._calls = calls
        self._open_here = open_here
        self._people: dict[str, Person] = {}
        self._count = 0
        self._here: PresenceCrowd | None = None
        self._met = False  # whether the owner has answered since the last failure
        self._began: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return once the first list is known. Raises the errors of opening the room."""
        try:
            await self._follow_here()
        except Elsewhere:
            pass
        else:
            return
        self._task = asyncio.create_task(self._run())
        try:
            await asyncio.shield(self._began)
        except BaseException:
            self.close()
            raise

    def all(self) -> People:
        """Everybody, as of the last change that was sent."""
        return People(subs=(), count=self._count, people=list(self._people.values()), complete=True)

    def close(self) -> None:
        """The last listener is gone."""
        if self._task is not None:
            self._task.cancel()
        if self._here is not None:
            self._here.close()

    async def _run(self) -> None:
        METER.set(None)  # it serves all listeners, not the one that came first
        patience = Patience()
        try:
            while True:
                try:
                    await self._follow()
                    return
                except CollabError as error:
                    again = isinstance(error, Elsewhere | Lost | Restarting)
                    if not self._began.done() and (not again or patience.over):
                        self._began.set_exception(Unavailable(error.message, **error.details) if again else error)
                        return
                    if isinstance(error, NotFound) and self._people:  # the document was deleted
                        self._heard(People(subs=(), count=0, people=[], complete=True))
                if self._met:
                    self._met, patience = False, Patience()
                await patience.pause()
        finally:
            if not self._began.done():
                self._began.set_exception(InternalError("could not follow the people of a room"))
                self._began.exception()  # nobody may wait for it any more

    async def _follow(self) -> None:
        """Returns when this node has become the owner."""
        try:
            await self._follow_here()
            return
        except Elsewhere as elsewhere:
            nid = elsewhere.nid
        try:
            async with self._calls.stream(nid, "presence.people", RoomAsked(self.key)) as items:
                async for item in items:
                    self._heard(decode_value(item, People))
                    self._met = True
        except (Elsewhere, Lost, Restarting):
            self._calls.forget(nid)
            raise
        raise Lost

    async def _follow_here(self) -> None:
        self._here = await self._open_here(self.key)
        self._here.listeners.add(self._heard)
        self._heard(self._here.all())

    def _heard(self, people: People) -> None:
        if people.complete:
            self._people.clear()
        for key in people.left:
            self._people.pop(key, None)
        self._people |= {person.key: person for person in people.people}
        self._count = people.count
        if not self._began.done():
            self._began.set_result(None)
        self.listeners.tell(people)
