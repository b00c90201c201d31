"""A bus whose messages carry a code that only nodes can compute: who can write to Redis cannot make them up.

The code binds a message to its topic. It does not keep anybody from sending a message again that was sent before.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from hmac import compare_digest

from collab.bus.base import Backlog, Bus, BusCounts, Ending, Heard, Kept, MessageName, Repeated

_CODE_BYTES = 16


def seal(key: bytes, topic: str, message: bytes) -> bytes:
    """The message behind its code."""
    return _code(key, topic, message) + message


def unseal(key: bytes, topic: str, sealed: bytes) -> bytes | None:
    """The message; ``None`` if nobody with this key has sent it on this topic."""
    message = sealed[_CODE_BYTES:]
    return message if compare_digest(sealed[:_CODE_BYTES], _code(key, topic, message)) else None


def _code(key: bytes, topic: str, message: bytes) -> bytes:
    code = blake2b(topic.encode("utf-8", "surrogatepass"), key=key, digest_size=_CODE_BYTES, person=b"collab bus")
    code.update(b"\0")
    code.update(message)
    return code.digest()


class SealedBus:
    """A :class:`Bus` on another one. :meth:`unlock` must come before it is opened."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._key = b""

    def unlock(self, secret: bytes) -> None:
        """Use the secret that all nodes share."""
        self._key = blake2b(secret).digest()

    async def open(self, cluster: str = "") -> None:
        """Connect in the background."""
        if not self._key:
            raise RuntimeError("the key comes first")
        await self._bus.open(cluster)

    async def close(self) -> None:
        """End all subscriptions."""
        await self._bus.close()

    @property
    def lost(self) -> bool:
        """Whether messages do not arrive at present."""
        return self._bus.lost

    @property
    def counts(self) -> BusCounts:
        """What this node has sent and heard."""
        return self._bus.counts

    def publish(self, topic: str, message: bytes) -> None:
        """Send to all who have subscribed."""
        self._bus.publish(topic, seal(self._key, topic, message))

    async def subscribe(self, topic: str, heard: Heard) -> Ending:
        """Hear a topic."""

        def hear(sealed: bytes) -> None:
            message = self._open(topic, sealed)
            if message is not None:
                heard(message)

        return await self._bus.subscribe(topic, hear)

    def watch(self, changed: Callable[[bool], None]) -> Ending:
        """Call ``changed`` with :attr:`lost` whenever it changes."""
        return self._bus.watch(changed)

    async def keep(self, topic: str, message: bytes, once: MessageName | None = None) -> Kept | Repeated:
        """Number a message, keep it, and send it to all who have subscribed with :meth:`follow`."""
        kept = await self._bus.keep(topic, seal(self._key, topic, message), once)
        return kept._replace(message=message) if isinstance(kept, Kept) else kept

    async def follow(self, topic: str, heard: Callable[[Kept], None]) -> Ending:
        """Hear the kept messages of a topic."""

        def hear(kept: Kept) -> None:
            message = self._open(topic, kept.message)
            if message is not None:
                heard(kept._replace(message=message))

        return await self._bus.follow(topic, hear)

    async def since(self, topic: str, epoch: str, number: int) -> Backlog:
        """The kept messages after ``number``; those that no node has sent are left out."""
        backlog = await self._bus.since(topic, epoch, number)
        opened = [(kept, self._open(topic, kept.message)) for kept in backlog.messages]
        return backlog._replace(
            messages=[kept._replace(message=message) for kept, message in opened if message is not None]
        )

    def _open(self, topic: str, sealed: bytes) -> bytes | None:
        message = unseal(self._key, topic, sealed)
        if message is None:
            self.counts.junk += 1
        return message
