"""The index of words in SQLite: nothing of an erased row stays, and what is interrupted goes on."""

import logging
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import pytest

from collab.errors import Unavailable
from collab.names import RoomKey
from collab.storage.base import StorageError
from collab.storage.sqlite.query import selection
from collab.storage.sqlite.renaming import rename_in_sqlite
from collab.testing.search_contract import MEMBERS, ids, searched, written
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


def _plan(connection: Connection, sql: str, values: tuple[Any, ...]) -> list[str]:
    return [line for *_, line in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
