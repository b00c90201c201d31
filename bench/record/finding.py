"""findMany and count on 100,000 entities, without and with indexes, compared with plain SQLite and PostgreSQL.

SQL inserts the record, instead of 100,000 writes. The same queries are then timed on plain connections to SQLite and
PostgreSQL, and so are hand-written queries on a table with columns in SQLite.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import asyncpg
import msgspec

from bench.measure import Stopwatch, percentile
from bench.record.clients.collab import Collab
from bench.record.peers.postgres import start as start_postgres
from bench.record.servers import CLIENTS, OURS, SERVERS
from bench.result import Options, Result
from bench.servers import Running, start
from collab.dates import iso
from collab.query.parse import parse_query
from collab.storage.codec import keys_of, to_json
from collab.storage.postgres.query import count_statement, create_indexes, find_statement
from collab.storage.postgres.schema import prepare as prepare_postgres
from collab.storage.postgres.values import keys_and_texts
from collab.storage.sqlite.query import count_rows, find_rows
from collab.storage.sqlite.schema import prepare

ENTITIES = 100_000
PATHS = ("customer", "status", "total")
COLLECTIONS: dict[str, list[list[str]]] = {
    "plain": [],
    "indexed": [[path] for path in PATHS],
    "paired": [[path] for path in PATHS] + [["status", "total"]],
}
"""Collections of the same entities, and their indexes."""
MOST = 400
STATUSES = ("open", "pending", "done", "cancelled")
NOW = 1_700_000_000.0
QUERIES: dict[str, tuple[str, Callable[[int], dict[str, Any]], str]] = {
    # name: (operation, query, SQL by hand)
    "few": (
        "findMany",
        lambda n: {"where": {"customer": f"customer-{n % 200}"}},
        "SELECT data FROM {} WHERE customer = 'customer-{}'",
    ),
    "page": (
        "findMany",
        lambda n: {"where": {"status": STATUSES[n % 4]}, "orderBy": {"total": "desc"}, "limit": 50},
        "SELECT data FROM {} WHERE status = '{}' ORDER BY total DESC LIMIT 50",
    ),
    "counted": (
        "count",
        lambda n: {"where": {"status": STATUSES[n % 4]}},
        "SELECT count(*) FROM {} WHERE status = '{}'",
    ),
}


def entities(count: int) -> list[dict[str, Any]]:
    """Make entities of about 250 bytes of JSON each; ten per customer, a quarter in each status."""
    rng = random.Random(3)
    return [
        {
            "id": f"order{n}",
            "title": f"Order number {n} of somebody who wants it soon",
            "customer": f"customer-{rng.randrange(max(1, count // 10))}",
            "status": rng.choice(STATUSES),
            "total": round(rng.uniform(1, 10_000), 2),
            "address": {"street": f"Long Street {n % 300}", "city": rng.choice(["Oslo", "Bergen", "Tromsø"])},
            "createdAt": iso(NOW + n),
            "updatedAt": iso(NOW + n),
        }
        for n in range(count)
    ]


def fill(file: Path, rows: list[dict[str, Any]]) -> None:
    """Insert these rows into each collection, without indexes."""
    file.parent.mkdir(parents=True)
    base = sqlite3.connect(file, isolation_level=None)
    prepare(base)
    base.execute("BEGIN")
    for collection in COLLECTIONS:
        base.executemany(
            "INSERT INTO entities (project, collection, id, version, deleted, data, keys, heads, content_seq,"
            " created_at, updated_at) VALUES ('default', ?, ?, 1, 0, ?, ?, x'', 0, ?, ?)",
            ((collection, row["id"], to_json(row), keys_of(row), NOW, NOW) for row in rows),
        )
    base.execute("COMMIT")
    base.close()


def by_hand(file: Path, rows: list[dict[str, Any]]) -> sqlite3.Connection:
    """Make a table with columns for each collection, with its indexes."""
    base = sqlite3.connect(file, isolation_level=None)
    base.execute("BEGIN")
    for name, indexes in COLLECTIONS.items():
        base.execute(f"CREATE TABLE {name} (id TEXT PRIMARY KEY, customer TEXT, status TEXT, total REAL, data TEXT)")
        base.executemany(
            f"INSERT INTO {name} VALUES (?, ?, ?, ?, ?)",
            ((row["id"], row["customer"], row["status"], row["total"], to_json(row)) for row in rows),
        )
        for columns in indexes:
            base.execute(f"CREATE INDEX {name}_by_{'_'.join(columns)} ON {name} ({', '.join(columns)})")
    base.execute("COMMIT")
    base.execute("ANALYZE")
    return base


def timed(action: Callable[[int], object], most: int, seconds: float) -> dict[str, float]:
    """Measure percentiles and CPU of a repeated action in this process."""
    took: list[float] = []
    began, cpu = perf_counter(), process_time()
    while len(took) < most and (now := perf_counter()) - began < seconds:
        action(len(took))
        took.append((perf_counter() - now) * 1000)
    cpu = process_time() - cpu
    took.sort()
    return _numbers(took, cpu)


def _numbers(took: list[float], cpu: float) -> dict[str, float]:
    return {
        "queries": len(took),
        "p50_ms": round(percentile(took, 50), 3),
        "p99_ms": round(percentile(took, 99), 3),
        "cpu_ms": round(1000 * cpu / len(took), 3),
    }


def our_sql(base: sqlite3.Connection, operation: str, collection: str, raw: dict[str, Any]) -> str:
    """Return the SQL statement that our storage runs."""
    said: list[str] = []
    base.set_trace_callback(said.append)
    query = parse_query(raw)
    if operation == "count":
        count_rows(base, "default", collection, query)
    else:
        find_rows(base, "default", collection, query if query.limit else replace(query, limit=10_000))
    base.set_trace_callback(None)
    return next(sql for sql in said if sql.startswith("SELECT"))


async def asked(
    server: Running, client: Collab, operation: str, collection: str, query: Callable[[int], dict[str, Any]],
    most: int, seconds: float, core: int | None,
) -> dict[str, float]:  # fmt: skip
    """Measure requests over the socket, one after the other; also returns the number of rows."""
    took: list[float] = []
    rows = 0
    watch = Stopwatch(server.tree, core)
    began = perf_counter()
    while len(took) < most and (now := perf_counter()) - began < seconds:
        found = await client.ask(operation, collection=collection, query=query(len(took)))
        rows = found if operation == "count" else len(found["rows"])
        took.append((perf_counter() - now) * 1000)
    cpu = watch.stop().server
    took.sort()
    return {**_numbers(took, cpu), "rows": rows}


async def finding(options: Options) -> list[Result]:
    """Run all queries over JSON and MessagePack, on SQLite, and on PostgreSQL."""
    rows = entities(2_000 if options.quick else ENTITIES)
    declared = msgspec.json.encode({name: {"indexes": indexes} for name, indexes in COLLECTIONS.items()}).decode()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        data = Path(folder)
        fill(data / "collab" / "collab.db", rows)
        kind = SERVERS["collab-json"]
        kind = replace(kind, environment=(*kind.environment, ("COLLAB_COLLECTIONS", declared)))
        server = await start(kind, options.core, data)
        try:
            results = [result for form in OURS for result in await over_the_socket(server, form, options)]
        finally:
            await server.stop()
        if options.core is not None:
            os.sched_setaffinity(0, {options.core})
        return results + on_sqlite(data, rows, options) + await on_postgres(data, rows, options)


async def over_the_socket(server: Running, form: str, options: Options) -> list[Result]:
    """Measure queries as an application sees them."""
    client = CLIENTS[form]()
    assert isinstance(client, Collab)
    await client.connect(server.url(""))
    results = []
    for name, (operation, query, _) in QUERIES.items():
        result = Result(f"find {name}", form)
        results.append(result)
        for collection in COLLECTIONS:
            for most in (5, MOST):  # the first run warms up
                numbers = await asked(
                    server, client, operation, collection, query, most, options.seconds / 2, options.core
                )
            result.numbers |= {f"{collection}_{key}": value for key, value in numbers.items()}
    client.close()
    return results


def on_sqlite(data: Path, rows: list[dict[str, Any]], options: Options) -> list[Result]:
    """Measure the same SQL, and hand-written SQL, on plain connections in this process."""
    base = sqlite3.connect(data / "collab" / "collab.db", isolation_level=None)
    hand = by_hand(data / "hand.sqlite", rows)
    results = []
    for name, (operation, query, sql) in QUERIES.items():
        for label, connection in (("same SQL", base), ("SQL by hand", hand)):
            result = Result(f"find {name}", label)
            results.append(result)
            for collection in COLLECTIONS:
                if connection is base:
                    statements = [our_sql(base, operation, collection, query(n)) for n in range(4)]
                else:
                    statements = [sql.format(collection, n if name == "few" else STATUSES[n]) for n in range(4)]

                def run(n: int, c: sqlite3.Connection = connection, s: list[str] = statements) -> object:
                    return c.execute(s[n % 4]).fetchall()

                for most in (5, MOST):
                    numbers = timed(run, most, options.seconds / 2)
                result.numbers |= {f"{collection}_{key}": value for key, value in numbers.items()}
    base.close()
    hand.close()
    return results


async def on_postgres(data: Path, rows: list[dict[str, Any]], options: Options) -> list[Result]:
    """Measure the queries of our storage in PostgreSQL, on one connection."""
    process, uri = start_postgres(data)
    try:
        base = await asyncpg.connect(uri)
        await fill_postgres(base, rows)
        results = []
        for name, (operation, query, _) in QUERIES.items():
            result = Result(f"find {name}", "PostgreSQL")
            results.append(result)
            for collection in COLLECTIONS:
                for most in (5, MOST):
                    took = await timed_postgres(base, operation, collection, query, most, options.seconds / 2)
                result.numbers |= {f"{collection}_p{p}_ms": round(percentile(took, p), 3) for p in (50, 99)}
        await base.close()
        return results
    finally:
        process.send_signal(signal.SIGINT)  # ends its sessions, then itself
        process.wait()


async def fill_postgres(base: asyncpg.Connection, rows: list[dict[str, Any]]) -> None:
    """Insert these rows into each collection, with its indexes."""
    await prepare_postgres(base)
    columns = ["project", "collection", "id", "version", "deleted", "data", "keys", "texts", "heads", "content_seq"]
    for collection, indexes in COLLECTIONS.items():
        await base.copy_records_to_table(
            "entities",
            schema_name="collab",
            columns=[*columns, "created_at", "updated_at"],
            records=(
                ("default", collection, row["id"], 1, False, to_json(row), *keys_and_texts(row), b"", 0, NOW, NOW)
                for row in rows
            ),
        )
        await create_indexes(base, collection, [tuple((path,) for path in paths) for paths in indexes])
    await base.execute("VACUUM ANALYZE")


async def timed_postgres(
    base: asyncpg.Connection, operation: str, collection: str, query: Callable[[int], dict[str, Any]], most: int,
    seconds: float,
) -> list[float]:  # fmt: skip
    """Measure a repeated query, in milliseconds, sorted."""
    statement = count_statement if operation == "count" else find_statement
    took: list[float] = []
    began = perf_counter()
    while len(took) < most and (now := perf_counter()) - began < seconds:
        sql, values = statement("default", collection, parse_query(query(len(took))))
        await base.fetch(sql, *values)
        took.append((perf_counter() - now) * 1000)
    return sorted(took)
