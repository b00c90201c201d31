"""Contents of large snapshots, in parts that are written and deleted one per transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from collab.storage.sqlite.slices import SLICE_BYTES, delete_slice

_UNUSED = (
    "bundle NOT IN (SELECT bundle FROM snapshots WHERE rid = ?1 AND bundle IS NOT NULL"
    " UNION SELECT gate_bundle FROM snapshots WHERE rid = ?1 AND gate_bundle IS NOT NULL"
    " UNION SELECT bundle FROM bases WHERE rid = ?1 AND bundle IS NOT NULL)"
)


def split(content: bytes) -> Iterator[bytes]:
    """The parts of a content; none if it is small enough to be kept in its row."""
    if len(content) > SLICE_BYTES:
        for at in range(0, len(content), SLICE_BYTES):
            yield content[at : at + SLICE_BYTES]


def add_part(connection: sqlite3.Connection, rid: int, bundle: int | None, part: bytes) -> int:
    """Write the next part of a bundle of document ``rid``, or the first of a new one. Returns the bundle."""
    if bundle is None:
        (bundle,) = connection.execute("SELECT coalesce(max(bundle), 0) + 1 FROM parts").fetchone()
    connection.execute(
        "INSERT INTO parts SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3 FROM parts WHERE bundle = ?1",
        (bundle, rid, part),
    )
    assert bundle is not None
    return bundle


def read_parts(connection: sqlite3.Connection, bundle: int | None, content: object) -> object:
    """The content of a bundle; ``content`` if there is none."""
    if bundle is None:
        return content
    parts = connection.execute("SELECT content FROM parts WHERE bundle = ? ORDER BY number", (bundle,)).fetchall()
    return b"".join(part if type(part) is bytes else str(part).encode() for (part,) in parts)


def delete_unused_parts(connection: sqlite3.Connection, rid: int) -> int:
    """Delete some parts that belong to no snapshot and no base. Returns their bytes, 0 if there were none."""
    return delete_slice(connection, "parts", rid, where=_UNUSED)
