"""The database of a chaotic server, read past the server. Both kinds have the same tables and columns."""

from __future__ import annotations

import argparse
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import asyncpg

from tests.e2e.server import Server
from tests.postgres import run_to_end, serving


class Reader(Protocol):
    """A server's database."""

    def rows(self, *statements: str) -> list[list[Sequence[Any]]]:
        """The rows of each statement, all from one consistent state."""

    def damage(self, seq: int) -> None:
        """Overwrite the bytes of a log row."""


class SqliteReader:
    """The file in a server's folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def rows(self, *statements: str) -> list[list[Sequence[Any]]]:
        """See :class:`Reader`."""
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True)) as database:
            database.execute("BEGIN")
            return [database.execute(statement).fetchall() for statement in statements]

    def damage(self, seq: int) -> None:
        """See :class:`Reader`."""
        with closing(sqlite3.connect(self._path)) as database, database:
            database.execute("UPDATE log SET content = x'000102' WHERE seq = ?", (seq,))


class PostgresReader:
    """The database at a URL."""

    def __init__(self, url: str) -> None:
        self._url = url

    def rows(self, *statements: str) -> list[list[Sequence[Any]]]:
        """See :class:`Reader`."""

        async def read() -> list[list[Sequence[Any]]]:
            connection = await asyncpg.connect(self._url, server_settings={"search_path": "collab"})
            try:
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    return [[tuple(row) for row in await connection.fetch(statement)] for statement in statements]
            finally:
                await connection.close()

        return run_to_end(read)

    def damage(self, seq: int) -> None:
        """See :class:`Reader`."""

        async def write() -> None:
            connection = await asyncpg.connect(self._url)
            try:
                await connection.execute("UPDATE collab.log SET content = '\\x000102' WHERE seq = $1", seq)
            finally:
                await connection.close()

        run_to_end(write)


def database_of(server: Server) -> Reader:
    """The database that a server has, or had."""
    url = server.settings.get("database")
    return SqliteReader(server.folder / "data" / "collab.db") if url is None else PostgresReader(str(url))


def count(server: Server, what: str) -> int:
    """The value of ``SELECT what``, a number."""
    ((row,),) = database_of(server).rows(f"SELECT {what}")
    return int(row[0])


def add_option(parser: argparse.ArgumentParser) -> None:
    """Let a command choose its database."""
    parser.add_argument("--database", choices=("sqlite", "postgres"), default="sqlite")


@contextmanager
def chosen(kind: str) -> Iterator[str | None]:
    """The URL of an empty database of this kind, for the time of the block; ``None``: the file of the server."""
    if kind == "sqlite":
        yield None
        return
    with serving() as postgres:
        yield postgres.database()
