"""Renames a collection in PostgreSQL, in one transaction: see :mod:`collab.storage.renaming`."""

from __future__ import annotations

from secrets import token_hex

import asyncpg

from collab.storage.postgres.copy import alone, connected
from collab.storage.postgres.query import create_indexes
from collab.storage.postgres.schema import check
from collab.storage.postgres.search import index_anew
from collab.storage.renaming import Renamed, check_found, check_names, renamed_event

_NAMED = ("entities", "documents", "set_aside")
_MINE = "($2::text IS NULL OR project = $2)"


async def rename_in_postgres(url: str, old: str, new: str, project: str | None, *, takes_over: bool) -> Renamed:
    """Rename a collection in one project or in all. Raises as :func:`collab.storage.sqlite.renaming.rename_in_sqlite`.

    If this ``takes_over``, nodes that seem to use the record are ended.
    """
    check_names(old, new)
    async with connected(url) as connection:
        await check(connection)
        async with alone(connection, takes_over=takes_over):
            done = await _rename(connection, old, new, project)
        if project is None:
            await create_indexes(connection, old, [])
    return done


async def _rename(connection: asyncpg.Connection, old: str, new: str, project: str | None) -> Renamed:
    async def count(name: str) -> int:
        counts = (f"SELECT count(*) AS n FROM collab.{table} WHERE collection = $1 AND {_MINE}" for table in _NAMED)  # noqa: S608
        return int(
            await connection.fetchval(f"SELECT sum(n) FROM ({' UNION ALL '.join(counts)}) AS k", name, project)  # noqa: S608
        )

    check_found(old, new, olds=await count(old), news=await count(new))
    changed = []
    for table in _NAMED:
        status = await connection.execute(
            f"UPDATE collab.{table} SET collection = $3 WHERE collection = $1 AND {_MINE}",  # noqa: S608
            old,
            project,
            new,
        )
        changed.append(int(status.rpartition(" ")[2]))
    letters = await connection.fetch(
        f"SELECT number, event FROM collab.dead_letters WHERE collection = $1 AND {_MINE}",  # noqa: S608
        old,
        project,
    )
    await connection.executemany(
        "UPDATE collab.dead_letters SET event = $2, collection = $3 WHERE number = $1",
        [(number, renamed_event(event, new), new) for number, event in letters],
    )
    if project is None:
        await connection.execute(
            "UPDATE collab.schemas AS o SET collection = $2 WHERE o.collection = $1 AND NOT EXISTS"
            " (SELECT 1 FROM collab.schemas AS s WHERE s.project = o.project AND s.collection = $2)",
            old,
            new,
        )
    await connection.execute(f"DELETE FROM collab.rooms WHERE collection = $1 AND {_MINE}", old, project)  # noqa: S608
    renamed = f"SELECT eid FROM collab.entities WHERE collection = $1 AND {_MINE}"  # noqa: S608
    # perhaps it is never searched again
    await connection.execute(f"DELETE FROM collab.search_texts WHERE eid IN ({renamed})", new, project)  # noqa: S608
    await connection.execute(f"DELETE FROM collab.search_unread WHERE eid IN ({renamed})", new, project)  # noqa: S608
    for name in (old, new):
        await index_anew(connection, name)
    await connection.execute("UPDATE collab.record SET epoch = $1", token_hex(8))
    entities, documents, quarantined = changed
    return Renamed(entities, documents, quarantined, len(letters))
