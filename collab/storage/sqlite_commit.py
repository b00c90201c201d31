"""What one commit writes: log rows, entities and their events, many a statement. For the thread that writes."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from secrets import token_hex
from typing import Any

from collab.names import RoomKey
from collab.storage.base import Append, Committed, Fact
from collab.storage.codec import encodable, keys_of, seed, to_json
from collab.storage.rules import reach_of

TAILS = 20_000  # documents and entities whose end is kept in memory
_STATEMENT_ROWS = (256, 64, 16, 4, 1)  # few sizes, so that each is prepared once


@dataclass(slots=True)
class Tail:
    """Where a document and its entity end. What is not there has ``rid`` or ``eid`` 0.

    ``seq`` was given to the newest log row ever, ``live`` is that of the newest which was not set aside. ``reach`` is
    the seq of the newest event, ``covered`` the ``content_seq``, ``listed`` whether the database has the document
    as uncovered.
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
    """The numbers that are given next."""

    rid: int
    eid: int
    position: int


class Appender:
    """Writes commits, and knows where everything ends. Its user must call :meth:`forget` after a rollback."""

    def __init__(self) -> None:
        self._tails: dict[RoomKey, Tail] = {}
        self._next: _Next | None = None

    def forget(self) -> None:
        """Read everything anew: what was remembered was not committed."""
        self._tails.clear()
        self._next = None

    def tail(self, connection: sqlite3.Connection, key: RoomKey) -> Tail:
        """Where a document and its entity end."""
        return self._resolve(connection, [key])[key]

    def refresh(self, connection: sqlite3.Connection, key: RoomKey) -> None:
        """Look again at a document whose log lost rows other than at its end."""
        self._tails.pop(key, None)
        tail = self.tail(connection, key)
        _list_uncovered(connection, [tail])

    def cover(self, connection: sqlite3.Connection, key: RoomKey, seq: int) -> None:
        """Content up to log row ``seq`` needs no further events."""
        tail = self.tail(connection, key)
        if tail.eid and tail.covered < seq:
            connection.execute("UPDATE entities SET content_seq = ? WHERE eid = ?", (seq, tail.eid))
            tail.covered = seq
            _list_uncovered(connection, [tail])

    def commit(self, connection: sqlite3.Connection, batch: Sequence[Append], facts: Sequence[Fact]) -> Committed:
        """Write a batch and its facts. The transaction is the caller's.

        Raises :class:`ValueError` if the versions of an entity would have a hole.
        """
        tails = self._resolve(
            connection, dict.fromkeys(chain((entry.key for entry in batch), (fact.entity.key for fact in facts)))
        )
        if self._next is None:
            self._next = _read_next(connection)
        first = self._next.position
        seqs = _append(connection, batch, tails, self._next)
        if facts:
            _record(connection, facts, seqs, tails, self._next)
        _list_uncovered(connection, tails.values())
        while len(self._tails) > TAILS:
            del self._tails[next(iter(self._tails))]
        return Committed(seqs, first)

    def _resolve(self, connection: sqlite3.Connection, keys: Iterable[RoomKey]) -> dict[RoomKey, Tail]:
        known = self._tails
        wanted = list(keys)
        missing = [key for key in wanted if key not in known]
        at = 0
        for size in _STATEMENT_ROWS:
            while len(missing) - at >= size:
                some = missing[at : at + size]
                for number, *columns in connection.execute(_tails(size), list(chain.from_iterable(some))):
                    known[some[number]] = _tail(*columns)
                at += size
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
    insert(connection, "INSERT INTO documents (rid, project, collection, id, lineage, created_at)", documents)
    insert(connection, "INSERT INTO log", rows)
    return [row[1] for row in rows]


def _record(
    connection: sqlite3.Connection,
    facts: Sequence[Fact],
    seqs: Sequence[int],
    tails: Mapping[RoomKey, Tail],
    following: _Next,
) -> None:
    events: list[tuple[Any, ...]] = []
    requests: list[tuple[Any, ...]] = []
    entities: dict[int, tuple[Any, ...]] = {}
    last = {fact.entity.key: fact for fact in facts}
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
        tail.covered = entity.content_seq
        conflicts = to_json(event.conflicts) if event.conflicts else None
        what = to_json(event.data), to_json(event.changes), conflicts
        events.append((following.position, eid, entity.version, event.type, tail.reach, event.user_id, fact.at, *what))
        following.position += 1
        if fact.request is not None:
            requests.append((entity.key.project, fact.request, eid, entity.version, fact.at))
        if eid not in entities:
            entities[eid] = _entity(eid, last[entity.key], fact.at)
    insert(connection, "INSERT INTO events", events)
    insert(
        connection,
        "INSERT INTO entities",
        list(entities.values()),
        "ON CONFLICT (eid) DO UPDATE SET version = excluded.version, deleted = excluded.deleted,"
        " data = excluded.data, keys = excluded.keys, heads = excluded.heads,"
        " content_seq = excluded.content_seq, updated_at = excluded.updated_at",
    )
    insert(connection, "INSERT OR IGNORE INTO requests (project, request, eid, version, at)", requests)


def _entity(eid: int, fact: Fact, created_at: float) -> tuple[Any, ...]:
    """A row of ``entities``; ``created_at`` counts if there is none yet."""
    entity = fact.entity
    data, keys = to_json(entity.data), keys_of(entity.data)
    state = entity.version, int(entity.deleted), data, keys, entity.heads, entity.content_seq
    return (eid, *entity.key, *state, created_at, fact.at)


def _tails(size: int) -> str:
    """Every seq given is in the log, behind the snapshot, or set aside."""
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
    rid, eid, position, oldest = connection.execute(
        "SELECT (SELECT max(rid) FROM documents), (SELECT max(eid) FROM entities), (SELECT max(position) FROM events),"
        " (SELECT value FROM record WHERE name = 'oldest')"
    ).fetchone()
    return _Next((rid or 0) + 1, (eid or 0) + 1, max(position or 0, oldest) + 1)


def _list_uncovered(connection: sqlite3.Connection, tails: Iterable[Tail]) -> None:
    came: list[tuple[int]] = []
    went: list[tuple[int]] = []
    for tail in tails:
        uncovered = tail.rid > 0 and tail.live > max(tail.covered, 0)
        if uncovered != tail.listed:
            (came if uncovered else went).append((tail.rid,))
            tail.listed = uncovered
    insert(connection, "INSERT INTO uncovered (rid)", came)
    connection.executemany("DELETE FROM uncovered WHERE rid = ?", went)


def insert(connection: sqlite3.Connection, into: str, rows: Sequence[tuple[Any, ...]], on_conflict: str = "") -> None:
    """Insert rows, many a statement.

    Before and after each statement the thread waits for the GIL. A row at a time, a busy event loop would let a
    thousand rows take 200 ms instead of 10.
    """
    at = 0
    for size in _STATEMENT_ROWS:
        if len(rows) - at < size:
            continue
        row = f"({', '.join('?' * len(rows[0]))})"
        statement = f"{into} VALUES {', '.join([row] * size)} {on_conflict}"
        while len(rows) - at >= size:
            values = list(chain.from_iterable(rows[at : at + size]))
            try:
                connection.execute(statement, values)
            except UnicodeEncodeError:
                # one user id with a lone surrogate must not hold up everybody's log
                connection.execute(statement, [encodable(value) for value in values])
            at += size
