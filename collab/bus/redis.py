"""A bus over Redis or Valkey: pub/sub, and a short history of what must be found later."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from secrets import token_hex
from typing import Any, Final

import anyio
from redis.exceptions import RedisError

from collab.bus.base import (
    KEPT_BYTES,
    KEPT_MESSAGES,
    KEPT_SECONDS,
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
from collab.bus.redis_link import ECHO_SECONDS, Command, LinkLost, RedisLink, dialler, echo_name
from collab.bus.redis_names import MAGIC, Names, read_kept, read_messages, together, write_messages
from collab.bus.redis_scripts import KEEP, SINCE
from collab.errors import Unavailable

log = logging.getLogger(__name__)

MOST_UNSENT: Final = 8 * 1024 * 1024
"""Bytes that may wait for Redis. Above that, messages are dropped."""
_LONGEST_PAUSE = 2.0
_SHORTEST_PAUSE = 0.05
_LAST_SECONDS = 1.0


class RedisBus:
    """The bus of one node.

    ``url`` is ``redis://``, ``rediss://`` or ``unix://``, with user and password if need be. Raises
    :class:`ValueError` for another one.
    """

    def __init__(self, url: str, *, most_unsent: int = MOST_UNSENT, echo_seconds: float = ECHO_SECONDS) -> None:
        self._dial = dialler(url)
        self._most_unsent = most_unsent
        self._echo_seconds = echo_seconds
        self._names = Names("")
        self._counts = BusCounts()
        self._lost = True
        self._link: RedisLink | None = None
        self._running: asyncio.Task[None] | None = None
        self._listening: Listening[bytes, bytes] = Listening(self._changed)
        self._following: Listening[bytes, Kept] = Listening(self._changed)
        self._watching: Listening[str, bool] = Listening()
        self._turn: dict[bytes, list[bytes]] = {}  # by channel: what this turn of the event loop has published
        self._turn_bytes = 0
        self._told = ""  # what the log says of the outage

    async def open(self, cluster: str = "") -> None:
        """Connect in the background."""
        self._names = Names(cluster)
        self._running = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End the connections, and all subscriptions with them."""
        if self._running is not None:
            self._flush()
            if self._link is not None and not self._lost:
                with anyio.move_on_after(_LAST_SECONDS), suppress(RedisError, LinkLost):
                    await self._link.ask(("PING",), 0)  # its answer comes after what was published is there
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            self._running = None
        self._listening = Listening()
        self._following = Listening()

    @property
    def lost(self) -> bool:
        """Whether messages do not arrive at present."""
        return self._lost

    @property
    def counts(self) -> BusCounts:
        """What this node has sent and heard."""
        return self._counts

    def publish(self, topic: str, message: bytes) -> None:
        """Send to all who have subscribed. What one turn of the event loop publishes on a topic travels together."""
        if self._lost or self._unsent() + len(message) > self._most_unsent:
            self._counts.dropped += 1
            return
        if not self._turn:
            asyncio.get_running_loop().call_soon(self._flush)
        self._turn.setdefault(self._names.channel(topic), []).append(message)
        self._turn_bytes += len(message)

    async def subscribe(self, topic: str, heard: Heard) -> Ending:
        """Hear a topic."""
        return await self._listen(self._listening, self._names.channel(topic), heard)

    def watch(self, changed: Callable[[bool], None]) -> Ending:
        """Call ``changed`` with :attr:`lost` whenever it changes."""
        return self._watching.add("", changed)

    async def keep(self, topic: str, message: bytes, once: MessageName | None = None) -> Kept | Repeated:
        """Number a message, keep it, and send it to all who have subscribed with :meth:`follow`."""
        keys = [self._names.numbering(topic), self._names.messages(topic)]
        if once is not None:
            keys.append(self._names.once(topic, sha256(once.name.encode("utf-8", "surrogatepass")).hexdigest()))
        answer = await self._ask(
            KEEP,
            keys,
            (
                message,
                KEPT_MESSAGES,
                KEPT_BYTES,
                self._names.kept(topic),
                MAGIC,
                once.note if once else b"",
                ONCE_SECONDS,
            ),
            len(message),
        )
        match answer:
            case [bytes() as note]:
                return Repeated(note)
            case [bytes() as epoch, bytes() as number]:
                self._counts.published += 1
                return Kept(epoch.decode(), int(number), message)
        raise Unavailable("Redis gave an answer that makes no sense")

    async def follow(self, topic: str, heard: Callable[[Kept], None]) -> Ending:
        """Hear the kept messages of a topic."""
        return await self._listen(self._following, self._names.kept(topic), heard)

    async def since(self, topic: str, epoch: str, number: int) -> Backlog:
        """The kept messages after ``number``."""
        keys = [self._names.numbering(topic), self._names.messages(topic)]
        match await self._ask(SINCE, keys, (epoch.encode("ascii", "replace"), number), 0):
            case [bytes() as name, bytes() as newest, list() as found]:
                last = int(newest)
                first = last - len(found) + 1
                messages = [Kept(name.decode(), first + index, message) for index, message in enumerate(found)]
                complete = name.decode() == epoch and len(found) == last - number
                return Backlog(name.decode(), last, messages, complete)
        raise Unavailable("Redis gave an answer that makes no sense")

    async def _ask(self, script: str, keys: Sequence[bytes], more: Sequence[bytes | int], size: int) -> Any:
        link = self._link
        if link is None or self._lost or self._unsent() + size > self._most_unsent:
            raise Unavailable("messages between servers do not arrive at present; retry")
        command: Command = ("EVAL", script, len(keys), *keys, link.run_id, token_hex(8), KEPT_SECONDS, *more)
        try:
            return await link.ask(command, size)
        except (RedisError, LinkLost) as error:
            log.info("Redis did not keep or find a message: %s", error)
            raise Unavailable("messages between servers do not arrive at present; retry") from error

    async def _listen(self, listening: Listening[bytes, Any], channel: bytes, heard: Callable[[Any], None]) -> Ending:
        end = listening.add(channel, heard)
        if self._link is not None and not self._lost:
            try:
                await self._link.confirmed(channel)
            except BaseException:
                end()
                raise
        return end

    def _changed(self) -> None:
        if self._link is not None:
            self._link.changed()

    def _unsent(self) -> int:
        return self._turn_bytes + (self._link.unsent if self._link is not None else 0)

    def _flush(self) -> None:
        turn, self._turn, self._turn_bytes = self._turn, {}, 0
        for channel, messages in turn.items():
            if self._link is None or self._lost:
                self._counts.dropped += len(messages)
                continue
            self._counts.published += len(messages)
            for portion in together(messages):
                self._link.send((b"PUBLISH", channel, write_messages(portion)), sum(map(len, portion)), len(portion))

    def _heard(self, channel: bytes, payload: bytes) -> None:
        if channel in self._listening:
            messages = read_messages(payload)
            if messages is None:
                self._counts.junk += 1
                return
            self._counts.heard += len(messages)
            for message in messages:
                self._listening.tell(channel, message)
        elif channel in self._following:
            kept = read_kept(payload)
            if kept is None:
                self._counts.junk += 1
                return
            self._counts.heard += 1
            self._following.tell(channel, kept)

    async def _run(self) -> None:
        pause = _SHORTEST_PAUSE
        while True:
            link = self._link = RedisLink(
                self._dial,
                lambda: {*self._listening, *self._following},
                self._heard,
                echo_name(self._names.channel("echo")),
                refused=lambda error: log.warning("Redis has refused to publish a message: %s", error),
                echo_seconds=self._echo_seconds,
            )
            try:
                await link.run(self._back)
            except (RedisError, LinkLost, OSError) as error:
                if not self._lost:
                    pause = _SHORTEST_PAUSE
                if self._told != str(error):
                    self._told = str(error)
                    log.warning("no messages between servers: %s", error)
            except Exception:
                log.exception("the connection to Redis has failed")
            finally:
                self._link = None
                self._counts.dropped += link.dropped
                self._set_lost(True)
            await asyncio.sleep(pause * (0.5 + random.random()))  # noqa: S311 - so that nodes do not come all at once
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _back(self) -> None:
        if self._told:
            log.warning("messages between servers arrive again")
        self._told = ""
        self._set_lost(False)

    def _set_lost(self, lost: bool) -> None:
        if lost != self._lost:
            self._lost = lost
            self._watching.tell("", lost)
