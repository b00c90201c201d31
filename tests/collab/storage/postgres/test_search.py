"""The index of words in PostgreSQL, which several nodes write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from collab.errors import Unavailable
from collab.names import RoomKey
from collab.query.search import CONTENTS
from collab.storage.base import NewContents, Unread
from collab.storage.postgres.query import find_statement
from collab.storage.postgres.renaming import rename_in_postgres
from collab.storage.postgres.schema import STEPS, prepare
from collab.storage.postgres.storage import PostgresStorage
from collab.storage.search import scope_of, write_form
from collab.testing.search_contract import ALL, MEMBERS, by_all, document, ids, said, searched, written
from tests.postgres import PostgresServer

OTHER = (("body",),)


@asynccontextmanager
async def node(url: str) -> AsyncIterator[PostgresStorage]:
    storage = PostgresStorage(url, opens="join")
    await storage.open()
    try:
        yield storage
    finally:
        await storage.close()


async def test_t7_a_node_indexes_what_another_one_declares(postgres: PostgresServer) -> None:
    """It learns that with its next commit, and searches nothing else meanwhile."""
    with postgres.records() as lend:
        async with node(url := lend()) as old, node(url) as new:
            await old.searchable("notes", MEMBERS)
            await old.commit([], [written("a", 1, title="blue", body="green")])
            await new.searchable("notes", OTHER)
            assert await ids(new, searched("green", OTHER)) == ["a"]
            await old.commit([], [written("b", 1, title="blue", body="green")])
            assert await ids(new, searched("blue", OTHER)) == []
            assert sorted(await ids(new, searched("green", OTHER))) == ["a", "b"]
            with pytest.raises(Unavailable, match="what is searched in notes has been declared anew"):
                await old.find("acme", "notes", searched("blue"))


async def test_t7_rows_that_are_written_while_others_are_indexed_are_not_missed(postgres: PostgresServer) -> None:
    with postgres.records() as lend:
        async with node(url := lend()) as old, node(url) as new:
            rows = [written(f"n{number:04}", 1, title="blue") for number in range(1500)]
            await old.commit([], rows)

            async def write() -> None:
                for number in range(0, 1500, 15):
                    some = [written(f"n{number + each:04}", 2, title="red") for each in range(3)]
                    await old.commit([], [*some, written(f"new{number}", 1, title="red")])

            await asyncio.gather(
                write(), new.searchable("notes", MEMBERS), old.erase([RoomKey("acme", "notes", "n0004")])
            )
            assert len(await ids(new, searched("red"))) == 400
            assert len(await ids(new, searched("blue"))) == 1199
            connection = await asyncpg.connect(url)
            left = await connection.fetchval(
                "SELECT count(*) FROM collab.search_texts AS t LEFT JOIN collab.entities AS e USING (eid)"
                " WHERE e.eid IS NULL OR e.version < t.version"
            )
            await connection.close()
            assert left == 0


async def test_a_renamed_collection_is_indexed_again(postgres: PostgresServer) -> None:
    with postgres.records() as lend:
        url = lend()
        async with node(url) as storage:
            await storage.searchable("notes", MEMBERS)
            await storage.commit([], [written("a", 1, title="blue")])
            await storage.leave()
        await rename_in_postgres(url, "notes", "pages", None, takes_over=True)
        connection = await asyncpg.connect(url)
        left = await connection.fetchval("SELECT count(*) FROM collab.search_texts")
        await connection.close()
        assert left == 0, "perhaps pages are never searched"
        async with node(url) as storage:
            with pytest.raises(Unavailable):
                await storage.count("acme", "pages", searched("blue"))
            await storage.searchable("pages", MEMBERS)
            assert await storage.count("acme", "pages", searched("blue")) == 1


async def test_a_search_reads_the_index(postgres: PostgresServer) -> None:
    """Once there are rows enough."""
    with postgres.records() as lend:
        async with node(url := lend()) as storage:
            await storage.searchable("notes", MEMBERS)
            for start in range(0, 3000, 500):
                rows = [written(f"n{number}", 1, title=f"word{number}") for number in range(start, start + 500)]
                await storage.commit([], rows)
            sql, values = find_statement("acme", "notes", searched("word77 -word770"))
            connection = await asyncpg.connect(url)
            await connection.execute("ANALYZE collab.search_texts, collab.entities")
            plan = "\n".join(line for (line,) in await connection.fetch(f"EXPLAIN {sql}", *values))
            await connection.close()
            assert "Bitmap Index Scan on search_words" in plan
            assert await ids(storage, searched("word77 -word770")) == ["n77"]


async def test_t7_what_a_node_commits_without_knowing_the_declaration_is_read_later(postgres: PostgresServer) -> None:
    """It computes no text, because it has not declared that contents are searched."""
    with postgres.records() as lend:
        async with node(url := lend()) as old, node(url) as new:
            await old.searchable("notes", MEMBERS)
            await old.commit([document("a"), document("b")], [said("a", 1, 1, None), said("b", 1, 1, None)])
            await new.searchable("notes", ALL)
            first, second = await new.unread()
            await old.commit([document("a")], [said("a", 2, 2, None)])
            await new.save_contents(first, NewContents(" whale "))
            await old.cover(second.key, 2)
            await new.save_contents(second, NewContents(" whale "))
            left = await new.unread()
            assert left == [first._replace(seq=2), second._replace(seq=2)]
            for unread in left:
                await new.save_contents(unread, NewContents(" shark "))
            await new.end_reading()
            assert len(await ids(new, by_all("shark"))) == 2
            await old.commit([document("a")], [said("a", 3, 3, None)])
            assert await new.unread() == [Unread(RoomKey("acme", "notes", "a"), 3)]
            assert len(await ids(new, by_all("shark"))) == 2


async def test_fields_that_are_indexed_late_do_not_hide_what_documents_say(postgres: PostgresServer) -> None:
    """Nor the other way round: whichever of the two texts of a row is stored first."""
    with postgres.records() as lend:
        async with node(url := lend()) as old, node(url) as new:
            rows = [written(f"n{number:04}", 1, title="blue") for number in range(1500)]
            await old.commit([document(f"n{number:04}") for number in range(1500)], rows)

            async def write() -> None:
                for number in range(0, 1500, 15):
                    some = [said(f"n{number + each:04}", 2, 1, "whale", title="blue") for each in range(3)]
                    await old.commit([], some)

            await asyncio.gather(write(), new.searchable("notes", ALL))
            while left := await new.unread(1000):
                for unread in left:
                    await new.save_contents(unread, NewContents("" if unread.seq == 0 else " whale "))
            await new.end_reading()
            assert await new.count("acme", "notes", by_all("blue")) == 1500
            assert await new.count("acme", "notes", by_all("blue whale")) == 300


async def test_a_database_from_before_contents_were_searched_keeps_its_index(postgres: PostgresServer) -> None:
    url = postgres.database()
    connection = await asyncpg.connect(url)
    await prepare(connection, STEPS[:2])
    await connection.execute(
        "INSERT INTO collab.entities (project, collection, id, version, deleted, data, keys, heads, content_seq,"
        " created_at, updated_at) VALUES ('acme', 'notes', 'a', 1, false, $1, $1::text::jsonb, '', 1, 1, 1)",
        '{"id": "a", "title": "Blue"}',
    )
    await connection.execute("INSERT INTO collab.search_collections VALUES ('notes', $1, NULL)", write_form(MEMBERS))
    await connection.execute(
        "INSERT INTO collab.search_texts (eid, version, scope, fields) VALUES (1, 1, $1, ' blue ')",
        scope_of("acme", "notes"),
    )
    await connection.close()
    async with node(url) as storage:
        assert await ids(storage, searched("blue")) == ["a"]
        assert await ids(storage, searched("whale")) == []
        await storage.searchable("notes", (CONTENTS, *MEMBERS))
        assert await storage.unread() == [], "it has no document"
        assert await ids(storage, by_all("blue")) == ["a"]
