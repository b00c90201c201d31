"""The index of words in SQLite: nothing of an erased row stays, and what is interrupted goes on."""

import logging
from pathlib import Path
from random import Random
from sqlite3 import Connection, connect
from typing import Any

import pytest

from collab.errors import Unavailable
from collab.names import RoomKey
from collab.query.search import fold_texts
from collab.storage.base import NewContents, StorageError, Unread
from collab.storage.search import scope_of, write_form
from collab.storage.sqlite.query import selection
from collab.storage.sqlite.renaming import rename_in_sqlite
from collab.storage.sqlite.schema import STEPS, prepare
from collab.testing.search_contract import ALL, MEMBERS, by_all, document, ids, said, searched, written
from tests.collab.storage.database import opened, raw


def bytes_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_nothing_of_an_erased_row_stays_in_the_files(tmp_path: Path) -> None:
    """Neither its text nor its words, whatever else the index holds."""
    async with opened(tmp_path) as storage:
        await storage.searchable("notes", MEMBERS)
        for number in range(20):
            await storage.commit([], [written(f"n{number}", 1, title=f"Blue whale {number} zzyzx{number}")])
        await storage.commit([], [written("gone", 1, title="Xylophone quetzalcoatl", body=["Yggdrasil"])])
        await storage.commit([], [written("gone", 2, title="Xylophone axolotlish")])
        words = (b"xylophone", b"quetzalcoatl", b"yggdrasil", b"axolotlish")
        assert all(word in bytes_of(tmp_path).lower() for word in words)
        await storage.erase([RoomKey("acme", "notes", "gone")])
        assert not any(word in bytes_of(tmp_path).lower() for word in words)
        assert len(await ids(storage, searched("blue whale"))) == 20
        assert await ids(storage, searched("zzyzx7")) == ["n7"]


class Ended(StorageError):
    """In place of the end of the process."""


