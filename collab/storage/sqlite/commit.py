"""Writes a commit: log rows, entities and their events, many per statement. Runs in the writing thread."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from secrets import token_hex
from typing import Any

from collab.names import RoomKey
from collab.storage.base import Append, CommitId, Committed, Fact, NewContents
from collab.storage.codec import keys_of, pack_answer, seed, to_json, unpack_answer
from collab.storage.rules import WRITERS, check_repeat, reach_of
from collab.storage.sqlite.positions import next_position
from collab.storage.sqlite.search import SearchTexts
from collab.storage.sqlite.statements import insert, portions

TAILS = 20_000  # documents and entities whose tail is cached in memory


@dataclass(slots=True)
class Tail:
    """The end of a document and its entity. If one does not exist, its ``rid`` or ``eid`` is 0.

    ``seq`` is that of the newest log row ever, ``live`` that of the newest which was not set aside. ``reach`` is the
    seq of the newest event, ``covered`` the ``content_seq``, ``listed`` whether the database lists the document as
    uncovered.
    """

    rid: int
    seq: int
    live: int
    listed: bool
    eid: int
    version: int
    reach: int
    covered: int


@dataclass(slots=True)
class _Next:
    """The next row ids, and the next positions by project, for projects used so far."""

    rid: int
    eid: int
    positions: dict[str, int]


class Appender:
    """Writes commits, and caches the tails of documents. Its user must call :meth:`forget` after a rollback."""

    def __init__(self) -> None:
        self.search = SearchTexts()
        self._tails: dict[RoomKey, Tail] = {}
        self._next: _Next | None = None
        self._last: CommitId | None = None

    def forget(self) -> None:
        """Drop the cache: its content was not committed."""
        self._tails.clear()
        self._next = self._last = None
        self.search.forget()

    def drop(self, keys: Iterable[RoomKey]) -> None:
        """Forget these documents and entities: they were erased."""
        for key in keys:
            self._tails.pop(key, None)

    def tail(self, connection: sqlite3.Connection, key: RoomKey) -> Tail:
        """The end of a document and its entity."""
        return self._resolve(connection, [key])[key]

    def refresh(self, connection: sqlite3.Connection, key: RoomKey) -> None:
        """Reload the tail of a document whose log lost rows other than at its end."""
        self._tails.pop(key, None)
        tail = self.tail(connection, key)
        _list_uncovered(connection, [tail])

    def cover(self, connection: sqlite3.Connection, key: RoomKey, seq: int, contents: NewContents | None) -> None:
        """Mark content up to log row ``seq`` as needing no further events, with what it says if it has changed."""
        tail = self.tail(connection, key)
        if not tail.eid or tail.covered > seq:
            return
        if contents is not None:
            self.search.write_contents(connection, key, tail.eid, contents)
        if tail.covered < seq:
            connection.execute("UPDATE entities SET content_seq = ? WHERE eid = ?", (seq, tail.eid))
            tail.covered = seq
            _list_uncovered(connection, [tail])

    def commit(
        self,
        connection: sqlite3.Connection,
        batch: Sequence[Append],
        facts: Sequence[Fact] = (),
        commit_id: CommitId | None = None,
    ) -> Committed:
        """Write a batch and its facts, once for each ``commit_id``. The caller owns the transaction.

        Raises :class:`ValueError` if the versions of an entity would have a gap, or the writer has committed since.
        """
        # the next one of the writer that committed last is no repetition
        if commit_id is not None and self._last != (commit_id.writer, commit_id.number - 1):
            receipt = _read_receipt(connection, commit_id.writer)
            if receipt is not None and receipt[0] >= commit_id.number:
                return check_repeat(commit_id, *receipt)
        tails = self._resolve(
            connection, dict.fromkeys(chain((entry.key for entry in batch), (fact.entity.key for fact in facts)))
        )
        if self._next is None:
            self._next = _read_next(connection)
        seqs = _append(connection, batch, tails, self._next)
        positions = _record(connection, facts, seqs, tails, self._next) if facts else []
        if facts:
            self.search.write(connection, facts, [tails[fact.entity.key].eid for fact in facts])
        _list_uncovered(connection, tails.values())
        while len(self._tails) > TAILS:
            del self._tails[next(iter(self._tails))]
        committed = Committed(seqs, positions)
        if commit_id is not None:
            _write_receipt(connection, commit_id, committed)
            self._last = commit_id
        return committed

    def _resolve(self, connection: sqlite3.Connection, keys: Iterable[RoomKey]) -> dict[RoomKey, Tail]:
        known = self._tails
        wanted = list(keys)
        missing = [key for key in wanted if key not in known]
        for some in portions(missing):
            for number, *columns in connection.execute(_tails(len(some)), list(chain.from_iterable(some))):
                known[some[number]] = _tail(*columns)
        return {key: known[key] for key in wanted}


def _append(
    connection: sqlite3.Connection, batch: Sequence[Append], tails: Mapping[RoomKey, Tail], following: _Next
) -> list[int]:
    documents: list[tuple[Any, ...]] = []
    rows: list[tuple[Any, ...]] = []
    for entry in batch:
        tail = tails[entry.key]
        if not tail.rid:
            tail.rid = following.rid
            following.rid += 1
            documents.append((tail.rid, *entry.key, token_hex(8), entry.at))
        tail.seq = tail.live = seq = tail.seq + 1
        rid, update = tail.rid, entry.update
        rows.append((rid, seq, update, entry.user_id, entry.at, zlib.crc32(update, seed(rid, seq))))
    insert(
        connection, "INSERT OR ROLLBACK INTO documents (rid, project, collection, id, lineage, created_at)", documents
    )
    insert(connection, "INSERT OR ROLLBACK INTO log", rows)
    return [row[1] for row in rows]


def _record(
    connection: sqlite3.Connection,
    facts: Sequence[Fact],
    seqs: Sequence[int],
    tails: Mapping[RoomKey, Tail],
    following: _Next,
) -> list[int]:
    """Returns the position of each fact."""
    for project in {fact.entity.key.project for fact in facts} - following.positions.keys():
        following.positions[project] = next_position(connection, project)
    positions: list[int] = []
    events: list[tuple[Any, ...]] = []
    requests: list[tuple[Any, ...]] = []
    entities: dict[int, tuple[Fact, str, float]] = {}  # its last fact, that event's data, when it began
    for fact in facts:
        entity, event = fact.entity, fact.event
        tail = tails[entity.key]
        if entity.version != tail.version + 1:
            raise ValueError(f"version {entity.version} of {entity.key} does not follow version {tail.version}")
        if not tail.eid:
            tail.eid = following.eid
            following.eid += 1
        eid = tail.eid
        tail.version = entity.version
        tail.reach = reach_of(fact, seqs, tail.seq, tail.reach)
        tail.covered = max(tail.covered, entity.content_seq)
        conflicts = to_json(event.conflicts) if event.conflicts else None
        data = to_json(event.data)
        project = entity.key.project
        position = following.positions[project]
        following.positions[project] += 1
        positions.append(position)
        who = tail.reach, event.user_id, fact.at
        events.append(
            (project, position, eid, entity.version, event.type, *who, data, to_json(event.changes), conflicts)
        )
        if fact.request is not None:
            requests.append((project, *fact.request, eid, entity.version, fact.at))
        entities[eid] = fact, data, entities[eid][2] if eid in entities else fact.at
    insert(connection, "INSERT OR ROLLBACK INTO events", events)
    insert(
        connection,
        "INSERT OR ROLLBACK INTO entities",
        [_entity(eid, *state) for eid, state in entities.items()],
        "ON CONFLICT (eid) DO UPDATE SET version = excluded.version, deleted = excluded.deleted,"
        " data = excluded.data, keys = excluded.keys, heads = excluded.heads,"
        " content_seq = max(content_seq, excluded.content_seq), updated_at = excluded.updated_at",
    )
    insert(connection, "INSERT OR IGNORE INTO requests (project, caller, request, digest, eid, version, at)", requests)
    return positions


def _entity(eid: int, fact: Fact, data: str, created_at: float) -> tuple[Any, ...]:
    """A row of ``entities``; ``data`` is that of the event; ``created_at`` counts only for a new one."""
    entity = fact.entity
    if entity.data is not fact.event.data:
        data = to_json(entity.data)
    keys = keys_of(entity.data)
    state = entity.version, int(entity.deleted), data, keys, entity.heads, entity.content_seq
    return (eid, *entity.key, *state, created_at, fact.at)


@lru_cache(maxsize=32)
def _tails(size: int) -> str:
    """A query for tails: every assigned seq is in the log, behind the snapshot, or set aside."""
    wanted = ", ".join(f"({number}, ?, ?, ?)" for number in range(size))
    return (
        f"WITH wanted (number, project, collection, id) AS (VALUES {wanted}) "  # noqa: S608
        "SELECT w.number, d.rid, max("
        " coalesce((SELECT max(seq) FROM log WHERE log.rid = d.rid), 0),"
        " coalesce((SELECT seq FROM snapshots WHERE snapshots.rid = d.rid), 0)),"
        " (SELECT max(seq) FROM set_aside AS s"
        "  WHERE s.project = w.project AND s.collection = w.collection AND s.id = w.id),"
        " EXISTS (SELECT 1 FROM uncovered WHERE uncovered.rid = d.rid),"
        " e.eid, e.version, e.content_seq,"
        " (SELECT v.seq FROM events AS v WHERE v.eid = e.eid AND v.version = e.version)"
        " FROM wanted AS w"
        " LEFT JOIN documents AS d ON d.project = w.project AND d.collection = w.collection AND d.id = w.id"
        " LEFT JOIN entities AS e ON e.project = w.project AND e.collection = w.collection AND e.id = w.id"
    )


def _tail(
    rid: int | None,
    live: int,
    aside: int | None,
    listed: int,
    eid: int | None,
    version: int | None,
    covered: int | None,
    reach: int | None,
) -> Tail:
    seq = max(live, aside or 0) if rid else 0
    return Tail(rid or 0, seq, live, bool(listed), eid or 0, version or 0, reach or 0, covered or 0)


def _read_next(connection: sqlite3.Connection) -> _Next:
    rid, eid = connection.execute(
        "SELECT (SELECT max(rid) FROM (SELECT max(rid) AS rid FROM documents UNION SELECT rid FROM erasing)),"
        " (SELECT max(eid) FROM (SELECT max(eid) AS eid FROM entities UNION SELECT eid FROM erasing))"
    ).fetchone()
    return _Next((rid or 0) + 1, (eid or 0) + 1, {})


def _list_uncovered(connection: sqlite3.Connection, tails: Iterable[Tail]) -> None:
    came: list[tuple[int]] = []
    went: list[tuple[int]] = []
    for tail in tails:
        uncovered = tail.rid > 0 and tail.live > max(tail.covered, 0)
        if uncovered != tail.listed:
            (came if uncovered else went).append((tail.rid,))
            tail.listed = uncovered
    insert(connection, "INSERT OR ROLLBACK INTO uncovered (rid)", came)
    if went:
        connection.executemany("DELETE FROM uncovered WHERE rid = ?", went)


def _read_receipt(connection: sqlite3.Connection, writer: str) -> tuple[int, Committed] | None:
    row = connection.execute("SELECT number, answer FROM receipts WHERE writer = ?", (writer,)).fetchone()
    return None if row is None else (int(row[0]), unpack_answer(row[1]))


def _write_receipt(connection: sqlite3.Connection, commit_id: CommitId, committed: Committed) -> None:
    values = (commit_id.number, pack_answer(committed), commit_id.writer)
    if connection.execute("UPDATE receipts SET number = ?, answer = ? WHERE writer = ?", values).rowcount:
        return
    cursor = connection.execute("INSERT INTO receipts (number, answer, writer) VALUES (?, ?, ?)", values)
    connection.execute("DELETE FROM receipts WHERE id <= ?", ((cursor.lastrowid or 0) - WRITERS,))
