"""The nodes of a PostgreSQL database, read."""

from __future__ import annotations

from typing import Any

import asyncpg
import msgspec

from collab.names import RoomKey
from collab.storage.nodes import Announced, Announcement, NodeRow

_read = msgspec.json.Decoder(dict[str, Any]).decode


async def read_nodes(connection: asyncpg.Connection) -> list[NodeRow]:
    """The nodes, by number, and how many rooms each owns."""
    rows = await connection.fetch(
        "SELECT n.nid, n.name, n.version, n.started, coalesce(b.n, 0), n.dead, coalesce(r.rooms, 0), n.url"
        " FROM collab.nodes AS n LEFT JOIN collab.beats AS b USING (nid)"
        " LEFT JOIN (SELECT nid, count(*) AS rooms FROM collab.rooms GROUP BY nid) AS r USING (nid) ORDER BY n.nid"
    )
    return [NodeRow(*row) for row in rows]


async def read_owner(connection: asyncpg.Connection, key: RoomKey) -> int | None:
    """The node that owns a room, if it lives."""
    owner: int | None = await connection.fetchval(
        "SELECT r.nid FROM collab.rooms AS r JOIN collab.nodes AS n USING (nid)"
        " WHERE (r.project, r.collection, r.id) = ($1, $2, $3) AND NOT n.dead",
        *key,
    )
    return owner


async def read_announced(connection: asyncpg.Connection) -> int:
    """The number of the newest announcement."""
    return int(await connection.fetchval("SELECT coalesce(max(number), 0) FROM collab.announcements"))


async def read_announcements(connection: asyncpg.Connection, after: int, limit: int) -> list[Announced]:
    """The announcements after a number, in order."""
    rows = await connection.fetch(
        "SELECT number, project, kind, body FROM collab.announcements WHERE number > $1 ORDER BY number LIMIT $2",
        after,
        limit,
    )
    return [Announced(number, Announcement(project, kind, _read(body))) for number, project, kind, body in rows]


def write_body(announcement: Announcement) -> str:
    """The text of a body."""
    return msgspec.json.encode(announcement.body).decode()


async def read_cluster_key(connection: asyncpg.Connection) -> bytes:
    """The secret that all nodes share."""
    key: str = await connection.fetchval("SELECT cluster_key FROM collab.record")
    return key.encode()
