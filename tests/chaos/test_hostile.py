"""Hostile messages through the socket: the server lives, its neighbours notice nothing, its memory stays."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pycrdt
import pytest
from websockets.exceptions import ConnectionClosed

from collab.gate.gate import Gate
from collab.gate.struct_content import Malformed
from collab.rooms.live.faults import take_in
from collab.wire import yjs
from presence.lib0 import encode_bytes, encode_uint
from tests.e2e.node import Kind, Node
from tests.e2e.peer import PROTOCOLS, Peer, Protocol, peer
from tests.e2e.server import Server
from tests.fuzz import encode
from tests.fuzz.author import Author
from tests.fuzz.encode import ANY, STRING, TYPE, block, frame, item, string, uint

pytestmark = pytest.mark.chaos

Connect = Callable[[], AbstractAsyncContextManager[Peer]]

MEMORY = 100 * 1024 * 1024
FRAMES = 1500
SECOND_ENCODING = "00000247010200040007040081008400280c0674686c6f6d6b41000241000101000202010104007d010107010101"


def value(encoded: bytes) -> bytes:
    return frame([block(7, 0, [item(ANY, b"\x01" + encoded, parent="m", key="k")])])


UPDATES = {
    "nothing": b"",
    "an announced gigabyte": bytes.fromhex("8088debe0101"),
    "a count of 2**53": uint(2**53 - 1),
    "deep JSON": frame([block(7, 0, [item(encode.EMBED, string("[" * 1_000_000), parent="t")])]),
    "a long number": b"\x01\x01" + b"\xff" * 200_000 + b"\x01",
    "a block without structs": bytes.fromhex("0100010200"),
    "a struct without length": bytes.fromhex("01010701000000"),
    "an element inside itself": bytes.fromhex("01010700a407030568656c6c6f00"),
    "a clock at the end": bytes.fromhex("010102ffffffff0fa301020362696e00"),
    "a client id of 2**64": bytes.fromhex("0101ffffffffffffffffff010004010161017800"),
    "large: structs": frame([uint(600_000) + uint(7) + uint(0) + b"\x00\x01" * 600_000]),
    "large: deletions": b"\x00\x01\x01" + uint(600_000) + b"\x00\x01" * 600_000,
    "half a character": frame([block(7, 0, [item(STRING, string(b"\xed\xa0\xbd"), parent="t")])]),
    "the second encoding": bytes.fromhex(SECOND_ENCODING),
}

UNTAKEN = {
    "deep values": value(b"\x75\x01" * 200_000 + b"\x7e"),
    "deep objects": value(b"\x76\x01\x00" * 100_000 + b"\x7e"),
    "deep types": frame(
        [
            block(
                7,
                0,
                [
                    item(TYPE, b"\x01", parent="m", key="k"),
                    *(item(TYPE, b"\x01", parent=(7, n), key="k") for n in range(60_000)),
                ],
            )
        ]
    ),
}
"""Well-formed content that is replaced by deleted elements."""

GAPS = [frame([block(n, 1, [item(STRING, string("x"), origin=(n, 0))])]) for n in range(1000, 3000)]

MESSAGES = {
    **{f"update: {name}": yjs.update(update) for name, update in UPDATES.items()},
    **{f"second step: {name}": yjs.sync_step2(update) for name, update in UPDATES.items()},
    "state vector of an announced gigabyte": yjs.sync_step1(bytes.fromhex("8088debe0101")),
    "state vector of nothing": yjs.sync_step1(b""),
    "a length beyond the message": b"\x00\x02" + encode_uint(2**40),
    "a type of many bytes": b"\xff" * 200_000,
    "no type": b"",
}

PRESENCE = {
    "nothing": yjs.awareness(b""),
    "an announcement of more than it holds": yjs.awareness(uint(2**50)),
    "deep": yjs.awareness(b"\x01\x07\x01" + encode_bytes(b"[" * 4000)),
    "large: state": yjs.awareness(b"\x01\x07\x01" + encode_bytes(b"[" * 100_000)),
    "not a number": yjs.awareness(b"\x01\x07\x01" + encode_bytes(b'{"a":NaN}')),
    "half a character": yjs.awareness(b"\x01\x07\x01" + encode_bytes(b'{"a":"\xed\xa0\xbd"}')),
}
"""Presence that cannot be shown. It is left out."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    node = await Node.start()
    try:
        yield node
    finally:
        await node.stop()


