"""A bus for the nodes of one process, which can lose, delay and cut: for tests and simulations."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from random import Random

from collab.bus.base import (
    KEPT_BYTES,
    KEPT_MESSAGES,
    ONCE_SECONDS,
    Backlog,
    BusCounts,
    Ending,
    Heard,
    Kept,
    MessageName,
    Repeated,
)
from collab.bus.listening import Listening
from collab.errors import Unavailable

Delay = Callable[[Random], float]
"""Draws the seconds that a message is under way."""


class MemoryHub:
    """What stands between the nodes. ``later`` and ``clock`` may be those of a virtual time.

    A message gets lost with the probability ``loss``; one that does not arrives after ``delay``, but never before an
    earlier one of the same sender to the same node.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        loss: float = 0.0,
        delay: Delay = lambda chance: 0.0,
        later: Callable[[float, Callable[[], None]], object] | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.loss = loss
        self.delay = delay
        self.chance = Random(seed)  # noqa: S311 - repeatable on purpose
        self._later = later
        self._clock = clock
        self._buses: list[MemoryBus] = []
        self._topics: dict[str, _Topic] = {}
        self._once: dict[tuple[str, str], tuple[float, bytes]] = {}

    def bus(self) -> MemoryBus:
        """A node's bus."""
        return MemoryBus(self)

    def now(self) -> float:
        """The time, in seconds."""
        return asyncio.get_running_loop().time() if self._clock is None else self._clock()

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call a function after a time."""
        if self._later is None:
            asyncio.get_running_loop().call_later(seconds, call)
        else:
            self._later(seconds, call)

    def cut(self, *buses: MemoryBus) -> None:
        """Cut these nodes off, or all: each knows it at once, and hears nothing of what is under way."""
        for bus in buses or self._buses:
            bus.set_cut(True)

    def heal(self, *buses: MemoryBus) -> None:
        """Connect these nodes again, or all."""
        for bus in buses or self._buses:
            bus.set_cut(False)

    def forget(self) -> None:
        """Lose all kept messages and their numbers, as a Redis that was restarted or flushed."""
        self._topics.clear()
        self._once.clear()

    def subscribed(self) -> int:
        """The number of topics that nodes hear, each counted once a node."""
        return sum(bus.hears for bus in self._buses)

    def send(self, sender: MemoryBus, topic: str, message: bytes | Kept) -> None:
        """Send a message from one node to all."""
        for bus in self._buses:
            if self.chance.random() >= self.loss:
                bus.arriving(sender, topic, message, self.delay(self.chance))

    def enter(self, bus: MemoryBus) -> None:
        """A node has come."""
        self._buses.append(bus)

    def leave(self, bus: MemoryBus) -> None:
        """A node has gone."""
        if bus in self._buses:
            self._buses.remove(bus)

    def topic(self, cluster: str, topic: str) -> _Topic:
        """The kept messages of a topic."""
        kept = self._topics.get(f"{cluster}:{topic}")
        if kept is None:
            kept = self._topics[f"{cluster}:{topic}"] = _Topic(f"{self.chance.getrandbits(64):016x}")
        return kept

    def used(self, cluster: str, topic: str, once: MessageName) -> bytes | None:
        """The note that a name was used with in the last hour; otherwise the name is used now."""
        key = (f"{cluster}:{topic}", once.name)
        found = self._once.get(key)
        if found is not None and found[0] + ONCE_SECONDS > self.now():
            return found[1]
        self._once[key] = (self.now(), once.note)
        return None


class _Topic:
    def __init__(self, epoch: str) -> None:
        self.epoch = epoch
        self.number = 0
        self.messages: deque[Kept] = deque()
        self.bytes = 0

    def keep(self, message: bytes) -> Kept:
        self.number += 1
        kept = Kept(self.epoch, self.number, message)
        self.messages.append(kept)
        self.bytes += len(message)
        while len(self.messages) > KEPT_MESSAGES or (self.bytes > KEPT_BYTES and len(self.messages) > 1):
            self.bytes -= len(self.messages.popleft().message)
        return kept


class _Line:
    """What is under way from one sender to one node; the newest arrives at ``due``."""

    def __init__(self) -> None:
        self.messages: deque[tuple[int, str, bytes | Kept]] = deque()
        self.due = 0.0


class MemoryBus:
    """The bus of one node of a :class:`MemoryHub`."""

    def __init__(self, hub: MemoryHub) -> None:
        self._hub = hub
        self._cluster = ""
        self._open = False
        self._cut = False
        self._counts = BusCounts()
        self._listening: Listening[str, bytes] = Listening()
        self._following: Listening[str, Kept] = Listening()
        self._watching: Listening[str, bool] = Listening()
        self._lines: dict[int, _Line] = {}  # by sender
        self._cuts = 0

    async def open(self, cluster: str = "") -> None:
        """Enter the hub."""
        self._cluster = cluster
        self._open = True
        self._hub.enter(self)
        if not self._cut:
            self._watching.tell("", False)

    async def close(self) -> None:
        """Leave the hub."""
        self._hub.leave(self)
        self._open = False
        self._cuts += 1
        self._listening = Listening()
        self._following = Listening()

    @property
    def lost(self) -> bool:
        """Whether this node is cut off, or not open."""
        return self._cut or not self._open

    @property
    def counts(self) -> BusCounts:
        """What this node has sent and heard."""
        return self._counts

    @property
    def hears(self) -> int:
        """The number of topics that this node hears."""
        return len([*self._listening]) + len([*self._following])

    def set_cut(self, cut: bool) -> None:
        """Cut this node off, or connect it again."""
        if cut != self._cut:
            self._cut = cut
            self._cuts += 1
            if self._open:
                self._watching.tell("", cut)

    def publish(self, topic: str, message: bytes) -> None:
        """Send to all who have subscribed."""
        if self.lost:
            self._counts.dropped += 1
        else:
            self._counts.published += 1
            self._hub.send(self, f"{self._cluster}:{topic}", message)

    async def subscribe(self, topic: str, heard: Heard) -> Ending:
        """Hear a topic."""
        return self._listening.add(f"{self._cluster}:{topic}", heard)

    def watch(self, changed: Callable[[bool], None]) -> Ending:
        """Call ``changed`` with :attr:`lost` whenever it changes."""
        return self._watching.add("", changed)

    async def keep(self, topic: str, message: bytes, once: MessageName | None = None) -> Kept | Repeated:
        """Number a message, keep it, and send it to all who have subscribed with :meth:`follow`."""
        await self._answer()
        if once is not None:
            note = self._hub.used(self._cluster, topic, once)
            if note is not None:
                return Repeated(note)
        kept = self._hub.topic(self._cluster, topic).keep(message)
        self._counts.published += 1
        self._hub.send(self, f"{self._cluster}:{topic}", kept)
        return kept

    async def follow(self, topic: str, heard: Callable[[Kept], None]) -> Ending:
        """Hear the kept messages of a topic."""
        return self._following.add(f"{self._cluster}:{topic}", heard)

    async def since(self, topic: str, epoch: str, number: int) -> Backlog:
        """The kept messages after ``number``."""
        await self._answer()
        kept = self._hub.topic(self._cluster, topic)
        if epoch != kept.epoch or number > kept.number:
            return Backlog(kept.epoch, kept.number, [], complete=False)
        messages = [one for one in kept.messages if one.number > number]
        return Backlog(kept.epoch, kept.number, messages, len(messages) == kept.number - number)

    def arriving(self, sender: MemoryBus, topic: str, message: bytes | Kept, seconds: float) -> None:
        """A message is under way to this node for this long, if the node hears the topic.

        Messages of one sender do not overtake each other.
        """
        if topic not in (self._following if isinstance(message, Kept) else self._listening):
            return
        line = self._lines.setdefault(id(sender), _Line())
        line.due = max(line.due, self._hub.now() + seconds)
        line.messages.append((self._cuts, topic, message))
        self._hub.later(line.due - self._hub.now(), lambda: self._arrive(*line.messages.popleft()))

    def _arrive(self, cuts: int, topic: str, message: bytes | Kept) -> None:
        if cuts != self._cuts or self._cut:
            return
        self._counts.heard += 1
        if isinstance(message, Kept):
            self._following.tell(topic, message)
        else:
            self._listening.tell(topic, message)

    async def _answer(self) -> None:
        """Let others have a turn, as over a network."""
        await asyncio.sleep(0)
        if self.lost:
            raise Unavailable("messages between servers do not arrive at present; retry")
