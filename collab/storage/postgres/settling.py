"""Takes settled dead letters and quarantined entries out of a PostgreSQL record: see :mod:`collab.storage.settling`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import asyncpg

from collab.storage.postgres.database import translated
from collab.storage.postgres.documents import find_rid
from collab.storage.postgres.schema import check
from collab.storage.postgres.values import plain
from collab.storage.reading import NumberedAside, NumberedLetter

_CONNECT_SECONDS = 5.0


async def delete_letters(url: str, letters: Sequence[NumberedLetter]) -> None:
    async with _changing(url) as connection:
        await connection.execute(
            "DELETE FROM collab.dead_letters AS d USING unnest($1::bigint[], $2::text[], $3::text[])"
            " AS k(number, webhook, project)"
            " WHERE d.number = k.number AND d.webhook = k.webhook AND d.project = k.project",
            [number for number, _ in letters],
            [letter.webhook for _, letter in letters],
            [letter.project for _, letter in letters],
        )


async def delete_aside(url: str, aside: NumberedAside, why: str) -> None:
    async with _changing(url) as connection:
        key, seq = aside.entry.key, aside.entry.seq
        rid = await find_rid(connection, key)
        if seq is not None and rid is not None:
            later = await connection.fetchval(
                "SELECT EXISTS (SELECT 1 FROM collab.log WHERE rid = $1 AND seq > $2)"
                " OR EXISTS (SELECT 1 FROM collab.snapshots WHERE rid = $1 AND seq > $2)"
                " OR EXISTS (SELECT 1 FROM collab.set_aside"
                "  WHERE project = $3 AND collection = $4 AND id = $5 AND seq > $2)",
                rid,
                seq,
                *key,
            )
            if not later:
                await connection.execute(
                    "UPDATE collab.set_aside SET content = '', reason = $2 WHERE number = $1", aside.number, why
                )
                return
        await connection.execute(
            "DELETE FROM collab.set_aside WHERE number = $1 AND content = $2", aside.number, aside.entry.update
        )


async def change_reason(url: str, aside: NumberedAside, reason: str) -> bool:
    async with _changing(url) as connection:
        changed = await connection.fetchval(
            "UPDATE collab.set_aside SET reason = $1 WHERE number = $2 AND content = $3 AND reason = $4 RETURNING true",
            plain(reason),
            aside.number,
            aside.entry.update,
            aside.entry.reason,
        )
    return bool(changed)


@asynccontextmanager
async def _changing(url: str) -> AsyncIterator[asyncpg.Connection]:
    with translated():
        connection = await asyncpg.connect(url, timeout=_CONNECT_SECONDS)
        try:
            await check(connection)
            async with connection.transaction():
                await connection.execute("SELECT collab.durable_1()")
                yield connection
        finally:
            await connection.close(timeout=_CONNECT_SECONDS)