class Watched:
    """The worker of a server, and its neighbours: two clients in the attacked room, two in another."""

    def __init__(self, server: Server, node: Node) -> None:
        self._server = server
        self._node = node

    async def begin(self) -> None:
        kinds: tuple[Kind, ...] = ("y-websocket-3", "hocuspocus-4")
        self._inside = [await self._node.client(f"in {kind}", kind, self._server, "attacked") for kind in kinds]
        self._outside = [await self._node.client(f"out {kind}", kind, self._server, "quiet") for kind in kinds]
        await self.work(1)
        self._worker = self._find()
        self._before = self._worker.memory_info().rss

    def _find(self) -> psutil.Process:
        assert self._server.process is not None
        (worker,) = psutil.Process(self._server.process.pid).children()
        return worker

    async def work(self, seed: int) -> None:
        """All neighbours edit, and become equal."""
        for clients in (self._inside, self._outside):
            for client in clients:
                await client.edit(seed, 5)
            await self._node.converge(clients)

    async def assert_well(self) -> None:
        await self.work(2)
        for client in (*self._inside, *self._outside):
            summary = await client.summary()
            assert summary["attempts"] == 1, "nobody was thrown out"
        assert not self._node.complaints
        assert self._find() == self._worker, "the worker has not died"
        assert self._worker.memory_info().rss - self._before < MEMORY
        assert "Traceback" not in self._server.log()


@pytest.fixture
async def watched(server: Server, node: Node) -> AsyncIterator[Watched]:
    watched = Watched(server, node)
    await watched.begin()
    yield watched
    await watched.assert_well()


@pytest.fixture(params=PROTOCOLS)
def connected(request: pytest.FixtureRequest, server: Server) -> Connect:
    """Connects to the attacked room, each time from another address: one that is thrown out often must wait."""
    protocol: Protocol = request.param
    addresses = (f"127.1.{n // 250}.{n % 250 + 1}" for n in count())
    token = "any" if protocol == "hocuspocus" else None  # it opens a document there, also where all may
    return lambda: peer(server, protocol, "attacked", token, local_addr=(next(addresses), 0))


async def test_malformed_messages_cost_their_sender_the_document_and_nobody_else_anything(
    watched: Watched, connected: Connect
) -> None:
    for name, message in MESSAGES.items():
        async with connected() as attacker:
            await attacker.send(message)
            assert await attacker.ended() in ("INVALID_REQUEST", 4413 if "large" in name else 4400), name


async def test_f1_p1_presence_that_cannot_be_shown_costs_nobody_the_connection(
    watched: Watched, connected: Connect
) -> None:
    async with connected() as attacker:
        for message in PRESENCE.values():
            await attacker.send(message)
        await attacker.content()


async def test_f1_e13_what_is_not_taken_in_is_deleted_and_costs_nobody_the_connection(
    watched: Watched, connected: Connect
) -> None:
    for update in UNTAKEN.values():
        async with connected() as attacker:
            await attacker.send(yjs.update(update))
            await attacker.handled()
            content = await attacker.content()
    gate = Gate()
    gate.commit(gate.check(content, limit=len(content)))
    assert gate.state[7] == 60_001


async def test_a_flood_of_updates_with_gaps_leaves_nothing_behind(watched: Watched, connected: Connect) -> None:
    async with connected() as attacker:
        for gap in GAPS:
            await attacker.send(yjs.update(gap))
        await attacker.handled()
        content = await attacker.content()
    gate = Gate()
    gate.commit(gate.check(content))
    assert not set(gate.state) & set(range(1000, 3000))


def of(content: bytes) -> tuple[Gate, pycrdt.Doc[Any]]:
    """A document, and its gate."""
    gate, doc = Gate(), pycrdt.Doc[Any]()
    return gate, take_in(doc, gate, gate.check(content), live=False, keep_deleted=False)[0]


async def test_a_writer_who_means_harm_is_thrown_out_each_time_and_nobody_else_is(
    watched: Watched, connected: Connect
) -> None:
    author = Author(Random(1))
    gate, doc = Gate(), pycrdt.Doc[Any]()
    written = refused = 0
    while written < FRAMES:
        async with connected() as attacker:
            expelled = False
            while written < FRAMES and not expelled:
                update = author.write()
                written += 1
                with suppress(ConnectionClosed):
                    await attacker.send(yjs.update(update))
                try:
                    checked = gate.check(update)
                except Malformed:
                    doubtful = True
                else:
                    doubtful = bool(checked.neighbours)
                if doubtful:
                    # Documents forget deleted elements at different times, and with them what is wrong: the server
                    # decides, and what it has then is what counts.
                    refusal = await attacker.refusal()
                    assert refusal in (None, "INVALID_REQUEST", 4400)
                    expelled = refusal is not None
                    refused += expelled
                    if not expelled:
                        gate, doc = of(await attacker.content())
                    continue
                doc, _ = take_in(doc, gate, checked, live=True, keep_deleted=False)
                if not checked.leaves:
                    author.accepted()
    assert refused > 20
    async with connected() as newcomer:
        found = Gate()
        found.commit(found.check(await newcomer.content()))
    assert {client: found.state.get(client) for client in gate.state} == gate.state
