"""What one node announces and all hear: written to the record, rung on the bus, and looked at once a second."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import anyio

from collab.bus.base import Bus
from collab.realtime.topics.announcements import HearAnnouncement, LocalAnnouncements
from collab.storage.base import StorageError
from collab.storage.nodes import Announcement, Fenced, Nodes
from collab.tasks import BackgroundTasks

log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0
TOPIC: Final = "announcements"
_AT_ONCE = 1000


class ClusterAnnouncements:
    """The announcements of a cluster; :meth:`start` comes before clients, and :meth:`run` must be running.

    ``seconds`` is the longest time between two looks.
    """

    def __init__(self, nodes: Nodes, bus: Bus, *, seconds: float = LOOK_SECONDS) -> None:
        self._nodes = nodes
        self._bus = bus
        self._seconds = seconds
        self._local = LocalAnnouncements()
        self._seen = 0
        self._mine: set[int] = set()  # heard already, and not seen in the record
        self._one_at_a_time = asyncio.Lock()
        self._look_now = asyncio.Event()
        self._tasks = BackgroundTasks(lambda error: log.error("an announcement was not heard", exc_info=error))
        self._reached = True

    def on(self, kind: str, hear: HearAnnouncement) -> None:
        """Call ``hear`` with each announcement of a kind."""
        self._local.on(kind, hear)

    async def announce(self, announcement: Announcement) -> None:
        """Hear it here at once, and meanwhile write it, and ring: others do not wait for what it causes here."""
        hearing = asyncio.ensure_future(self._local.hear(announcement))
        try:
            async with self._one_at_a_time:  # a look must not see it before its number is known
                self._mine.add(await self._nodes.announce(announcement))
            self._bus.publish(TOPIC, b"")
        finally:
            await hearing

    async def start(self) -> None:
        """Hear what is announced from now on. Raises the storage's errors."""
        self._seen = await self._nodes.announced()

    async def run(self) -> None:
        """Look until cancelled: when somebody rings, when the bus is back, and after ``seconds`` anyway."""
        unwatch = self._bus.watch(lambda lost: self._look_now.set())
        end = await self._bus.subscribe(TOPIC, lambda message: self._look_now.set())
        try:
            while True:
                self._look_now.clear()
                await self.look()
                with anyio.move_on_after(self._seconds):
                    await self._look_now.wait()
        finally:
            unwatch()
            end()
            self._tasks.cancel()

    async def look(self) -> None:
        """Hear what was announced since the last look. A storage that is away for a while does no harm."""
        try:
            async with self._one_at_a_time:
                found = await self._nodes.announcements(self._seen, _AT_ONCE)
        except Fenced:
            raise
        except StorageError as error:
            if self._reached:  # the recorder tells for how long the storage is away
                log.info("announcements are not looked at: %s", error)
            self._reached = False
            return
        self._reached = True
        for number, announcement in found:
            self._seen = number
            if number in self._mine:
                self._mine.discard(number)
            else:  # in the background: many clients may have to be checked, and the next one is not to wait for that
                self._tasks.spawn(self._local.hear(announcement))
        if len(found) == _AT_ONCE:
            self._look_now.set()
