"""Clients of a cluster: editors that write and visitors who are seen, each connecting again whenever it must."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any

import pycrdt
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from collab.gate.structs import decode_state_vector
from collab.wire import yjs
from presence.lib0 import read_string, read_uint
from tests.chaos.writer import ROOT, Writer
from tests.cluster.cluster import Cluster
from tests.e2e.peer import presence

PING_SECONDS = 2.0
"""After this time without an answer, clients of the lab believe that a connection is lost."""
_RENEW_SECONDS = 10.0
_PAUSE = 0.1  # seconds before connecting again, at most
_MOST_EARLY = 3
ANY = "any"


class Typist(Writer):
    """A writer who types a little while a connection opens, and then waits until what it had written is saved.

    Somebody who never stops learns nothing: only a count of zero says that an opened document is saved.
    """

    def __init__(self, name: str, room: str, pause: float) -> None:
        super().__init__(name, room, pause=pause, ping_seconds=PING_SECONDS)
        self._made_before = 0

    async def live(self, url: str) -> None:
        self._made_before = self.made
        await super().live(url)

    def _may_type(self) -> bool:
        return self._in_order or self.made < self._made_before + _MOST_EARLY


class Visitor:
    """One person in a document over y-websocket, who only reads and is seen. ``others`` are whom this one sees."""

    def __init__(self, name: str, room: str) -> None:
        self.name = name
        self.room = room
        self.doc: pycrdt.Doc[Any] = pycrdt.Doc()
        self.entries = self.doc.get(ROOT, type=pycrdt.Array)
        self.present = False
        self._clock = 0
        self._states: dict[int, tuple[int, Any]] = {}

    @property
    def others(self) -> set[str]:
        """The names of whom it sees."""
        return {state["name"] for _, state in self._states.values() if state is not None}

    async def live(self, url: str) -> None:
        """Connect, read and be seen until the connection ends."""
        with suppress(ConnectionClosed, OSError, InvalidHandshake, InvalidMessage, TimeoutError, EOFError):
            async with connect(
                f"{url}/{self.room}",
                max_size=None,
                ping_interval=PING_SECONDS,
                ping_timeout=PING_SECONDS,
                open_timeout=PING_SECONDS,
                close_timeout=1,
            ) as socket:
                await socket.send(yjs.sync_step1(self.doc.get_state()))
                renewing = asyncio.create_task(self._renew(socket))
                try:
                    async for data in socket:
                        assert isinstance(data, bytes)
                        await self._hear(socket, data)
                finally:
                    renewing.cancel()
                    self.present = False
                    self._states.clear()
                    await asyncio.gather(renewing, return_exceptions=True)

    async def _renew(self, socket: ClientConnection) -> None:
        while True:
            self._clock += 1
            await socket.send(presence(self.doc.client_id, self._clock, {"name": self.name}))
            await asyncio.sleep(_RENEW_SECONDS)

    async def _hear(self, socket: ClientConnection, data: bytes) -> None:
        match yjs.decode(data):
            case yjs.SyncStep1(state_vector=vector):
                await socket.send(yjs.sync_step2(self.doc.get_update(vector)))
            case yjs.SyncStep2(update=update):
                self.doc.apply_update(update)
                self.present = True
            case yjs.Update(update=update):
                self.doc.apply_update(update)
            case yjs.AwarenessUpdate(payload=payload):
                for client, clock, state in _entries(payload):
                    known, old = self._states.get(client, (-1, None))
                    if client == self.doc.client_id:
                        if clock >= self._clock and state is None:  # as y-protocols do: "I am still here"
                            self._clock = clock + 1
                            await socket.send(presence(self.doc.client_id, self._clock, {"name": self.name}))
                    elif clock > known or (clock == known and state is None and old is not None):
                        self._states[client] = clock, state
            case _:
                pass


def _entries(payload: bytes) -> list[tuple[int, int, Any]]:
    found = []
    count, pos = read_uint(payload, 0)
    for _ in range(count):
        client, pos = read_uint(payload, pos)
        clock, pos = read_uint(payload, pos)
        text, pos = read_string(payload, pos)
        found.append((client, clock, json.loads(text)))
    return found


class Crowd:
    """In each room a writer and a visitor at each node, and one of each that the balancer takes to any node."""

    def __init__(self, cluster: Cluster, rooms: Sequence[str], random: Random, *, pause: float = 0.1) -> None:
        self.rooms = rooms
        self.writers: list[Writer] = []
        self.visitors: list[Visitor] = []
        self.place: dict[str, str] = {}
        """Where each client connects: the name of a node, or ``any``."""
        self._cluster = cluster
        self._random = random
        for room in rooms:
            for place in (*(node.name for node in cluster.nodes), ANY):
                name = f"{room.partition('/')[2]}-{place}"
                self.writers.append(Typist(f"w-{name}", room, pause))
                self.visitors.append(Visitor(f"v-{name}", room))
                self.place |= {f"w-{name}": place, f"v-{name}": place}

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Everybody connects, again and again, inside the block. Raises what a client complains of."""
        async with asyncio.TaskGroup() as tasks:
            living = [tasks.create_task(self._live(one)) for one in self.everybody]
            yield
            for task in living:
                task.cancel()

    async def _live(self, one: Writer | Visitor) -> None:
        while True:
            await one.live(self._url(one))
            await asyncio.sleep(self._random.uniform(0, _PAUSE))

    def _url(self, one: Writer | Visitor) -> str:
        place = self.place[one.name]
        host = self._cluster.host if place == ANY else f"127.0.0.1:{self._cluster.named(place).entrance.port}"
        return f"ws://{host}/{'hocuspocus' if isinstance(one, Writer) else 'rooms'}"

    @property
    def everybody(self) -> Sequence[Writer | Visitor]:
        """Writers and visitors."""
        return [*self.writers, *self.visitors]

    @property
    def saved(self) -> int:
        """Number of acknowledged entries."""
        return sum(writer.saved for writer in self.writers)

    def writing(self, whether: bool) -> None:
        """Let everybody write, or rest."""
        for writer in self.writers:
            writer.writing = whether

    def made(self) -> Mapping[str, int]:
        """How many entries each writer has made."""
        return {writer.name: writer.made for writer in self.writers}

    def newly_saved(self, room: str, made: Mapping[str, int]) -> bool:
        """Whether an entry of a room was acknowledged that its writer made after ``made``."""
        return any(writer.saved > made[writer.name] for writer in self.writers if writer.room == room)

    def lacking(self, made: Mapping[str, int]) -> list[str]:
        """Who does not have the entries up to ``made`` of everybody in the room, or whose own are not saved."""
        lacking = [writer.name for writer in self.writers if writer.saved < made[writer.name]]
        for room in self.rooms:
            wanted = {one.doc.client_id: made[one.name] for one in self.writers if one.room == room}
            lacking += [one.name for one in self.everybody if one.room == room and not _has(one.doc, wanted)]
        return lacking

    def unseen(self, gone: Collection[str] = ()) -> list[str]:
        """What is wrong with whom the visitors see; ``gone`` are places whose visitors are not there."""
        complaints = []
        here = [one for one in self.visitors if self.place[one.name] not in gone]
        for one in here:
            wanted = {other.name for other in here if other.room == one.room and other is not one}
            if not one.present:
                complaints.append(f"{one.name} is not connected")
            elif one.others != wanted:
                complaints.append(f"{one.name} sees {sorted(one.others)}, there are {sorted(wanted)}")
        return complaints


def _has(doc: pycrdt.Doc[Any], wanted: Mapping[int, int]) -> bool:
    """Whether a document holds so many elements of each Yjs client: an entry is one. Much cheaper than to count."""
    held = decode_state_vector(doc.get_state())
    return all(held.get(client, 0) >= number for client, number in wanted.items())
