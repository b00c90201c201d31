"""The nodes of a PostgreSQL database, read."""

from __future__ import annotations

import asyncpg

from collab.storage.nodes import NodeRow


async def read_nodes(connection: asyncpg.Connection) -> list[NodeRow]:
    """The nodes, by number, and how many rooms each owns."""
    rows = await connection.fetch(
        "SELECT n.nid, n.name, n.version, n.started, coalesce(b.n, 0), n.dead, coalesce(r.rooms, 0), n.url"
        " FROM collab.nodes AS n LEFT JOIN collab.beats AS b USING (nid)"
        " LEFT JOIN (SELECT nid, count(*) AS rooms FROM collab.rooms GROUP BY nid) AS r USING (nid) ORDER BY n.nid"
    )
    return [NodeRow(*row) for row in rows]


async def read_cluster_key(connection: asyncpg.Connection) -> bytes:
    """The secret that all nodes share."""
    key: str = await connection.fetchval("SELECT cluster_key FROM collab.record")
    return key.encode()
