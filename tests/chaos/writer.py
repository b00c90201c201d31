"""A Hocuspocus client that writes continuously and records what the server acknowledged."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import Any

import pycrdt
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from collab.wire.yjs import STEP1, STEP2, UPDATE
from presence.lib0 import encode_bytes, encode_string, read_bytes, read_string, read_uint

SYNC, AUTH, SYNC_REPLY, STATUS, PING, PONG = 0, 2, 4, 8, b"\x09", b"\x0a"
ROOT = "entries"


def entry(name: str, number: int, padding: int) -> str:
    return f"{name}:{number}:{'x' * padding}"


class Writer:
    """One person with one document, which outlives its connections.

    It writes the entries 0, 1, 2, ... ``saved`` of them are acknowledged: the server answers each message with a
    status once that is committed, and like the stock provider the writer counts answers. While a connection is
    being synchronised only a count of zero says anything; after that, answers come in the order of the messages.
    With ``ping_seconds`` it gives a connection up on which a ping is not answered in that time.
    """

    def __init__(
        self, name: str, room: str, *, pause: float = 0.05, padding: int = 40, ping_seconds: float | None = None
    ) -> None:
        self.name = name
        self.room = room
        self.made = 0
        self.saved = 0
        self.closed_with: int | None = None
        self.doc: pycrdt.Doc[Any] = pycrdt.Doc()
        self.entries = self.doc.get(ROOT, type=pycrdt.Array)
        self.writing = True
        self._pause = pause
        self._padding = padding
        self._ping_seconds = ping_seconds
        self._address = encode_string(room)
        self._mine: bytes | None = None
        self._unanswered: deque[int] = deque()  # number of entries in each message
        self._in_order = False
        self._local = False
        self._subscription = self.doc.observe(self._observe)

    async def live(self, url: str) -> None:
        """Connect and write until the connection ends."""
        self._unanswered.clear()
        self._in_order = False
        self.closed_with = None
        try:
            ping = self._ping_seconds
            async with connect(
                url, max_size=None, ping_interval=ping, ping_timeout=ping, open_timeout=ping or 10, close_timeout=1
            ) as socket:
                await self._say(socket, AUTH, b"\x00" + encode_string(""))
                await self._say(socket, SYNC, bytes([STEP1]) + encode_bytes(self.doc.get_state()))
                self._unanswered.append(0)  # SyncStep2, which will contain more
                typing = asyncio.create_task(self._type(socket))
                try:
                    async for data in socket:
                        assert isinstance(data, bytes)
                        await self._hear(socket, data)
                finally:
                    typing.cancel()
                    await asyncio.gather(typing, return_exceptions=True)
                    self.closed_with = socket.close_code
        except ConnectionClosed as closed:
            self.closed_with = closed.rcvd.code if closed.rcvd is not None else None
        except (OSError, InvalidHandshake, TimeoutError):
            pass  # the server is down

    def foreign(self) -> set[str]:
        """Read others' entries from the connection."""
        own = f"{self.name}:"
        return {text for text in self.entries if not text.startswith(own)}

    def edit(self) -> None:
        """Make the next edit, number ``made``, in one transaction."""
        self.entries.append(entry(self.name, self.made, self._padding))

    async def _type(self, socket: ClientConnection) -> None:
        while True:
            if self.writing and self._may_type():
                self._local = True
                self.edit()
                self._local = False
                self.made += 1
                assert self._mine is not None
                self._unanswered.append(self.made)
                await self._say(socket, SYNC, bytes([UPDATE]) + encode_bytes(self._mine))
            await asyncio.sleep(self._pause)

    def _may_type(self) -> bool:
        """Whether the next edit may be made now."""
        return True

    def _observe(self, event: Any) -> None:
        if self._local:
            self._mine = event.update

    async def _say(self, socket: ClientConnection, kind: int, body: bytes) -> None:
        await socket.send(self._address + bytes([kind]) + body)

    async def _hear(self, socket: ClientConnection, data: bytes) -> None:
        if data in (PING, PONG):
            if data == PING:
                await socket.send(PONG)
            return
        _, pos = read_string(data, 0)
        kind, pos = read_uint(data, pos)
        if kind == STATUS:
            if data[pos] == 1:
                self._answered()
            else:
                await self._refused(socket)
        elif kind in (SYNC, SYNC_REPLY):
            step = data[pos]
            body, _ = read_bytes(data, pos + 1)
            if step == STEP1:
                await self._say(socket, SYNC, bytes([STEP2]) + encode_bytes(self.doc.get_update(body)))
            else:
                self.doc.apply_update(body)

    async def _refused(self, socket: ClientConnection) -> None:
        raise AssertionError(f"the server does not save what {self.name} wrote")

    def _answered(self) -> None:
        covered = self._unanswered.popleft()
        if self._in_order:
            self.saved = max(self.saved, covered)
        if not self._unanswered:
            self._in_order = True
            self.saved = self.made


def audit(writers: list[Writer], stored: dict[str, list[str]]) -> list[str]:
    """Return complaints about the server's content: entries lost, duplicated, or never written.

    ``stored``: room -> all entries.
    """
    complaints: list[str] = []
    for room, entries in stored.items():
        found: dict[str, Counter[int]] = {}
        for text in entries:
            name, number, _ = text.split(":")
            found.setdefault(name, Counter())[int(number)] += 1
        here = [writer for writer in writers if writer.room == room]
        for writer in here:
            numbers = found.pop(writer.name, Counter())
            lost = [number for number in range(writer.saved) if number not in numbers]
            doubled = [number for number, times in numbers.items() if times > 1]
            invented = [number for number in numbers if number >= writer.made]
            holes = [number for number in range(max(numbers, default=-1)) if number not in numbers]
            for word, which in (
                ("acknowledged and lost", lost),
                ("doubled", doubled),
                ("never written", invented),
                ("missing before a later one", holes),
            ):
                if which:
                    complaints.append(f"{room}: {len(which)} entries of {writer.name} {word}: {which[:5]}")
        if found:
            complaints.append(f"{room}: entries of strangers: {list(found)}")
    return complaints
