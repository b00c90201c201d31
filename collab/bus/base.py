"""The interface of the bus: what nodes tell each other, at most once and never as the only way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

Heard = Callable[[bytes], None]
"""Gets a message. It must not block; its exceptions are logged and affect nobody else."""
Ending = Callable[[], None]
"""Ends what it was returned for."""

KEPT_MESSAGES: Final = 1000
"""The bus keeps this many messages of a topic."""
KEPT_BYTES: Final = 1024 * 1024
"""The kept messages of a topic together have at most this many bytes, unless there is only one."""
KEPT_SECONDS: Final = 86_400
"""The bus forgets the messages and the numbers of a topic that nobody has used for this long."""
ONCE_SECONDS: Final = 3600
"""The bus remembers the name of a message for this long."""


class Kept(NamedTuple):
    """A kept message and its number. ``epoch`` is a random name of the numbering: it changes if Redis lost it."""

    epoch: str
    number: int
    message: bytes


class MessageName(NamedTuple):
    """A name under which a topic takes one message within an hour. The bus keeps ``note`` with the name."""

    name: str
    note: bytes


class Repeated(NamedTuple):
    """The name was used before, with this ``note``. The message was not sent again."""

    note: bytes


class Backlog(NamedTuple):
    """The kept messages of a topic after a number, and whether none is missing before the first of them.

    ``newest`` is the number of the topic's newest message, 0 if there was none in this ``epoch``.
    """

    epoch: str
    newest: int
    messages: Sequence[Kept]
    complete: bool


@dataclass(slots=True)
class BusCounts:
    """Messages of one node since it started.

    ``dropped`` were published while the bus was lost or its queue was full, or were in the queue when it got lost.
    ``junk`` arrived on a topic and was not written by a node.
    """

    published: int = 0
    heard: int = 0
    dropped: int = 0
    junk: int = 0


class Bus(Protocol):
    """Topics that all nodes hear. Messages of one sender on one topic arrive in order, or not at all.

    A topic is ``kind`` or ``kind/project``. Whoever needs certainty looks at the record, when it is told that messages
    may have been missed, and regularly.
    """

    async def open(self, cluster: str = "") -> None:
        """Connect in the background; a bus that cannot be reached does not delay the start.

        ``cluster`` names the record. Clusters with different names may share one Redis: they do not hear each other.
        """

    async def close(self) -> None:
        """End all subscriptions."""

    @property
    def lost(self) -> bool:
        """Whether messages do not arrive at present."""

    @property
    def counts(self) -> BusCounts:
        """What this node has sent and heard."""

    def publish(self, topic: str, message: bytes) -> None:
        """Send to all who have subscribed, the sender too. Never waits. Drops the message while the bus is lost."""

    async def subscribe(self, topic: str, heard: Heard) -> Ending:
        """Hear a topic. When this returns, whatever is published is heard, unless the bus is lost."""

    def watch(self, changed: Callable[[bool], None]) -> Ending:
        """Call ``changed`` with :attr:`lost` whenever it changes. After it was lost, messages may have been missed."""

    async def keep(self, topic: str, message: bytes, once: MessageName | None = None) -> Kept | Repeated:
        """Number a message, keep it for who comes later, and send it to all who have subscribed with :meth:`follow`.

        Raises :class:`collab.errors.Unavailable` while the bus is lost. If it is lost before the answer, the message
        may have been sent all the same: a name in ``once`` makes it safe to repeat this.
        """

    async def follow(self, topic: str, heard: Callable[[Kept], None]) -> Ending:
        """Hear the kept messages of a topic, from now on, as :meth:`subscribe` does."""

    async def since(self, topic: str, epoch: str, number: int) -> Backlog:
        """The kept messages after ``number``. ``complete`` is false for another epoch.

        Raises :class:`collab.errors.Unavailable` while the bus is lost.
        """
