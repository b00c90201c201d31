"""Reading a record beside its server: pages, and sizes. In a SQLite file and in a PostgreSQL database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from collab.names import RoomKey
from collab.storage.base import DeadLetter, SetAside, Snapshot, Storage
from collab.storage.location import reader_at, storage_at
from collab.testing.storage_case import KEY, entry, fact
from tests.postgres import PostgresServer


@pytest.fixture(params=["folder", "database"])
def where(request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer) -> Iterator[str]:
    """The location of an empty record."""
    with postgres.records() as lend:
        yield str(tmp_path / "data") if request.param == "folder" else lend()


@asynccontextmanager
async def served(where: str) -> AsyncIterator[Storage]:
    storage = storage_at(where)
    await storage.open()
    try:
        yield storage
    finally:
        await storage.close()


async def test_dead_letters_come_in_pages(where: str) -> None:
    letters = [DeadLetter("hook", fact(number).event, "acme", f"status {number}", 1.0) for number in range(1, 6)]
    async with served(where) as storage:
        await storage.save_webhook("hook", "acme", 5, letters)
        await storage.save_webhook("other", "acme", 5, [DeadLetter("other", fact(1).event, "acme", "no", 1.0)])
        async with reader_at(where) as reader:
            everything = await reader.dead_letters("hook")
            assert [each.letter for each in everything] == letters
            first = await reader.dead_letters("hook", limit=2)
            assert [each.letter for each in first] == letters[:2]
            rest = await reader.dead_letters("hook", after=first[-1].number, limit=10)
            assert [each.letter for each in rest] == letters[2:]


async def test_quarantined_entries_come_in_pages_without_their_bytes_and_one_with_them(where: str) -> None:
    entries = [
        SetAside(RoomKey("acme", "notes", f"n{n}"), None, b"x" * n, f"reason {n}", float(n)) for n in range(1, 5)
    ]
    async with served(where) as storage:
        for each in entries:
            await storage.set_aside(each)
        async with reader_at(where) as reader:
            first = await reader.quarantine_page(0, 3)
            assert [(each.key.id, each.seq, each.size, each.reason, each.at) for each in first] == [
                (f"n{n}", None, n, f"reason {n}", float(n)) for n in range(1, 4)
            ]
            (last,) = await reader.quarantine_page(first[-1].number, 3)
            found = await reader.quarantined_entry(last.number)
            assert found is not None
            assert (found.number, found.entry) == (last.number, entries[-1])
            assert await reader.quarantined_entry(last.number + 1) is None


async def test_deleted_entities_come_in_pages_and_those_that_live_do_not(where: str) -> None:
    keys = [RoomKey("acme", "notes", f"n{n}") for n in range(5)]
    async with served(where) as storage:
        facts = [fact(1, key=key, at=10.0) for key in keys]
        await storage.commit([], facts)
        await storage.commit([], [fact(2, key=key, at=20.0, kind="deleted") for key in keys[1:]])
        await storage.commit([], [fact(3, key=keys[2], at=30.0, kind="restored")])
        async with reader_at(where) as reader:
            first = await reader.deleted("acme", "notes", "", 2)
            assert first == [("n1", 2, 20.0), ("n3", 2, 20.0)]
            assert await reader.deleted("acme", "notes", "n3", 2) == [("n4", 2, 20.0)]
            assert await reader.deleted("other", "notes", "", 2) == []


async def test_sizes_are_those_of_what_each_project_keeps(where: str) -> None:
    other = RoomKey("beta", "documents", "d")
    async with served(where) as storage:
        text = {"text": "\u00e9" * 1000}
        await storage.commit([entry(b"a" * 300), entry(b"b" * 50, other)], [fact(1, text, row=0), fact(1, key=other)])
        async with reader_at(where) as reader:
            acme, beta = await reader.sizes()
            assert (acme.project, beta.project) == ("acme", "beta")
            assert 2000 < acme.entities < 2400
            assert 2000 < acme.events < 2400
            assert (acme.documents, acme.history) == (300, 0)
            assert (beta.documents, beta.history) == (50, 0)
        await storage.replace_snapshot(KEY, Snapshot(1, b"s" * 100, b"i" * 10))
    async with reader_at(where) as reader:
        acme, _ = await reader.sizes()
        # snapshots and history are compressed
        assert 0 < acme.documents < 300
        assert acme.history > 0
