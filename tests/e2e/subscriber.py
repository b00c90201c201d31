"""A client of /realtime that records everything it receives, every frame included, and keeps live queries."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect

from collab.query.steps import apply_steps
from collab.wire.realtime.encoding import Format, decode_server
from collab.wire.realtime.messages import Event, Failure, Reply, RowsAre, RowsChanged, ServerMessage, Welcome
from tests.e2e.application import until
from tests.e2e.server import Server


class Subscriber:
    """``rows`` are live queries by number; ``events`` are entity events with their subscriptions."""

    def __init__(self, socket: ClientConnection, form: Format = "json") -> None:
        self.socket = socket
        self.form = form
        self.welcome: Welcome | None = None
        self.answers: dict[int, Reply | Failure] = {}
        self.ended: dict[int, Failure] = {}
        self.events: list[tuple[tuple[int, ...], dict[str, Any]]] = []
        self.rows: dict[int, list[dict[str, Any]]] = {}
        self.versions: dict[int, dict[str, int]] = {}
        self.diffs: list[int] = []  # the live query's number for each diff
        self.frames: list[bytes] | None = None  # set to a list to record frames
        self.goodbye: Failure | None = None
        self.pongs = 0
        self._ids = 0

    async def run(self) -> None:
        """Read until the connection ends."""
        async for data in self.socket:
            if self.frames is not None:
                self.frames.append(data.encode() if isinstance(data, str) else data)
            self._take(decode_server(data))

    def _take(self, message: ServerMessage) -> None:
        match message:
            case Welcome():
                self.welcome = message
            case Reply():
                self.answers[message.id] = message
            case Failure(id=int(number)):
                self.answers[number] = message
            case Failure(sub=int(number)):
                self.ended[number] = message
            case Failure():
                self.goodbye = message
            case Event():
                self.events.append((message.subs, message.event))
            case RowsAre():
                self.rows[message.sub] = list(message.rows)
                names = [row["id"] for row in message.rows]
                self.versions[message.sub] = dict(zip(names, message.versions, strict=True))
            case RowsChanged():
                self.diffs.append(message.sub)
                self.rows[message.sub] = apply_steps(self.rows[message.sub], message.steps)
                versions = self.versions[message.sub]
                for step in message.steps:
                    if step.op == "leave":
                        del versions[step.id]
                    elif step.version is not None:
                        versions[step.id] = step.version
            case _:
                self.pongs += 1

    async def say(self, message: dict[str, Any]) -> None:
        if self.form == "json":
            await self.socket.send(msgspec.json.encode(message).decode())
        else:
            await self.socket.send(b"\0" + msgspec.msgpack.encode(message))

    async def begin(self, kind: str, **what: Any) -> int:
        """Send a request. Returns its number in :attr:`answers`."""
        self._ids += 1
        await self.say({"type": kind, "id": self._ids, **what})
        return self._ids

    async def ask(self, kind: str, seconds: float = 60, **what: Any) -> Any:
        """Send a request and return its result. Raises :class:`AssertionError` on a failure."""
        number = await self.begin(kind, **what)
        await until(lambda: number in self.answers, lambda: (kind, what), seconds)
        answer = self.answers.pop(number)
        assert isinstance(answer, Reply), answer
        return answer.result

    async def subscribe(self, targets: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
        """Subscribe to all in one batch, by number. Returns each answer."""
        wanted = [{"sub": number, "target": target} for number, target in targets.items()]
        results: list[dict[str, Any]] = await self.ask("subscribe", subscriptions=wanted)
        return results


@asynccontextmanager
async def subscriber(
    server: Server, form: Format = "json", *, listening: bool = True, sock: socket.socket | None = None, **hello: Any
) -> AsyncIterator[Subscriber]:
    """A welcomed client. Without ``listening`` it reads nothing until its ``run`` is called."""
    url = f"ws://{server.host}:{server.port}/realtime"
    options: dict[str, Any] = {} if sock is None else {"sock": sock, "max_queue": 1}
    async with connect(url, max_size=None, ping_interval=None, close_timeout=1, **options) as socket:
        made = Subscriber(socket, form)
        await made.say({"type": "hello", **hello})
        running = asyncio.create_task(made.run() if listening else asyncio.sleep(0))
        try:
            if listening:
                await until(lambda: made.welcome, seconds=60)
            yield made
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def pipelined(client: Subscriber, writes: list[dict[str, Any]], at_once: int = 50) -> None:
    """Make many writes, ``at_once`` at a time, and wait for all answers."""
    waiting: list[int] = []

    def answered() -> bool:
        while waiting and waiting[0] in client.answers:
            answer = client.answers.pop(waiting.pop(0))
            assert isinstance(answer, Reply), answer
        return len(waiting) < at_once

    for write in writes:
        waiting.append(await client.begin(**write))
        if not answered():
            await until(answered, seconds=60)
    at_once = 1
    await until(answered, seconds=60)


def where_nobody_reads(server: Server) -> socket.socket:
    """A connection with a small receive buffer."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect((server.host, server.port))
    made.setblocking(False)
    return made
