"""The interface of the bus: what nodes tell each other, at most once and never as the only way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

Heard = Callable[[bytes], None]
"""Gets a message. It must not block; its exceptions are logged and affect nobody else."""
Ending = Callable[[], None]
"""Ends what it was returned for."""


class Kept(NamedTuple):
    """A kept message and its number. ``epoch`` is a random name of the numbering: it changes if Redis lost it."""

    epoch: str
    number: int
    message: bytes


class Backlog(NamedTuple):
    """The kept messages of a topic after a number, and whether none is missing before the first of them.

    ``newest`` is the number of the topic's newest message, 0 if there was none in this ``epoch``.
    """

    epoch: str
    newest: int
    messages: Sequence[Kept]
    complete: bool


class Bus(Protocol):
    """Topics that all nodes hear. Messages of one sender on one topic arrive in order, or not at all.

    Whoever needs certainty looks at the record, when it is told that messages may have been missed, and regularly.
    """

    async def open(self) -> None:
        """Connect in the background; a bus that cannot be reached does not delay the start."""

    async def close(self) -> None:
        """End all subscriptions."""

    @property
    def lost(self) -> bool:
        """Whether messages do not arrive at present."""

    def publish(self, topic: str, message: bytes) -> None:
        """Send to all who have subscribed, the sender too. Never waits. Drops the message while the bus is lost."""

    async def subscribe(self, topic: str, heard: Heard) -> Ending:
        """Hear a topic. When this returns, whatever is published is heard, unless the bus is lost."""

    def watch(self, changed: Callable[[bool], None]) -> Ending:
        """Call ``changed`` with :attr:`lost` whenever it changes. After it was lost, messages may have been missed."""

    async def keep(self, topic: str, message: bytes) -> Kept:
        """Number a message, keep it for who comes later, and send it to all who have subscribed with :meth:`follow`.

        Raises :class:`collab.errors.Unavailable` while the bus is lost.
        """

    async def follow(self, topic: str, heard: Callable[[Kept], None]) -> Ending:
        """Hear the kept messages of a topic, from now on."""

    async def since(self, topic: str, epoch: str, number: int) -> Backlog:
        """The kept messages after ``number``. ``complete`` is false for another epoch.

        Raises :class:`collab.errors.Unavailable` while the bus is lost.
        """
