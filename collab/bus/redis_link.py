"""Two connections to Redis, for as long as both work: one sends commands, the other one listens."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from secrets import token_hex
from typing import Any, Final, NamedTuple

import anyio
from redis.asyncio.connection import Connection, parse_url
from redis.exceptions import RedisError, ResponseError

DIAL_SECONDS: Final = 1.0
ECHO_SECONDS: Final = 1.0
MOST_UNHEARD: Final = 3
"""This many echoes without an answer mean that the bus is lost. Counted, not timed: this process may have slept."""

Command = tuple[bytes | str | int, ...]
Dial = Callable[[], Connection]


class LinkLost(Exception):
    """Redis does not answer, or cannot be reached."""


class _Sent(NamedTuple):
    command: Command
    size: int
    messages: int
    answer: asyncio.Future[Any] | None


def dialler(url: str) -> Dial:
    """What makes connections to ``redis://``, ``rediss://`` or ``unix://``, which are not open yet.

    Raises :class:`ValueError` for another URL, or an unknown option in it.
    """
    options: dict[str, Any] = dict(parse_url(url))
    kind = options.pop("connection_class", Connection)
    # times are limited outside of the library: its own limit on sending may swallow a cancellation
    options |= {
        "protocol": 2,
        "socket_timeout": None,
        "socket_connect_timeout": DIAL_SECONDS,
        "decode_responses": False,
    }

    def dial() -> Connection:
        connection: Connection = kind(**options)
        return connection

    try:
        dial()
    except TypeError as error:
        raise ValueError(f"an option in the URL of Redis is not known: {error}") from None
    return dial


class RedisLink:
    """One link. ``wanted`` returns the channels to listen to; call :meth:`changed` when they are others.

    ``heard`` is called with channel and payload. ``echo`` is the name of a channel that nobody else uses.
    """

    def __init__(
        self,
        dial: Dial,
        wanted: Callable[[], set[bytes]],
        heard: Callable[[bytes, bytes], None],
        echo: bytes,
        *,
        refused: Callable[[ResponseError], None],
        echo_seconds: float = ECHO_SECONDS,
    ) -> None:
        self._commands = dial()
        self._listening = dial()
        self._wanted = wanted
        self._heard = heard
        self._echo = echo
        self._refused = refused
        self._echo_seconds = echo_seconds
        self._unheard = 0
        self._queue: deque[_Sent] = deque()
        self._queued = asyncio.Event()
        self._asked: set[bytes] = set()  # channels that Redis was last told to subscribe
        self._unanswered: dict[bytes, int] = {}  # by channel: subscriptions and their ends without an answer
        self._changed = asyncio.Event()
        self._answered = asyncio.Event()  # made anew at each answer
        self._echoed = asyncio.Event()
        self.run_id = ""
        """The name that Redis has given to its process; empty if it does not tell."""
        self.unsent = 0
        """Bytes of messages that wait to be sent or answered."""
        self.ended = False
        self.dropped = 0
        """Messages that were in the queue when the link ended."""

    async def run(self, ready: Callable[[], None]) -> None:
        """Work until something fails, and raise it. ``ready`` is called when all that is wanted is heard.

        Raises :class:`LinkLost`, :class:`RedisError` and :class:`OSError`.
        """
        try:
            await self._dial()
            await self._first_to_end(self._send(), self._listen(), self._subscribe(), self._watch(ready))
        finally:
            self._end()
            with anyio.CancelScope(shield=True), suppress(RedisError, OSError):
                await self._commands.disconnect()
                await self._listening.disconnect()

    def send(self, command: Command, size: int, messages: int) -> None:
        """Send a command whose answer matters to nobody. It carries ``messages`` of ``size`` bytes together."""
        self._put(_Sent(command, size, messages, None))

    async def ask(self, command: Command, size: int) -> Any:
        """Send a command with one message, and return what Redis answers. Raises :class:`RedisError`, `LinkLost`."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._put(_Sent(command, size, 1, answer))
        return await answer

    def changed(self) -> None:
        """Other channels are wanted."""
        self._changed.set()

    async def confirmed(self, channel: bytes) -> None:
        """Return when Redis has confirmed that it sends a channel, or when the link has ended."""
        while not self.ended and channel not in self._confirmed(channel):
            await self._answered.wait()

    def _confirmed(self, *channels: bytes) -> set[bytes]:
        return {one for one in channels if one in self._asked and one not in self._unanswered}

    def _put(self, sent: _Sent) -> None:
        if self.ended:
            self.dropped += sent.messages
            if sent.answer is not None:
                sent.answer.set_exception(LinkLost("the connection to Redis has ended"))
            return
        self.unsent += sent.size
        self._queue.append(sent)
        self._queued.set()

    def _end(self) -> None:
        self.ended = True
        while self._queue:
            sent = self._queue.popleft()
            self.dropped += sent.messages
            if sent.answer is not None and not sent.answer.done():
                sent.answer.set_exception(LinkLost("the connection to Redis was lost before the answer"))
        self._answered.set()

    async def _dial(self) -> None:
        try:
            with anyio.fail_after(2 * DIAL_SECONDS):
                await self._commands.connect()  # type: ignore[no-untyped-call]
                await self._listening.connect()  # type: ignore[no-untyped-call]
                await self._commands.send_command("INFO", "server", check_health=False)
                try:
                    self.run_id = _run_id(await self._commands.read_response())
                except ResponseError:  # this user may not ask
                    self.run_id = ""
        except TimeoutError:
            raise LinkLost("Redis does not answer") from None

    async def _first_to_end(self, *works: Coroutine[Any, Any, None]) -> None:
        tasks = [asyncio.create_task(work) for work in works]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            await task

    async def _send(self) -> None:
        """Send all that one turn of the event loop has gathered, then read the answers."""
        while True:
            await self._queued.wait()
            self._queued.clear()
            batch = [*self._queue]
            await self._commands.send_packed_command(
                [part for sent in batch for part in self._commands.pack_command(*sent.command)], check_health=False
            )
            for sent in batch:
                answer: Any = None
                error: ResponseError | None = None
                try:
                    answer = await self._commands.read_response()
                except ResponseError as refused:
                    error = refused
                self._queue.popleft()  # not before: what is in the queue when the link ends is dropped
                self.unsent -= sent.size
                if sent.answer is None:
                    if error is not None:
                        self.dropped += sent.messages
                        self._refused(error)
                elif not sent.answer.done():
                    if error is None:
                        sent.answer.set_result(answer)
                    else:
                        sent.answer.set_exception(error)

    async def _listen(self) -> None:
        while True:
            match await self._listening.read_response():
                case [b"message", bytes() as channel, bytes() as payload]:
                    if channel == self._echo:
                        self._unheard = 0
                        self._echoed.set()
                    else:
                        self._heard(channel, payload)
                case [b"subscribe" | b"unsubscribe", bytes() as channel, _]:
                    left = self._unanswered.get(channel, 1) - 1
                    if left:
                        self._unanswered[channel] = left
                    else:
                        self._unanswered.pop(channel, None)
                        self._answered.set()
                        self._answered = asyncio.Event()

    async def _subscribe(self) -> None:
        """Keep what Redis sends equal to what is wanted."""
        while True:
            wanted = self._wanted() | {self._echo}
            for command, channels in ((b"SUBSCRIBE", wanted - self._asked), (b"UNSUBSCRIBE", self._asked - wanted)):
                if channels:
                    for channel in channels:
                        self._unanswered[channel] = self._unanswered.get(channel, 0) + 1
                    self._asked ^= channels
                    await self._listening.send_command(command, *channels, check_health=False)
            await self._changed.wait()
            self._changed.clear()

    async def _watch(self, ready: Callable[[], None]) -> None:
        """Send an echo each second, and raise :class:`LinkLost` when several are missing."""
        try:
            with anyio.fail_after(MOST_UNHEARD * self._echo_seconds):
                while not self._asked or self._unanswered:
                    await self._answered.wait()
        except TimeoutError:
            raise LinkLost("Redis does not confirm subscriptions") from None
        is_ready = False
        while self._unheard < MOST_UNHEARD:
            self._unheard += 1
            self.send((b"PUBLISH", self._echo, b""), 0, 0)
            if is_ready:
                await anyio.sleep(self._echo_seconds)
                continue
            with anyio.move_on_after(self._echo_seconds):
                await self._echoed.wait()
                is_ready = True
                ready()
        raise LinkLost("Redis does not send what is published")


def echo_name(prefix: bytes) -> bytes:
    """The name of a channel that nobody else uses."""
    return prefix + token_hex(12).encode()


def _run_id(info: bytes) -> str:
    fields: Mapping[bytes, bytes] = dict(_pairs(info.splitlines()))
    return fields.get(b"run_id", b"").decode("ascii", "replace")


def _pairs(lines: Iterable[bytes]) -> Iterable[tuple[bytes, bytes]]:
    for line in lines:
        name, colon, value = line.partition(b":")
        if colon:
            yield name, value
