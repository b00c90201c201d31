"""A server that says what a test wants, over a link without a socket."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from collab.client import LumenizeClient
from collab.errors import ConnectionLost
from collab.wire.realtime import encoding
from collab.wire.realtime import messages as realtime
from collab.wire.realtime import values as wire
from collab.wire.realtime.messages import ClientMessage, Message
from presence.lib0 import read_string
from tests.collab.client.world import client, until

AT = "2024-01-01T00:00:00.000Z"


class Scripted:
    """It welcomes each session and confirms subscriptions, unless told otherwise. All else is up to the test."""

    def __init__(self) -> None:
        self.opened = 0
        self.welcomes = True
        self.confirms = True
        self.heard: list[ClientMessage] = []
        self.answers: Iterator[Callable[[Scripted, realtime.Asked], None]] = iter(())
        """What it does when it hears a request, once each."""
        self.frames: Iterator[Callable[[str], bytes]] = iter(())
        """What it says when it hears something about a document, whose address is the argument, once each."""
        self._says: MemoryObjectSendStream[str | bytes]
        self._hears: MemoryObjectReceiveStream[str | bytes]

    def client(self, websocket: dict[str, Any] | None = None, **options: Any) -> LumenizeClient:
        """A client of this server, not yet connected."""
        made = client("scripted", websocket, **options)
        made._engine._open_link = self.open
        return made

    @asynccontextmanager
    async def open(self, url: str, *, within: float, compression: bool) -> AsyncIterator[Any]:
        """The link of a client."""
        self.opened += 1
        self._says, self._hears = anyio.create_memory_object_stream[str | bytes](math.inf)
        limits = wire.Limits(max_subscriptions=0, max_events_per_second=0, max_message_bytes=0)
        if self.welcomes:
            self.say(
                realtime.Welcome(
                    protocol=1,
                    project_id="p",
                    user_id=None,
                    session="s",
                    cursor="0",
                    heartbeat_seconds=30,
                    limits=limits,
                )
            )
        with self._says, self._hears:
            yield self

    async def send(self, frame: str | bytes) -> None:
        """Take a frame of the client."""
        if isinstance(frame, bytes):
            if (say := next(self.frames, None)) is not None:
                self.send_frame(say(read_string(frame, 0)[0]))
            return
        message = encoding.decode_client(frame)
        self.heard.append(message)
        if isinstance(message, realtime.Asked) and (deed := next(self.answers, None)) is not None:
            deed(self, message)
        elif isinstance(message, realtime.Subscribe) and self.confirms:
            confirmed = [msgspec.to_builtins(wire.Subscribed(sub=each.sub)) for each in message.subscriptions]
            self.reply(message, confirmed)

    async def receive(self) -> str | bytes:
        """Return the next frame for the client."""
        try:
            return await self._hears.receive()
        except anyio.EndOfStream:
            raise ConnectionLost("cut") from None

    # for tests

    def say(self, *messages: Message) -> None:
        """Send messages to the client."""
        for message in messages:
            self.send_frame(encoding.encode(message, "json"))

    def send_frame(self, frame: str | bytes) -> None:
        """Send a frame to the client, whatever it is."""
        self._says.send_nowait(frame)

    def reply(self, asked: ClientMessage, result: Any = None) -> None:
        """Answer a request."""
        assert isinstance(asked, realtime.Asked)
        self.say(realtime.Reply(id=asked.id, result=result))

    def refuse(self, asked: ClientMessage, error: Any) -> None:
        """Refuse a request."""
        assert isinstance(asked, realtime.Asked)
        self.say(realtime.Failure(id=asked.id, error=wire.Error.of(error)))

    def cut(self) -> None:
        """End the connection."""
        self._says.close()

    async def asked(self, kind: type[Message], count: int = 1) -> list[Any]:
        """Wait until the client has sent so many messages of a kind; returns them."""
        await until(lambda: len(self.all_of(kind)) >= count)
        return self.all_of(kind)

    def all_of(self, kind: type[Message]) -> list[Any]:
        """The client's messages of a kind."""
        return [message for message in self.heard if isinstance(message, kind)]

    async def handled(self) -> None:
        """Wait until the client has handled everything that was said."""
        await until(lambda: not (now := self._says.statistics()).current_buffer_used and now.tasks_waiting_receive)


def rows(sub: int, *found: dict[str, Any]) -> realtime.RowsAre:
    """The rows of a live query, each in its first version."""
    return realtime.RowsAre(sub=sub, rows=list(found), versions=[1] * len(found))


def event(number: int, *subs: int, **data: Any) -> realtime.Event:
    """The event of an entity of its own."""
    raw = {
        "position": number,
        "type": "created",
        "collection": "tasks",
        "id": f"t{number}",
        "version": 1,
        "data": {"id": f"t{number}", "n": number, **data},
        "changes": {},
        "userId": None,
        "at": AT,
    }
    return realtime.Event(subs=subs, cursor=str(number), event=raw)


def written(version: int, *conflicts: dict[str, Any], **data: Any) -> dict[str, Any]:
    """The answer to a write."""
    return {"data": data, "version": version, "conflicts": list(conflicts)}
