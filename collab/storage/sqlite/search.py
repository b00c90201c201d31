"""Full-text search in SQLite: the folded texts of rows, and an FTS5 index of their words.

The index only says which rows have the words: whether a row is found, :func:`instr` decides on its folded text, as
:mod:`collab.query.search` does in memory. Words are folded before they get here, so the index compares bytes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from collab.names import RoomKey
from collab.query.query import IndexPaths, Search
from collab.query.search import finds_contents, folded_text
from collab.storage.base import Fact, NewContents, Unread
from collab.storage.codec import from_json
from collab.storage.search import (
    NO_TEXTS,
    StoredTexts,
    WordAsked,
    changed_words,
    check_form,
    contents_after,
    contents_path,
    keeps_contents,
    paths_in,
    scope_of,
    stored_contents,
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
        forms = self._known_forms(connection)
        if not forms:
            return
        known = {fact.entity.key: eid for fact, eid in zip(facts, eids, strict=True)}
        for fact, text in texts_after(facts, forms):
            write_text(connection, known[fact.entity.key], scope_of(*fact.entity.key[:2]), fields=text)
        for key, contents in contents_after(facts, forms).items():
            _write_contents(connection, known[key], scope_of(*key[:2]), contents.text)

    def write_contents(self, connection: sqlite3.Connection, key: RoomKey, eid: int, contents: NewContents) -> None:
        """Store what the document of an entity says, if that is searched."""
        stored = stored_contents(self._known_forms(connection).get(key.collection, ""), contents)
        if stored is not None:
            _write_contents(connection, eid, scope_of(*key[:2]), stored.text)

    def _known_forms(self, connection: sqlite3.Connection) -> dict[str, str]:
        if self._forms is None:
            self._forms = dict(connection.execute("SELECT collection, form FROM search_collections"))
        return self._forms

    def begin(self, connection: sqlite3.Connection, collection: str, paths: IndexPaths) -> bool:
        """Declare what is searched. Returns whether rows are still to be indexed, by :meth:`index_some`."""
        self._forms = None
        if _ERASES_ITSELF:
            connection.execute("INSERT INTO search_words (search_words, rank) VALUES ('secure-delete', 1)")
        form = write_form(paths)
        known = _read_form(connection, collection)
        if known is None and not form:
            return False
        if known is not None and known.form == form:
            return known.reached is not None
        reading = known is not None and known.reading and contents_path(form) is not None
        if not keeps_contents(None if known is None else known.form, form):
            reading = _list_unread(connection, collection)
        elif contents_path(form) is None:
            connection.execute(
                "DELETE FROM search_unread WHERE eid IN (SELECT eid FROM entities WHERE collection = ?)", (collection,)
            )
        connection.execute(
            "INSERT OR REPLACE INTO search_collections (collection, form, reached, reading) VALUES (?, ?, 0, ?)",
            (collection, form, int(reading)),
        )
        return True

    def index_some(self, connection: sqlite3.Connection, collection: str, eids: Sequence[int]) -> int:
        """Index the first of these rows. Returns how many."""
        known = _read_form(connection, collection)
        form = "" if known is None else known.form
        count = size = 0
        for eid in eids[:_SLICE_ROWS]:
            row = connection.execute(
                "SELECT project, data FROM entities WHERE eid = ? AND collection = ?", (eid, collection)
            ).fetchone()
            count += 1
            if row is None:  # it was erased
                continue
            text = folded_text(from_json(row[1]), paths_in(form))
            contents = None if contents_path(form) is not None else ""
            write_text(connection, eid, scope_of(row[0], collection), fields=text, contents=contents)
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
    if known is None or known.reached is None:
        return []
    rows = connection.execute(
        "SELECT eid FROM entities WHERE collection = ? AND eid > ? ORDER BY eid", (collection, known.reached)
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
        forget_text(connection, eid)
    connection.execute(
        "DELETE FROM search_unread WHERE eid IN"
        " (SELECT eid FROM entities WHERE collection = ? AND (? IS NULL OR project = ?))",
        (collection, project, project),
    )


def list_unread(connection: sqlite3.Connection, limit: int) -> list[Unread]:
    """Entities whose contents are still to be read."""
    rows = connection.execute(
        "SELECT e.project, e.collection, e.id, e.content_seq FROM search_unread AS u"
        " JOIN entities AS e ON e.eid = u.eid ORDER BY u.number LIMIT ?",
        (limit,),
    )
    return [Unread(RoomKey(*key), seq) for *key, seq in rows]


def save_contents(connection: sqlite3.Connection, unread: Unread, contents: NewContents) -> None:
    """Store what an unread document says, unless that, or what is searched of it, has changed."""
    key = unread.key
    found = connection.execute(
        "SELECT e.eid FROM entities AS e JOIN search_unread AS u ON u.eid = e.eid"
        " WHERE e.project = ? AND e.collection = ? AND e.id = ? AND e.content_seq = ?",
        (*key, unread.seq),
    ).fetchone()
    if found is None:
        return
    known = _read_form(connection, key.collection)
    stored = None if known is None else stored_contents(known.form, contents)
    if stored is not None:
        _write_contents(connection, found[0], scope_of(*key[:2]), stored.text)


def is_reading(connection: sqlite3.Connection) -> bool:
    """Whether a search in some collection waits for its documents."""
    return bool(connection.execute("SELECT EXISTS (SELECT 1 FROM search_collections WHERE reading)").fetchone()[0])


def end_reading(connection: sqlite3.Connection) -> None:
    """Let collections be searched of whose documents none is unread."""
    connection.execute(
        "UPDATE search_collections SET reading = 0 WHERE reading AND NOT EXISTS"
        " (SELECT 1 FROM search_unread AS u JOIN entities AS e ON e.eid = u.eid"
        " WHERE e.collection = search_collections.collection)"
    )


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
    if known is None:
        check_form(collection, paths, None, done=False)
    else:
        check_form(collection, paths, known.form, done=known.reached is None, reading=known.reading)


def found_sql(
    project: str, collection: str, search: Search, *, is_few: bool = False
) -> list[tuple[str, tuple[Any, ...]]]:
    """Conditions on ``entities`` for the rows that are found, with their parameters.

    ``is_few``: other conditions name a few rows, whose texts are looked at instead of the index.
    """
    scope = scope_of(project, collection)
    words = search.words
    columns = ("fields", "contents") if finds_contents(search.paths) else ("fields",)
    occurs = " OR ".join(f"instr(t.{column}, ?) > 0" for column in columns)
    found: list[tuple[str, tuple[Any, ...]]] = []

    def add(negation: str, match: str, test: str, parts: Sequence[str]) -> None:
        values = tuple(part for part in parts for _ in columns)
        if is_few:
            texts = f"SELECT 1 FROM search_texts AS t WHERE t.eid = entities.eid AND ({test})"  # noqa: S608
            found.append((f"{negation}EXISTS ({texts})", values))
        else:
            rows = "SELECT t.eid FROM search_words AS w CROSS JOIN search_texts AS t ON t.eid = w.rowid"
            rows += f" WHERE w.search_words MATCH ? AND ({test})"
            found.append((f"eid {negation}IN ({rows})", (match, *values)))

    if words.wanted:
        match = " AND ".join(_matching(scope, part) for part in words.wanted)
        add("", match, " AND ".join(f"({occurs})" for _ in words.wanted), words.wanted)
    if words.without:
        match = " OR ".join(f"({_matching(scope, part)})" for part in words.without)
        add("NOT ", match, " OR ".join(occurs for _ in words.without), words.without)
    return found


def _matching(scope: str, part: str) -> str:
    return " AND ".join(map(_quoted, words_asked(scope, part)))


def _quoted(asked: WordAsked) -> str:
    return f'"{asked.word}"{" *" if asked.begins else ""}'


class _Form(NamedTuple):
    form: str
    reached: int | None
    reading: bool


def _read_form(connection: sqlite3.Connection, collection: str) -> _Form | None:
    row = connection.execute(
        "SELECT form, reached, reading FROM search_collections WHERE collection = ?", (collection,)
    ).fetchone()
    return None if row is None else _Form(row[0], row[1], bool(row[2]))


def _list_unread(connection: sqlite3.Connection, collection: str) -> bool:
    """List the entities of a collection that have a document. Returns whether there are any."""
    connection.execute(
        "INSERT OR IGNORE INTO search_unread (eid) SELECT e.eid FROM entities AS e JOIN documents AS d"
        " ON d.project = e.project AND d.collection = e.collection AND d.id = e.id WHERE e.collection = ? ORDER BY 1",
        (collection,),
    )
    listed = "SELECT 1 FROM search_unread AS u JOIN entities AS e ON e.eid = u.eid WHERE e.collection = ?"
    return bool(connection.execute(f"SELECT EXISTS ({listed})", (collection,)).fetchone()[0])


def _write_contents(connection: sqlite3.Connection, eid: int, scope: str, text: str | None) -> None:
    if text is None:
        connection.execute("INSERT OR IGNORE INTO search_unread (eid) VALUES (?)", (eid,))
        return
    write_text(connection, eid, scope, contents=text)
    connection.execute("DELETE FROM search_unread WHERE eid = ?", (eid,))


def forget_text(connection: sqlite3.Connection, eid: int) -> None:
    """Delete the texts of a row, and its words."""
    write_text(connection, eid, "", fields="", contents="")
    connection.execute("DELETE FROM search_unread WHERE eid = ?", (eid,))


def write_text(
    connection: sqlite3.Connection, eid: int, scope: str, *, fields: str | None = None, contents: str | None = None
) -> None:
    """Store what is new of a row's texts, and of its words; without words, nothing of it.

    Words that are deleted may stay in the file until :func:`merge_all`.
    """
    row = connection.execute("SELECT scope, fields, contents FROM search_texts WHERE eid = ?", (eid,)).fetchone()
    before = NO_TEXTS if row is None else StoredTexts(*row)
    after = before.with_new(scope, fields, contents)
    if before == after:
        return
    gone, new = changed_words(before, after)
    # An index without texts must be told which words of a row have gone; words that stay are not touched. It counts
    # its rows, so one is deleted and one inserted even if there is no word for one of them.
    if row is not None and (gone or new):
        connection.execute(
            "INSERT INTO search_words (search_words, rowid, words) VALUES ('delete', ?, ?)", (eid, " ".join(gone))
        )
    if after is NO_TEXTS:
        connection.execute("DELETE FROM search_texts WHERE eid = ?", (eid,))
        return
    if gone or new:
        connection.execute("INSERT INTO search_words (rowid, words) VALUES (?, ?)", (eid, " ".join(new)))
    connection.execute(
        "INSERT OR REPLACE INTO search_texts (eid, scope, fields, contents) VALUES (?, ?, ?, ?)", (eid, *after)
    )
