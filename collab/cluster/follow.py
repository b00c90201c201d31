"""The feed of a node in a cluster: the events of all nodes, in order and without a gap, for the projects it follows.

A node follows the projects of which it has anybody. It hears of their events on the bus, its own are in the same line,
and what is missing it reads from the record: what was heard says which positions there are, a look at the record each
second too. So it makes no difference for the events what the bus does, only for when they come.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import msgspec

from collab.bus.base import Bus, Ending
from collab.cluster import trace_messages
from collab.cluster.event_messages import read_message, topic_of, write_messages
from collab.entities.entity import Answer
from collab.entities.event_traces import EventTraces
from collab.entities.feed import Feed, answer
from collab.entities.order import EventOrder
from collab.errors import CollabError, Restarting, Unavailable
from collab.event import EntityEvent
from collab.storage.base import EntityStorage, Fact, Positions
from collab.tasks import BackgroundTasks

log = logging.getLogger(__name__)

_PATIENCE = 0.05
_LOOK_SECONDS = 1.0
_LINGER_SECONDS = 30.0
_BATCH = 200
_MOST_EARLY = 1000  # messages heard while the position is read; what is left out, the next look finds


class _Own(NamedTuple):
    """What this node committed to one project at once, until it was delivered up to ``position``."""

    position: int
    events: Sequence[EntityEvent]
    answers: Sequence[Answer]


class _Followed:
    """One project. ``order`` is ``None`` until its position is known."""

    __slots__ = (
        "early",
        "ending",
        "filling",
        "linger",
        "order",
        "own",
        "project",
        "ready",
        "timer",
        "tracing",
        "uses",
        "waiting",
    )

    def __init__(self, project: str) -> None:
        self.project = project
        self.order: EventOrder | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ending: Ending | None = None
        self.tracing: Ending | None = None
        self.uses = 0
        self.linger: asyncio.TimerHandle | None = None
        self.early: list[bytes] = []
        self.own: deque[_Own] = deque()
        self.waiting: list[tuple[int, asyncio.Future[bool]]] = []
        self.timer: asyncio.TimerHandle | None = None
        self.filling: asyncio.Task[None] | None = None

    def settle(self, settle: Callable[[int, asyncio.Future[bool]], None], upto: int | None = None) -> None:
        """Give a result to all who wait for a position, or for one up to ``upto``."""
        kept = [one for one in self.waiting if upto is not None and one[0] > upto]
        due = [one for one in self.waiting if upto is None or one[0] <= upto]
        self.waiting = kept
        for position, reached in due:
            if not reached.done():
                settle(position, reached)


class ClusterFeed(Feed):
    """Call :meth:`begin`, then keep :meth:`run` running.

    Events of projects that nobody follows are published as this node commits them, and those of others not at all.
    A gap is read from the record after ``patience`` seconds. A project is followed ``linger`` seconds longer than
    anybody needs it.
    """

    def __init__(
        self,
        storage: EntityStorage,
        bus: Bus,
        *,
        patience: float = _PATIENCE,
        look_seconds: float = _LOOK_SECONDS,
        linger: float = _LINGER_SECONDS,
        traces: EventTraces | None = None,
    ) -> None:
        super().__init__(traces)
        self.junk = 0  # messages that made no sense, or named positions that do not exist
        self.filled = 0  # gaps that were read from the record
        self._own = Feed()
        self._storage = storage
        self._bus = bus
        self._patience = patience
        self._look_seconds = look_seconds
        self._linger = linger
        self._followed: dict[str, _Followed] = {}
        self._ended = False
        self._look_now = asyncio.Event()
        self._away = False  # whether the storage failed last time
        self._tasks = BackgroundTasks(lambda error: log.error("following events failed", exc_info=error))

    @property
    def own(self) -> Feed:
        """The events that this node committed."""
        return self._own

    @property
    def projects(self) -> Sequence[str]:
        """The followed projects."""
        return list(self._followed)

    def begin(self, positions: Positions) -> None:
        """Set the positions of the record when the server starts."""
        super().begin(positions)
        self._own.begin(positions)

    async def run(self) -> None:
        """Look at the record each second, until cancelled; then end everything."""
        unwatch = self._bus.watch(lambda lost: self._look_now.set())
        try:
            while True:
                try:
                    async with asyncio.timeout(self._look_seconds):
                        await self._look_now.wait()
                except TimeoutError:
                    pass
                self._look_now.clear()
                await self._look()
        finally:
            unwatch()
            self._ended = True
            self._tasks.cancel()
            for followed in list(self._followed.values()):
                self._end(followed, Restarting("the server is shutting down"))
            await self._tasks.wait()

    # following

    async def follow(self, project: str) -> Callable[[], None]:
        """Have all events of a project. From when this returns :meth:`position` is right, and nothing is missed."""
        if self._ended:
            raise Restarting("the server is shutting down")
        followed = self._followed.get(project)
        if followed is None:
            followed = self._followed[project] = _Followed(project)
            self._tasks.spawn(self._start(followed))
        followed.uses += 1
        if followed.linger is not None:
            followed.linger.cancel()
            followed.linger = None
        open_ = True

        def close() -> None:
            nonlocal open_
            if open_:
                open_ = False
                self._leave(followed)

        try:
            await asyncio.shield(followed.ready)
        except BaseException:
            close()
            raise
        return close

    async def _start(self, followed: _Followed) -> None:
        project = followed.project
        try:
            if self._traces is not None:
                topic = trace_messages.topic_of(project)
                followed.tracing = await self._bus.subscribe(topic, partial(self._heard_traces, self._traces, project))
            # in this order: what is committed after the position was read is heard
            followed.ending = await self._bus.subscribe(topic_of(project), partial(self._heard, followed))
            newest = (await self._storage.positions((project,))).of(project)
        except Exception as error:
            known = error if isinstance(error, CollabError) else Unavailable("events cannot be followed now; retry")
            if known is not error:
                log.exception("could not follow the events of %s", project)
            self._end(followed, known)
            return
        self._begin(followed, newest)
        followed.ready.set_result(None)
        if not followed.uses:
            self._linger_on(followed)

    def _begin(self, followed: _Followed, newest: int) -> None:
        project = followed.project
        order = followed.order = EventOrder(newest)
        while followed.own and followed.own[0].position <= newest:  # nobody is here yet to whom these are new
            self._release(project, followed.own.popleft(), 0)
        self._newest[project] = newest
        self._deliver(followed, order.take(event for own in followed.own for event in own.events))
        early, followed.early = followed.early, []
        for message in early:
            self._heard(followed, message)

    def _leave(self, followed: _Followed) -> None:
        followed.uses -= 1
        if not followed.uses and followed.ready.done():
            self._linger_on(followed)

    def _linger_on(self, followed: _Followed) -> None:
        if self._followed.get(followed.project) is followed:
            loop = asyncio.get_running_loop()
            followed.linger = loop.call_later(self._linger, self._end, followed, _unneeded())

    def _end(self, followed: _Followed, why: CollabError) -> None:
        """Follow a project no more. ``why`` is for those who wait for it to begin."""
        if self._followed.get(followed.project) is not followed:
            return
        del self._followed[followed.project]
        for ending in (followed.ending, followed.tracing):
            if ending is not None:
                ending()
        for timer in (followed.linger, followed.timer):
            if timer is not None:
                timer.cancel()
        if followed.filling is not None:
            followed.filling.cancel()
        for own in followed.own:  # as if the project had not been followed when they were committed
            self._release(followed.project, own, followed.order.position if followed.order is not None else 0)
        followed.own.clear()
        followed.settle(lambda position, reached: reached.set_result(True))
        if not followed.ready.done():
            followed.ready.set_exception(why)
            followed.ready.exception()  # all who waited may have been cancelled

    async def reached(self, project: str, position: int) -> bool:
        """Wait until everything up to a position was published. Returns whether the record has that position.

        Returns at once for a project that is not followed: nobody is here whom its events would have to reach. Raises
        :class:`collab.errors.Unavailable` if the storage fails.
        """
        followed = self._followed.get(project)
        if followed is None:
            return True
        await asyncio.shield(followed.ready)
        order = followed.order
        assert order is not None
        if position <= order.position:
            return True
        reached: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        followed.waiting.append((position, reached))
        order.expect(position)
        self._repair(followed)
        return await reached

    # events

    def commit(self, facts: Sequence[Fact], positions: Sequence[int], answers: Sequence[Answer]) -> None:
        """Tell the other nodes, and put the events into their line; answer when they were published here."""
        events: dict[str, list[EntityEvent]] = {}
        answered: dict[str, list[Answer]] = {}
        for position, fact in zip(positions, facts, strict=True):
            event = msgspec.structs.replace(fact.event, position=position)
            events.setdefault(fact.entity.key.project, []).append(event)
        for one in answers:
            answered.setdefault(one.project, []).append(one)
        for project, written in events.items():
            if self._traces is not None:  # before the events: whoever hears of these goes on with their traces
                made = self._traces.made(project, [event.position for event in written])
                for message in trace_messages.write_traces(made):
                    self._bus.publish(trace_messages.topic_of(project), message)
            for message in write_messages(written):
                self._bus.publish(topic_of(project), message)
        for project in {**events, **answered}:
            written = events.get(project, [])
            own = _Own(written[-1].position if written else 0, written, answered.get(project, ()))
            followed = self._followed.get(project)
            if followed is None:
                self._release(project, own, 0)
            else:
                followed.own.append(own)
                if followed.order is not None:
                    self._deliver(followed, followed.order.take(written))

    def _release(self, project: str, own: _Own, delivered: int) -> None:
        """Publish what this node committed, as far as it is not ``delivered``, and answer."""
        for event in own.events:
            if event.position > delivered:
                self.publish(project, event)
        for event in own.events:
            self._own.publish(project, event)
        for one in own.answers:
            answer(one)

    def _heard(self, followed: _Followed, message: bytes) -> None:
        order = followed.order
        if order is None:
            if len(followed.early) < _MOST_EARLY:
                followed.early.append(message)
            return
        heard = read_message(message, order.position)
        if heard is None:
            self.junk += 1
        elif heard.last > order.position:
            order.expect(heard.last)
            self._deliver(followed, order.take(heard.events))
            if not heard.events:  # too long for a message: it is not worth waiting for another one
                self._fill_now(followed)

    def _heard_traces(self, traces: EventTraces, project: str, message: bytes) -> None:
        heard = trace_messages.read_traces(message)
        if heard is None:
            self.junk += 1
        else:
            traces.heard(project, heard)

    def _deliver(self, followed: _Followed, ready: Sequence[EntityEvent]) -> None:
        project, order = followed.project, followed.order
        assert order is not None
        for event in ready:
            self.publish(project, event)
        position = self._newest[project] = order.position
        while followed.own and followed.own[0].position <= position:
            self._release(project, followed.own.popleft(), position)
        if followed.waiting:
            followed.settle(lambda wanted, reached: reached.set_result(True), upto=position)
        if order.missing is not None:
            self._repair(followed)

    # what is missing

    async def _look(self) -> None:
        """Find what was not heard."""
        known = {one.project: one.order.position for one in self._followed.values() if one.order is not None}
        if not known:
            return
        try:
            positions = await self._storage.positions(list(known))
        except Exception as error:
            self._failed(error)
            return
        self._away = False
        for project, before in known.items():
            followed = self._followed.get(project)
            if followed is None or followed.order is None:
                continue
            newest = positions.of(project)
            if newest < before:
                self._put_back(followed, newest)
            followed.order.expect(newest)
            if followed.order.missing is not None:
                self._repair(followed)

    def _repair(self, followed: _Followed) -> None:
        """Read what is missing, unless it arrives soon."""
        if followed.timer is None and followed.filling is None:
            followed.timer = asyncio.get_running_loop().call_later(self._patience, self._fill_now, followed)

    def _fill_now(self, followed: _Followed) -> None:
        if followed.timer is not None:
            followed.timer.cancel()
            followed.timer = None
        if followed.filling is None and followed.order is not None and followed.order.missing is not None:
            followed.filling = self._tasks.spawn(self._fill(followed))

    async def _fill(self, followed: _Followed) -> None:
        try:
            while followed.order is not None and followed.order.missing is not None:
                await self._fill_some(followed, followed.order)
            self._away = False
        except Exception as error:
            self._failed(error)
            failure = Unavailable("the newest events cannot be read now; retry")
            followed.settle(lambda wanted, reached: reached.set_exception(failure))
        finally:
            followed.filling = None

    async def _fill_some(self, followed: _Followed, order: EventOrder) -> None:
        project, before = followed.project, order.position
        known = order.expected, followed.waiting[-1:]
        newest = (await self._storage.positions((project,))).of(project)
        if newest < before:
            self._put_back(followed, newest)
        elif newest <= order.position and known != (order.expected, followed.waiting[-1:]):
            pass  # somebody knows of more since: it may have been committed after we looked
        elif newest <= order.position:  # what is said to come behind it is not there
            if order.forget(newest):
                self.junk += 1
            followed.settle(lambda wanted, reached: reached.set_result(False))
        else:
            found = await self._storage.events(project, order.position, limit=_BATCH)
            if followed.order is order:
                self.filled += 1
                self._deliver(followed, order.fill(found, found[-1].position if len(found) == _BATCH else newest))

    def _put_back(self, followed: _Followed, newest: int) -> None:
        """The record has lost events: it was restored from a backup, for example."""
        project = followed.project
        log.critical("the record has lost events of %s after position %d", project, newest)
        followed.order = EventOrder(newest)
        self._newest[project] = newest

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, CollabError):
            log.error("events could not be read", exc_info=error)
        elif not self._away:
            log.error("events of other nodes wait for the storage: %s", error)
        self._away = True


def _unneeded() -> CollabError:
    return Restarting("these events are not followed any more")
