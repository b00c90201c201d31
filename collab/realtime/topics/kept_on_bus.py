"""Custom events of a cluster: numbered, kept and told by the bus, in one order for all nodes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

import anyio
import msgspec

from collab.bus.base import Bus, Ending, Kept, MessageName, Repeated
from collab.dates import iso
from collab.errors import Unavailable
from collab.event import read_cursor, write_cursor
from collab.realtime.listeners import ignore
from collab.realtime.topics.kept_events import Emission, EventName, EventsSince, SentEvent, log_failure, sent_event
from collab.records.idempotency import check_name, reused
from collab.tasks import BackgroundTasks

log = logging.getLogger(__name__)

MOST_WAITING: Final = 1000
"""Events that wait while older ones are fetched. The bus keeps as many."""
_PAUSE_SECONDS = 1.0
_FRESH_SECONDS = 3600.0  # so that the bus does not forget a numbering that somebody follows
_NOWHERE = "none"  # the epoch in cursors of a node that does not know the numbering: never one of the bus

_encoder = msgspec.msgpack.Encoder()
_event_decoder = msgspec.msgpack.Decoder(dict[str, Any])


class _Note(msgspec.Struct, array_like=True):
    """What the bus keeps with a name."""

    digest: bytes
    at: str


_note_decoder = msgspec.msgpack.Decoder(_Note)


class Numbering:
    """Where a node stands in the events of one project: which kept message comes next, and which ones are missing."""

    def __init__(self) -> None:
        self.epoch: str | None = None
        self.number = 0
        self.behind = True
        """Whether older messages must be fetched before the ones that wait."""
        self._waiting: list[Kept] = []
        self._doubted = False

    def take(self, kept: Kept) -> Sequence[Kept]:
        """Take a message that has arrived. Returns those whose turn it is."""
        if not self.behind and kept.epoch == self.epoch:
            if kept.number <= self.number:
                return []
            if kept.number == self.number + 1:
                self.number += 1
                return [kept]
        self.behind = True
        if len(self._waiting) >= MOST_WAITING:
            self._waiting.clear()  # they will be fetched, or are missing
        self._waiting.append(kept)
        return []

    def fetched(self, epoch: str, newest: int, messages: Sequence[Kept]) -> Sequence[Kept]:
        """Older messages were fetched, up to ``newest``. Returns those whose turn it is. It may be behind again.

        A message of another epoch is of an older one and came late, or of a newer one: the next fetch tells.
        """
        self.epoch, self.number, self.behind = epoch, newest, False
        waiting, self._waiting = self._waiting, []
        taken = [*messages, *(one for kept in waiting if kept.epoch == epoch for one in self.take(kept))]
        others = [kept for kept in waiting if kept.epoch != epoch]
        self._doubted = bool(others) and not self._doubted
        if self._doubted:
            self.behind = True
            self._waiting += others
        return taken


class _Project:
    def __init__(self) -> None:
        self.holders = 0
        self.numbering = Numbering()
        self.in_step = asyncio.Event()  # or it has turned out that the bus is lost
        self.following: asyncio.Task[None] | None = None
        self.wake = asyncio.Event()


class KeptOnBus:
    """Numbers the events of each project by themselves. Follows the projects that somebody holds."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._projects: dict[str, _Project] = {}
        self._tasks = BackgroundTasks(lambda error: log.error("custom events have failed", exc_info=error))
        self._hear: Callable[[str, SentEvent], None] = lambda project, sent: None
        self._missed: Callable[[str], None] = lambda project: None
        self._unwatch = bus.watch(self._bus_changed)

    def connect(self, hear: Callable[[str, SentEvent], None], missed: Callable[[str], None]) -> None:
        """Call ``hear`` with each event, and ``missed`` if some may never come."""
        self._hear = hear
        self._missed = missed

    def emit(self, project: str, event: dict[str, Any], now: float, name: EventName | None) -> Emission:
        """Send an event in the background: in the order of the calls, to this node too."""
        if name is not None:
            check_name(name.name)
        event["at"] = iso(now)
        sending = asyncio.ensure_future(self._send(project, event, name))
        sending.add_done_callback(lambda sent: None if sent.cancelled() else log_failure(project, sent.exception()))
        return Emission(sending)

    def hold(self, project: str) -> Callable[[], None]:
        """Hear the events of a project until the returned function is called."""
        held = self._projects.get(project)
        if held is None:
            held = self._projects[project] = _Project()
            held.following = self._tasks.spawn(self._follow(project, held))
        held.holders += 1
        given_back = False

        def give_back() -> None:
            nonlocal given_back
            if not given_back:
                given_back = True
                held.holders -= 1
                if not held.holders:
                    del self._projects[project]
                    assert held.following is not None
                    held.following.cancel()

        return give_back

    def cursor(self, project: str) -> str:
        """The cursor that stands for all events that this node has heard."""
        held = self._projects.get(project)
        if held is None or held.numbering.epoch is None:
            return write_cursor(_NOWHERE, 0)
        return write_cursor(held.numbering.epoch, held.numbering.number)

    async def since(self, project: str, cursor: str | None) -> EventsSince:
        """The events after a cursor, from the bus."""
        held = self._projects[project]
        await held.in_step.wait()
        numbering = held.numbering
        if cursor is None:
            return _standing(numbering)._replace(recovered=True)
        epoch, _, _ = cursor.rpartition(".")
        number = read_cursor(epoch, cursor)
        if number is None or not (epoch.isascii() and epoch.isalnum()):
            return _standing(numbering)
        try:
            found = await self._bus.since(_topic(project), epoch, number)
        except Unavailable:
            found = None
        if found is None or not found.complete:
            standing = _standing(numbering)
            # the client may have heard more, from another node, which this one will hear later
            return standing._replace(number=max(number, standing.number)) if epoch == standing.epoch else standing
        events = [sent for kept in found.messages if (sent := _read(kept)) is not None]
        return EventsSince(events, found.epoch, found.newest, recovered=True)

    async def close(self) -> None:
        """Hear nothing more."""
        self._unwatch()
        self._tasks.cancel()
        await self._tasks.wait()

    async def _send(self, project: str, event: dict[str, Any], name: EventName | None) -> dict[str, Any]:
        once = None
        if name is not None:
            note = _encoder.encode(_Note(name.digest, event["at"]))
            once = MessageName(msgspec.json.encode([name.caller, name.name]).decode(), note)
        kept = await self._bus.keep(_topic(project), _encoder.encode(event), once)
        if name is not None and isinstance(kept, Repeated):
            before = _note_decoder.decode(kept.note)
            if before.digest != name.digest:
                raise reused(name.name)
            return {**event, "at": before.at}
        return event

    async def _follow(self, project: str, held: _Project) -> None:
        """Hear a project, and fetch what is missing, until this is cancelled."""
        end: Ending = ignore  # until there is something to end
        try:
            end = await self._bus.follow(_topic(project), lambda kept: self._take(project, held, kept))
            while True:
                await self._fetch(project, held)
                held.in_step.set()
                with anyio.move_on_after(_PAUSE_SECONDS if held.numbering.behind else _FRESH_SECONDS):
                    await held.wake.wait()
                held.wake.clear()
        finally:
            held.in_step.set()
            end()

    async def _fetch(self, project: str, held: _Project) -> None:
        numbering = held.numbering
        known = numbering.epoch
        try:
            found = await self._bus.since(_topic(project), known or "", numbering.number)
        except Unavailable:
            return
        self._tell(project, numbering.fetched(found.epoch, found.newest, found.messages if found.complete else []))
        if not found.complete and (known is not None or held.in_step.is_set()):
            self._missed(project)

    def _take(self, project: str, held: _Project, kept: Kept) -> None:
        self._tell(project, held.numbering.take(kept))
        if held.numbering.behind:
            held.wake.set()

    def _tell(self, project: str, messages: Sequence[Kept]) -> None:
        for kept in messages:
            sent = _read(kept)
            if sent is not None:
                self._hear(project, sent)

    def _bus_changed(self, lost: bool) -> None:
        if not lost:
            for held in self._projects.values():
                held.numbering.behind = True
                held.wake.set()


def _standing(numbering: Numbering) -> EventsSince:
    """What a subscription is told that begins where the node stands, and may have missed something."""
    return EventsSince([], numbering.epoch or _NOWHERE, numbering.number, recovered=False)


def _topic(project: str) -> str:
    return f"events/{project}"


def _read(kept: Kept) -> SentEvent | None:
    """The event in a message; ``None`` if no node has written it."""
    try:
        event = _event_decoder.decode(kept.message)
    except msgspec.MsgspecError:
        event = {}
    if not isinstance(event.get("type"), str) or not isinstance(event.get("channels", []), list):
        log.warning("the bus has kept something that is no event")
        return None
    return sent_event(event, kept.epoch, kept.number)
