"""What an application or an operator announces to everybody: the seam between one process and a cluster."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from collab.storage.nodes import Announcement

HearAnnouncement = Callable[[Announcement], Awaitable[None]]


class Announcements(Protocol):
    """Tells announcements to all nodes, this one too."""

    def on(self, kind: str, hear: HearAnnouncement) -> None:
        """Call ``hear`` with each announcement of a kind. Hearing one twice must do no harm."""

    async def announce(self, announcement: Announcement) -> None:
        """Tell all nodes. When it returns, this one has heard it, and the others will, even if all are killed.

        Raises :class:`collab.storage.base.StorageError` if only this one has heard it: repeat it.
        """


class LocalAnnouncements:
    """Announcements of a server that is alone."""

    def __init__(self) -> None:
        self._hear: dict[str, HearAnnouncement] = {}

    def on(self, kind: str, hear: HearAnnouncement) -> None:
        """Call ``hear`` with each announcement of a kind."""
        self._hear[kind] = hear

    async def announce(self, announcement: Announcement) -> None:
        """Call who hears this kind, and wait for it."""
        await self.hear(announcement)

    async def hear(self, announcement: Announcement) -> None:
        """Call who hears this kind. Later versions may announce what this one does not know."""
        hear = self._hear.get(announcement.kind)
        if hear is not None:
            await hear(announcement)
