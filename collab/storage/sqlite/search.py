"""Full-text search in SQLite: the folded texts of rows, and an FTS5 index of their words.

The index only says which rows have the words: whether a row is found, :func:`instr` decides on its folded text, as
:mod:`collab.query.search` does in memory. Words are folded before they get here, so the index compares bytes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Final

from collab.query.query import IndexPaths, Search
from collab.query.search import folded_text
from collab.storage.base import Fact
from collab.storage.codec import from_json
from collab.storage.search import (
    WordAsked,
    check_form,
    index_words,
    paths_in,
    scope_of,
    texts_after,
    words_asked,
    write_form,
)

_SLICE_BYTES: Final = 256 * 1024
_SLICE_ROWS: Final = 500
_MERGED_PAGES: Final = 64  # of the index, per transaction
_ERASES_ITSELF: Final = sqlite3.sqlite_version_info >= (3, 42)


class SearchTexts:
    """Writes the texts, and caches what is searched. Its user must call :meth:`forget` after a rollback."""

    def __init__(self) -> None:
        self._forms: dict[str, str] | None = None

    def forget(self) -> None:
        """Drop the cache: its content was not committed."""
        self._forms = None

    def write(self, connection: sqlite3.Connection, facts: Sequence[Fact], eids: Sequence[int]) -> None:
        """Store the texts of the entities that a commit changes; ``eids`` are those of ``facts``."""
        if self._forms is None:
            self._forms = dict(connection.execute("SELECT collection, form FROM search_collections"))
        if not self._forms:
            return
        known = {fact.entity.key: eid for fact, eid in zip(facts, eids, strict=True)}
        for fact, text in texts_after(facts, self._forms):
            write_text(connection, known[fact.entity.key], scope_of(*fact.entity.key[:2]), text)

    def begin(self, connection: sqlite3.Connection, collection: str, paths: IndexPaths) -> bool:
        """Declare what is searched. Returns whether rows are still to be indexed, by :meth:`index_some`."""
        self._forms = None
        if _ERASES_ITSELF:
            connection.execute("INSERT INTO search_words (search_words, rank) VALUES ('secure-delete', 1)")
        form = write_form(paths)
        known = _read_form(connection, collection)
        if known is None and not form:
            return False
        if known is not None and known[0] == form:
            return known[1] is not None
        connection.execute("INSERT OR REPLACE INTO search_collections VALUES (?, ?, 0)", (collection, form))
        return True

    def index_some(self, connection: sqlite3.Connection, collection: str, eids: Sequence[int]) -> int:
        """Index the first of these rows. Returns how many."""
        known = _read_form(connection, collection)
        paths = () if known is None else paths_in(known[0])
        count = size = 0
        for eid in eids[:_SLICE_ROWS]:
            row = connection.execute(
                "SELECT project, data FROM entities WHERE eid = ? AND collection = ?", (eid, collection)
            ).fetchone()
            count += 1
            if row is None:  # it was erased
                continue
            text = folded_text(from_json(row[1]), paths)
            write_text(connection, eid, scope_of(row[0], collection), text)
            size += len(row[1])
            if size > _SLICE_BYTES:
                break
        connection.execute(
            "UPDATE search_collections SET reached = ? WHERE collection = ?", (eids[count - 1], collection)
        )
        return count

    def end(self, connection: sqlite3.Connection, collection: str) -> None:
        """All rows are indexed."""
        self._forms = None
        connection.execute("DELETE FROM search_collections WHERE collection = ? AND form = ''", (collection,))
        connection.execute("UPDATE search_collections SET reached = NULL WHERE collection = ?", (collection,))


def list_left(connection: sqlite3.Connection, collection: str) -> list[int]:
    """The rows that are still to be indexed, in the order of :meth:`SearchTexts.index_some`."""
    known = _read_form(connection, collection)
    reached = None if known is None else known[1]
    if reached is None:
        return []
    rows = connection.execute(
        "SELECT eid FROM entities WHERE collection = ? AND eid > ? ORDER BY eid", (collection, reached)
    )
    return [eid for (eid,) in rows]


def index_anew(connection: sqlite3.Connection, collection: str) -> None:
    """Have a collection indexed again when it is declared next: its rows were written in another way."""
    connection.execute("DELETE FROM search_collections WHERE collection = ?", (collection,))


def forget_texts(connection: sqlite3.Connection, collection: str, project: str | None) -> None:
    """Delete the texts of a collection, in one project or in all: perhaps it is never declared again."""
    eids = connection.execute(
        "SELECT e.eid FROM entities AS e JOIN search_texts AS t ON t.eid = e.eid"
        " WHERE e.collection = ? AND (? IS NULL OR e.project = ?)",
        (collection, project, project),
    ).fetchall()
    for (eid,) in eids:
        write_text(connection, eid, "", "")


def merge_all(connection: sqlite3.Connection) -> Iterator[None]:
    """Rewrite the index without deleted words. Each step is for a transaction of its own.

    From version 3.42 on SQLite overwrites them itself.
    """
    if _ERASES_ITSELF:
        return
    pages = -_MERGED_PAGES  # negative: begin with all parts of the index
    while True:
        before = connection.total_changes
        connection.execute("INSERT INTO search_words (search_words, rank) VALUES ('merge', ?)", (pages,))
        if connection.total_changes - before < 2:
            return
        pages = _MERGED_PAGES
        yield


def check_indexed(connection: sqlite3.Connection, collection: str, paths: IndexPaths) -> None:
    """Raise :class:`collab.errors.Unavailable` unless all rows are found by these members."""
    known = _read_form(connection, collection)
    check_form(collection, paths, None if known is None else known[0], done=known is not None and known[1] is None)


def found_sql(project: str, collection: str, search: Search) -> list[tuple[str, tuple[Any, ...]]]:
    """Conditions on ``entities`` for the rows that are found, with their parameters."""
    scope = scope_of(project, collection)
    words = search.words
    rows = "eid {} (SELECT t.eid FROM search_words AS w CROSS JOIN search_texts AS t ON t.eid = w.rowid"
    rows += " WHERE w.search_words MATCH ? AND ({}))"
    found: list[tuple[str, tuple[Any, ...]]] = []
    if words.wanted:
        match = " AND ".join(_matching(scope, part) for part in words.wanted)
        test = " AND ".join("instr(t.fields, ?) > 0" for _ in words.wanted)
        found.append((rows.format("IN", test), (match, *words.wanted)))
    if words.without:
        match = " OR ".join(f"({_matching(scope, part)})" for part in words.without)
        test = " OR ".join("instr(t.fields, ?) > 0" for _ in words.without)
        found.append((rows.format("NOT IN", test), (match, *words.without)))
    return found


def _matching(scope: str, part: str) -> str:
    return " AND ".join(map(_quoted, words_asked(scope, part)))


def _quoted(asked: WordAsked) -> str:
    return f'"{asked.word}"{" *" if asked.begins else ""}'


def _read_form(connection: sqlite3.Connection, collection: str) -> tuple[str, int | None] | None:
    row: tuple[str, int | None] | None = connection.execute(
        "SELECT form, reached FROM search_collections WHERE collection = ?", (collection,)
    ).fetchone()
    return row


def write_text(connection: sqlite3.Connection, eid: int, scope: str, fields: str) -> None:
    """Store a row's text, and its words; without words, nothing of it.

    Words that are deleted may stay in the file until :func:`merge_all`.
    """
    before = connection.execute("SELECT scope, fields FROM search_texts WHERE eid = ?", (eid,)).fetchone()
    if before == (scope, fields) or (before is None and not fields):
        return
    if before is not None:
        # an index without texts must be told which words it has of a row
        connection.execute(
            "INSERT INTO search_words (search_words, rowid, words) VALUES ('delete', ?, ?)",
            (eid, " ".join(index_words(*before))),
        )
        connection.execute("DELETE FROM search_texts WHERE eid = ?", (eid,))
    if fields:
        connection.execute("INSERT INTO search_texts VALUES (?, ?, ?)", (eid, scope, fields))
        connection.execute(
            "INSERT INTO search_words (rowid, words) VALUES (?, ?)", (eid, " ".join(index_words(scope, fields)))
        )
