"""Acknowledged edits survive, whatever happens to the server."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pycrdt
import pytest
import pytest_asyncio
from pycrdt import Array, Doc

from collab import Collab
from collab.server.config.settings import Settings
from collab.storage.base import Append, CommitId, Committed, Fact
from collab.storage.sqlite.storage import SqliteStorage
from collab.wire import yjs
from presence.lib0 import encode_bytes
from tests.chaos.databases import count, database_of
from tests.chaos.durability import acknowledged, at_work, chaotic, crowd, heal, kill_rounds, start, stored, until
from tests.chaos.writer import ROOT, Writer, audit, entry
from tests.collab.serving import editor, serving
from tests.e2e.peer import ASK, STATUS, SYNC, Peer, peer
from tests.e2e.server import Server
from tests.postgres import PostgresServer

pytestmark = pytest.mark.chaos


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    server = chaotic(tmp_path)
    await start(server)
    yield server
    server.stop()


@pytest_asyncio.fixture
async def on_postgres(tmp_path: Path, postgres: PostgresServer) -> AsyncIterator[Server]:
    """A server whose database is in PostgreSQL."""
    with postgres.records() as lend:
        server = chaotic(tmp_path, lend())
        await start(server)
        yield server
        server.stop()


async def test_s1_twenty_kills_under_load_lose_nothing_that_was_acknowledged(server: Server) -> None:
    tally = await kill_rounds(server, rounds=20, seed=20)
    assert tally.complaints == []
    assert tally.rounds == 20
    assert tally.acknowledged > 500
    assert tally.in_flight >= 20, "each kill came while there was something to lose"
    assert tally.snapshots > 0, "some came while documents were compacted"


async def test_s1_kills_of_a_server_on_postgresql_lose_nothing_that_was_acknowledged(on_postgres: Server) -> None:
    tally = await kill_rounds(on_postgres, rounds=4, seed=5)
    assert tally.complaints == []
    assert tally.acknowledged > 100
    assert tally.in_flight >= 4, "each kill came while there was something to lose"


async def test_sigterm_under_load_loses_nothing_that_was_accepted(server: Server) -> None:
    writers = crowd()
    for turn in range(3):
        async with at_work(server, writers):
            await acknowledged(writers, sum(writer.saved for writer in writers) + 200)
            assert server.process is not None
            process, server.process = server.process, None
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 10) == 0
        assert {writer.closed_with for writer in writers} == {1012}, f"turn {turn}"
        await start(server)
        found = await stored(server)
        assert audit(writers, found) == []
        for writer in writers:
            unknown = writer.foreign() - set(found[writer.room])
            assert not unknown, "what others were shown was accepted"
    assert await heal(server, writers) == []


def two_updates() -> tuple[bytes, bytes]:
    """The text of a client, whose second part continues the first."""
    doc: Doc[Any] = Doc()
    entries = doc.get(ROOT, type=Array)
    updates: list[bytes] = []
    subscription = doc.observe(lambda event: updates.append(event.update))
    entries.append("w:0:")
    entries.append("w:1:")
    doc.unobserve(subscription)
    return updates[0], updates[1]


async def test_s1_e2_what_came_out_of_order_is_not_acknowledged_and_not_lost(server: Server) -> None:
    first, second = two_updates()
    room = "documents/room-0"

    def update(content: bytes) -> bytes:
        return bytes([SYNC, yjs.UPDATE]) + encode_bytes(content)

    def saved(peer: Peer) -> int:
        return sum(heard.kind == STATUS for heard in peer.heard)

    async def open_document(peer: Peer) -> None:
        await peer.send(ASK)
        await peer.until(lambda heard: heard.step == yjs.STEP1)
        await peer.until(lambda heard: heard.step == yjs.STEP2)
        await peer.send(bytes([SYNC, yjs.STEP2]) + encode_bytes(b"\x00\x00"))
        await peer.until(lambda heard: heard.kind == STATUS)

    async with peer(server, "hocuspocus", room, token="") as early:
        await open_document(early)
        await early.send(update(second))
        await early.until(lambda heard: heard.step == yjs.STEP1)
        await early.handled()
        assert saved(early) == 1
    server.kill()
    await start(server)
    assert (await stored(server))[room] == []
    async with peer(server, "hocuspocus", room, token="") as client:
        await open_document(client)
        await client.send(update(first))
        await client.send(update(second))
        while saved(client) < 3:
            await client.hear()
    server.kill()
    await start(server)
    assert (await stored(server))[room] == ["w:0:", "w:1:"]


async def test_a_corrupt_row_does_not_close_its_room(server: Server) -> None:
    writers = [Writer(name, "documents/room-0", pause=0.002) for name in ("ada", "bob")]
    async with at_work(server, writers):
        # a busy machine gathers many edits in a row, and without the first row nothing of a writer can be shown
        await until(lambda: _last_row(server) >= 10, "ten rows in the log")
        server.kill()
    middle = _last_row(server) // 2
    database_of(server).damage(middle)
    await start(server)
    found = (await stored(server))["documents/room-0"]
    assert 0 < len(found) < sum(writer.made for writer in writers)
    assert f"row {middle} of default/documents/room-0 does not match its checksum" in server.log()
    # whoever still has the edits brings them again, and nothing is there twice
    assert await heal(server, writers) == []


class SlowStorage(SqliteStorage):
    """Takes a while to commit, and notices if asked to do two things at once."""

    running = 0
    most = 0

    async def commit(
        self, batch: Sequence[Append], facts: Sequence[Fact] = (), *, commit_id: CommitId | None = None
    ) -> Committed:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(0.05)
            return await super().commit(batch, facts, commit_id=commit_id)
        finally:
            self.running -= 1


async def test_who_comes_back_while_the_last_words_are_being_stored_finds_them(tmp_path: Path) -> None:
    storage = SlowStorage(tmp_path)
    collab = Collab(Settings(data=str(tmp_path), room_idle_seconds=0.0), storage=storage)
    async with serving(collab) as address:

        async def come_and_go(name: str) -> None:
            text = ""
            for number in range(20):
                async with editor(address, name) as client:
                    await client.until_text(text)
                    await client.type(f"{number} ")
                    text += f"{number} "

        await asyncio.gather(*(come_and_go(f"documents/d{number}") for number in range(5)))
    assert storage.most == 1, "one writer"


@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_a_restart_with_live_clients_doubles_nothing(server: Server, how: str) -> None:
    writers = [Writer(f"w{number}", "documents/room-1", pause=0.01) for number in range(6)]
    for _ in range(3):
        async with at_work(server, writers):
            await acknowledged(writers, sum(writer.saved for writer in writers) + 30)
            server.kill() if how == "kill" else server.stop()
        await start(server)
    assert await heal(server, writers) == []
    # nor are those rows in the log over and over that every reconnecting client repeats
    assert _last_row(server) <= sum(writer.made for writer in writers)


def _last_row(server: Server) -> int:
    return count(server, "coalesce(max(seq), 0) FROM log")


def test_the_audit_finds_what_is_wrong() -> None:
    doc: pycrdt.Doc[Any] = Doc()
    assert doc.get_state() == b"\x00"
    writer = Writer("w", "r")
    writer.made, writer.saved = 5, 3
    good = [entry("w", number, 3) for number in range(4)]
    assert audit([writer], {"r": good}) == []
    assert "acknowledged and lost: [2]" in "".join(audit([writer], {"r": good[:2]}))
    assert "doubled: [1]" in "".join(audit([writer], {"r": [*good, good[1]]}))
    assert "never written: [7]" in "".join(audit([writer], {"r": [*good, entry("w", 7, 0)]}))
    assert "strangers" in "".join(audit([writer], {"r": [*good, entry("x", 0, 0)]}))
