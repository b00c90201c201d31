"""Continuous writers of entities: an application over /realtime, and an editor of the same entities' documents."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import Any

import pycrdt
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.chaos.writer import Writer

SHARED = "tasks"
"""Collection with shared entities: each writer has its own field, and all write one common field."""
OWN = "lives"
"""Collection in which each application creates, deletes and restores one entity of its own."""
MADE = "made"
"""Collection of new entities whose ids the server chooses."""
WORDS = ("alpha ", "ö", "漢字", "😀", "x", "\n")

Write = tuple[str, int, dict[str, Any]]  # kind, number within the kind, message


class Application:
    """One client that uses idempotency keys, and repeats unanswered writes.

    ``made`` and ``acknowledged`` count by kind: ``update``, ``life`` (creation, then deletions and restorations in
    turn) and ``create``. Up to ``at_once`` writes are in flight. Writes that were refused for the moment are said
    again, before new ones, once all in flight have an answer. With ``ping_seconds`` it gives a connection up on which
    a ping is not answered in that time.
    """

    def __init__(
        self, name: str, entity: str, *, pause: float = 0.01, at_once: int = 6, ping_seconds: float | None = None
    ) -> None:
        self.name = name
        self.entity = entity
        self.made = {"update": 0, "life": 0, "create": 0}
        self.acknowledged = {"update": 0, "life": 0, "create": 0}
        self.versions: dict[int, int] = {}  # of updates that were answered without a repetition
        self.said_again = 0
        self.writing = True
        self.complaints: list[str] = []
        self._pause = pause
        self._at_once = at_once
        self._ping_seconds = ping_seconds
        self._random = Random(name)
        self._ids = 0
        self._waiting: dict[int, Write] = {}  # by request id, in order
        self._again: set[int] = set()
        self._refused: set[int] = set()

    @property
    def saved(self) -> int:
        """Number of acknowledged writes."""
        return sum(self.acknowledged.values())

    @property
    def settled(self) -> bool:
        """Whether every write was acknowledged."""
        return not self._waiting

    async def live(self, url: str) -> None:
        """Connect and write until the connection ends."""
        try:
            ping = self._ping_seconds
            async with connect(
                url, max_size=None, ping_interval=ping, ping_timeout=ping, open_timeout=ping or 10, close_timeout=1
            ) as socket:
                await socket.send(json.dumps({"type": "hello", "userId": self.name}))
                await self._say_again(socket)
                writing = asyncio.create_task(self._write(socket))
                try:
                    async for text in socket:
                        self._hear(json.loads(text))
                finally:
                    writing.cancel()
                    await asyncio.gather(writing, return_exceptions=True)
        except (ConnectionClosed, OSError, InvalidHandshake, TimeoutError):
            pass  # the server is down

    async def _say_again(self, socket: ClientConnection) -> None:
        self._refused.clear()
        for number, (_, _, message) in list(self._waiting.items()):
            self.said_again += 1
            self._again.add(number)
            await socket.send(json.dumps(message))

    async def _write(self, socket: ClientConnection) -> None:
        while True:
            if self._refused:
                if len(self._refused) == len(self._waiting):
                    await asyncio.sleep(0.2)
                    await self._say_again(socket)
            elif self.writing and len(self._waiting) < self._at_once:
                await socket.send(json.dumps(self._next()))
            await asyncio.sleep(self._pause)

    def _next(self) -> dict[str, Any]:
        chance = self._random.random()
        kind = "update" if chance < 0.7 else "life" if chance < 0.85 else "create"
        number = self.made[kind]
        self.made[kind] = number + 1
        self._ids += 1
        message: dict[str, Any] = {"id": self._ids, "request": f"{self.name}-{kind}-{number}"}
        if kind == "update":
            changes = {self.name: number, "last": f"{self.name}:{number}"}
            message |= {"type": "update", "collection": SHARED, "entity": self.entity, "changes": changes}
        elif kind == "create":
            message |= {"type": "create", "collection": MADE, "data": {"by": self.name, "number": number}}
        else:
            message |= {"collection": OWN, "entity": self.name}
            message |= {"type": "delete" if number % 2 else "restore"} if number else {"type": "create", "data": {}}
        self._waiting[self._ids] = (kind, number, message)
        return message

    def _hear(self, message: dict[str, Any]) -> None:
        if "id" not in message:
            return
        kind, number, write = self._waiting[message["id"]]
        if message["type"] == "failure":
            if not message["error"].get("retryable"):
                self.complaints.append(f"{write} was refused: {message['error']}")
                del self._waiting[message["id"]]
            else:
                self._refused.add(message["id"])
            return
        del self._waiting[message["id"]]
        if number != self.acknowledged[kind] and kind != "create":
            self.complaints.append(f"{self.name}: {kind} {number} was acknowledged before one that was said earlier")
        self.acknowledged[kind] += 1
        if kind == "update" and message["id"] not in self._again:
            self.versions[number] = message["result"]["version"]


class FieldEditor(Writer):
    """A Hocuspocus client. Each edit writes its own field, the common field, and the text ``content``."""

    def __init__(self, name: str, room: str, *, pause: float = 0.03, ping_seconds: float | None = None) -> None:
        super().__init__(name, room, pause=pause, ping_seconds=ping_seconds)
        self._random = Random(name)
        self._fields: pycrdt.Map[Any] = self.doc.get("fields", type=pycrdt.Map)
        self._text = self.doc.get("content", type=pycrdt.Text)
        self._again = False

    async def live(self, url: str) -> None:
        self._again = True
        while self._again:
            self._again = False
            await super().live(url)

    def edit(self) -> None:
        with self.doc.transaction():
            self._fields[self.name] = self.made
            self._fields["last"] = f"{self.name}:{self.made}"
            written = str(self._text)
            at = self._random.randint(0, len(written))
            end = min(len(written), at + self._random.randint(1, 6))
            if len(written) > 200 or (end > at and self._random.random() < 0.3):
                del self._text[len(written[:at].encode()) : len(written[:end].encode())]
            else:
                self._text.insert(len(written[:at].encode()), self._random.choice(WORDS))

    async def _refused(self, socket: ClientConnection) -> None:
        """Connect again once all writers rest.

        After a kill, somebody else may bring a value of this editor that they have already replaced. The server then
        sees it as deleted first, cannot compare it with what its author repeats, and saves nothing more of the author
        until the author comes back with the deletion (rule E20).
        """
        if not self.writing:
            self._again = True
            await socket.close()
