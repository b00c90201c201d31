"""Fair queueing where several projects wait for the same few processes or threads.

:class:`FairQueue` decides and is pure; :class:`Turns` is its thin asynchronous shell.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

from collab.errors import RateLimitExceeded, Unavailable

T = TypeVar("T")


class TurnOwner(NamedTuple):
    """The caller of a project for whom work is done. The caller ``None`` is the server itself."""

    project: str
    caller: Hashable = None


class FairQueue(Generic[T]):
    """Serves projects in turn, the callers of a project in turn, and each caller's items in order.

    At most ``places`` items run at once. One project may hold all places but one, and one caller one less than its
    project may, so neither can block others; each may always hold one. At most ``per_caller`` items of one caller
    wait, and ``per_project`` of one project.
    """

    def __init__(self, places: int, *, per_caller: int = 100, per_project: int = 1000) -> None:
        self._places = places
        self._most_of_project = max(1, places - 1)
        self._most_of_caller = max(1, places - 2)
        self._per_caller = per_caller
        self._per_project = per_project
        self._waiting: OrderedDict[str, OrderedDict[TurnOwner, deque[T]]] = OrderedDict()  # least recently served first
        self._waits: Counter[str] = Counter()  # waiting items of each project
        self._served = 0
        self._of_project: Counter[str] = Counter()
        self._of_caller: Counter[TurnOwner] = Counter()

    def __len__(self) -> int:
        """Number of waiting items."""
        return self._waits.total()

    def add(self, owner: TurnOwner, item: T) -> None:
        """Queue an item. Raises :class:`RateLimitExceeded` if its owner has too many waiting items."""
        mine = self._waiting.get(owner.project, OrderedDict()).get(owner, ())
        if self._waits[owner.project] >= self._per_project or len(mine) >= self._per_caller:
            raise RateLimitExceeded("too many queued requests", retryAfter=1.0)
        self._waiting.setdefault(owner.project, OrderedDict()).setdefault(owner, deque()).append(item)
        self._waits[owner.project] += 1

    def remove(self, owner: TurnOwner, item: T) -> None:
        """Drop a waiting item."""
        self._waiting[owner.project][owner].remove(item)
        self._forget(owner)

    def begin(self) -> T | None:
        """Take the next item, or ``None`` if none may run now. Call :meth:`end` when the item is finished."""
        if self._served >= self._places:
            return None
        for project, callers in self._waiting.items():
            if self._of_project[project] >= self._most_of_project:
                continue
            for owner, items in callers.items():
                if self._of_caller[owner] >= self._most_of_caller:
                    continue
                item = items.popleft()
                self._waiting.move_to_end(project)
                callers.move_to_end(owner)
                self._forget(owner)
                self._served += 1
                self._of_project[project] += 1
                self._of_caller[owner] += 1
                return item
        return None

    def end(self, owner: TurnOwner) -> None:
        """An item of this owner has finished."""
        self._served -= 1
        _less(self._of_project, owner.project)
        _less(self._of_caller, owner)

    def _forget(self, owner: TurnOwner) -> None:
        _less(self._waits, owner.project)
        callers = self._waiting[owner.project]
        if not callers[owner]:
            del callers[owner]
            if not callers:
                del self._waiting[owner.project]


@dataclass(slots=True, eq=False)
class _Place:
    free: asyncio.Future[None]
    taken: bool = False


class Turns:
    """Admits tasks to ``places`` places in the order of a :class:`FairQueue`.

    ``wait_seconds`` limits the wait for a place, ``seconds`` the stay. ``owed`` returns for how many seconds the
    running task must pause to pay off its CPU debt; it is admitted after that.
    """

    def __init__(
        self,
        places: int,
        *,
        seconds: float | None = None,
        wait_seconds: float | None = 30.0,
        per_caller: int = 100,
        per_project: int = 1000,
        owed: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._seconds = seconds
        self._owed = owed
        self._wait_seconds = wait_seconds
        self._queue: FairQueue[_Place] = FairQueue(places, per_caller=per_caller, per_project=per_project)

    def __len__(self) -> int:
        """Number of waiting tasks."""
        return len(self._queue)

    @asynccontextmanager
    async def turn(self, owner: TurnOwner) -> AsyncIterator[None]:
        """Hold a place while the block runs.

        Raises :class:`RateLimitExceeded` if too many tasks of this owner wait already, if it owes too much CPU, or if
        the block took too long and was cancelled; :class:`Unavailable` if no place became free in time.
        """
        await self._pay()
        await self._begin(owner)
        while self._owed() > 0:  # it ran up debt while this task waited
            self._leave(owner)
            await self._pay()
            await self._begin(owner)
        limit = asyncio.timeout(self._seconds)
        try:
            async with limit:
                yield
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise RateLimitExceeded(
                f"the request took longer than {self._seconds:g} seconds",
                limitSeconds=self._seconds,
                retryAfter=self._seconds,
            ) from error
        finally:
            self._leave(owner)

    async def _pay(self) -> None:
        """Wait, without holding a place, until nothing is owed."""
        waited = 0.0
        while (wait := self._owed()) > 0:
            waited += wait
            if self._wait_seconds is not None and waited > self._wait_seconds:
                raise RateLimitExceeded("this caller has used too much CPU", retryAfter=round(wait, 3))
            await asyncio.sleep(wait)

    def _leave(self, owner: TurnOwner) -> None:
        self._queue.end(owner)
        self._serve()

    async def _begin(self, owner: TurnOwner) -> None:
        place = _Place(asyncio.get_running_loop().create_future())
        self._queue.add(owner, place)
        self._serve()
        if place.taken:
            return
        try:
            async with asyncio.timeout(self._wait_seconds):
                await place.free
        except BaseException as error:
            if place.taken:  # granted at the same moment
                self._leave(owner)
            else:
                self._queue.remove(owner, place)
            if isinstance(error, TimeoutError):
                raise Unavailable("the server is busy: try again", retryAfter=5.0) from error
            raise

    def _serve(self) -> None:
        while (place := self._queue.begin()) is not None:
            place.taken = True
            if not place.free.done():  # otherwise its waiter has just been cancelled
                place.free.set_result(None)


def _less(counter: Counter[T], key: T) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