async def test_t7_indexing_goes_on_where_it_was_interrupted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Meanwhile nothing is searched, and rows that are written are not forgotten."""
    caplog.set_level(logging.INFO)
    rows = [written(f"n{number:04}", 1, title=f"blue {number}") for number in range(1300)]
    async with opened(tmp_path) as storage:
        await storage.commit([], rows)
        change, left = storage._change, 2

        async def limited(work: Any) -> Any:
            nonlocal left
            if not left:
                raise Ended("the process ends")
            left -= 1
            return await change(work)

        storage._change = limited
        with pytest.raises(Ended):
            await storage.searchable("notes", MEMBERS)
    async with opened(tmp_path) as storage:
        with pytest.raises(Unavailable, match="notes is still being indexed for search"):
            await storage.find("acme", "notes", searched("blue"))
        await storage.commit([], [written("new", 1, title="blue"), written("n0001", 2, title="red")])
        caplog.clear()
        await storage.searchable("notes", MEMBERS)
        assert "notes: indexing 801 rows for search" in caplog.text
        assert "notes: 801 of 801 rows are indexed for search" in caplog.text
        assert len(await ids(storage, searched("blue"))) == 1300
        assert await ids(storage, searched("red")) == ["n0001"]
        caplog.clear()
        await storage.searchable("notes", MEMBERS)
        assert not caplog.text


async def test_a_renamed_collection_is_indexed_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as storage:
        await storage.searchable("notes", MEMBERS)
        await storage.commit([], [written("a", 1, title="blue")])
    rename_in_sqlite(tmp_path, "notes", "pages", None)
    with raw(tmp_path) as database:
        assert database.execute("SELECT * FROM search_texts").fetchall() == [], "perhaps pages are never searched"
    async with opened(tmp_path) as storage:
        with pytest.raises(Unavailable):
            await storage.count("acme", "pages", searched("blue"))
        await storage.searchable("pages", MEMBERS)
        assert await storage.count("acme", "pages", searched("blue")) == 1
        await storage.searchable("notes", MEMBERS)
        assert await storage.count("acme", "notes", searched("blue")) == 0


async def test_a_search_reads_the_rows_with_its_words(tmp_path: Path) -> None:
    """And not those of the collection."""
    async with opened(tmp_path) as storage:
        await storage.searchable("notes", MEMBERS)
        await storage.commit([], [written("a", 1, title="blue")])

    where = selection("acme", "notes", searched("blue"))
    with raw(tmp_path) as connection:
        plan = _plan(connection, f"SELECT id FROM entities WHERE {where.sql}", where.values)
    assert "SEARCH entities USING INTEGER PRIMARY KEY (rowid=?)" in plan
    assert any("VIRTUAL TABLE INDEX" in line for line in plan)


async def test_the_index_has_exactly_the_words_of_rows_and_documents(tmp_path: Path) -> None:
    """Although it is told only of those that are new and those that have gone."""
    random = Random(3)
    words = [f"w{number}" for number in range(12)]
    names = [f"n{number}" for number in range(6)]
    titles, texts = dict.fromkeys(names, ""), dict.fromkeys(names, "")
    async with opened(tmp_path) as storage:
        await storage.searchable("notes", ALL)
        await storage.commit([], [written(name, 1) for name in names])
        for version in range(2, 60):
            facts = []
            for name in names:
                new = " ".join(random.choices(words, k=random.randint(0, 5)))
                if random.random() < 0.5:
                    titles[name] = new
                    facts.append(written(name, version, title=new))
                else:
                    texts[name] = new
                    facts.append(said(name, version, version, new, title=titles[name]))
            await storage.commit([], facts)
            with raw(tmp_path) as connection:
                connection.execute("CREATE VIRTUAL TABLE temp.listed USING fts5vocab(main, search_words, instance)")
                listed = connection.execute("SELECT doc, term FROM temp.listed").fetchall()
                eids = dict(connection.execute("SELECT id, eid FROM entities"))
            scope = scope_of("acme", "notes")
            expected = {
                (eids[name], scope + word) for name in names for word in {*titles[name].split(), *texts[name].split()}
            }
            assert len(listed) == len(set(listed))
            assert set(listed) == expected


async def test_nothing_of_what_an_erased_document_said_stays_in_the_files(tmp_path: Path) -> None:
    async with opened(tmp_path) as storage:
        await storage.searchable("notes", ALL)
        for number in range(20):
            await storage.commit([], [said(f"n{number}", 1, 1, f"Blue whale {number}")])
        await storage.commit([], [said("gone", 1, 1, "Xylophone quetzalcoatl")])
        await storage.commit([], [said("gone", 2, 2, "Xylophone axolotlish")])
        words = (b"xylophone", b"quetzalcoatl", b"axolotlish")
        assert all(word in bytes_of(tmp_path).lower() for word in words)
        await storage.erase([RoomKey("acme", "notes", "gone")])
        assert not any(word in bytes_of(tmp_path).lower() for word in words)
        assert len(await ids(storage, by_all("blue whale"))) == 20


async def test_a_database_from_before_contents_were_searched_keeps_its_index(tmp_path: Path) -> None:
    with connect(tmp_path / "collab.db", isolation_level=None) as connection:
        prepare(connection, STEPS[:8])
        data = '{"id": "a", "title": "Blue"}'
        connection.execute(
            "INSERT INTO entities (eid, project, collection, id, version, deleted, data, heads, content_seq,"
            " created_at, updated_at) VALUES (1, 'acme', 'notes', 'a', 1, 0, ?, x'', 1, 1.0, 1.0)",
            (data,),
        )
        connection.execute("INSERT INTO documents VALUES (1, 'acme', 'notes', 'a', 'x', 1.0)")
        connection.execute("INSERT INTO search_collections VALUES ('notes', ?, NULL)", (write_form(MEMBERS),))
        scope = scope_of("acme", "notes")
        connection.execute("INSERT INTO search_texts VALUES (1, ?, ' blue ')", (scope,))
        connection.execute("INSERT INTO search_words (rowid, words) VALUES (1, ?)", (f"{scope}blue",))
    async with opened(tmp_path) as storage:
        assert await ids(storage, searched("blue")) == ["a"]
        await storage.searchable("notes", ALL)
        (left,) = await storage.unread()
        assert left == Unread(RoomKey("acme", "notes", "a"), 1)
        await storage.save_contents(left, NewContents(fold_texts(["whale"])))
        await storage.end_reading()
        assert await ids(storage, by_all("blue whale")) == ["a"]


async def test_documents_of_a_renamed_collection_are_read_again(tmp_path: Path) -> None:
    key = RoomKey("acme", "pages", "a")
    async with opened(tmp_path) as storage:
        await storage.searchable("notes", ALL)
        await storage.commit([document("a")], [said("a", 1, 1, "whale"), said("b", 1, 1, None)])
    rename_in_sqlite(tmp_path, "notes", "pages", None)
    async with opened(tmp_path) as storage:
        assert await storage.unread() == []
        await storage.searchable("pages", ALL)
        with pytest.raises(Unavailable):
            await storage.count("acme", "pages", by_all("whale"))
        assert await storage.unread() == [Unread(key, 1)]
        await storage.cover(key, 2, NewContents(" whale "))
        await storage.end_reading()
        assert await storage.count("acme", "pages", by_all("whale")) == 1


def _plan(connection: Connection, sql: str, values: tuple[Any, ...]) -> list[str]:
    return [line for *_, line in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
