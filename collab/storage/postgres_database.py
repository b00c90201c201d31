"""One PostgreSQL database and its connections: one pool for each of writing, loading and querying.

Nothing is kept in a session, so a pooler in transaction mode may stand in between. Who opens the database last is the
only one who may write: :meth:`PostgresDatabase.open` names the process in the database, and every write asks for it.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from secrets import token_hex
from typing import Any, Literal, NoReturn

import anyio
import asyncpg
import msgspec

from collab.errors import CollabError, DocumentDamaged
from collab.storage.base import StorageError
from collab.storage.postgres_schema import LOCK, check, prepare

log = logging.getLogger(__name__)

_TAKEN_OVER = "LC001"
_REFUSED = ("LC002", "LC003", "LC004")  # the request contradicts the record
_CONNECT_SECONDS = 5.0
_WRITE_SECONDS = 30.0  # per statement: after that its answer counts as lost, and it is repeated
_IDLE_SECONDS = 300.0
_READER = "reader"  # no writer has this name, so the database refuses its writes


Opens = Literal["take over", "if free", "to read"]
"""How a record is opened: as its only writer, in place of another one or not; or to read beside one."""


class _Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """Nothing is ever set in a session, so a connection that is given back needs no statement that resets it."""

    def get_reset_query(self) -> str:
        return ""


class PostgresDatabase:
    """``url`` is what asyncpg takes: ``postgresql://user:password@host:port/name?sslmode=verify-full``.

    ``loads`` and ``queries`` bound how many connections read documents, and how many query.
    """

    def __init__(self, url: str, *, loads: int, queries: int, opens: Opens = "take over") -> None:
        self._url = url
        self._opens = opens
        self._sizes = {"write": 2, "load": loads, "query": queries}
        self._pools: dict[str, asyncpg.Pool] = {}
        self._me = ""

    async def open(self) -> None:
        """Create or migrate the schema, and become the only process that may write; or only check it, to read.

        Raises :class:`collab.storage.base.StorageCorrupt` if the schema must not be touched, and :class:`StorageError`
        if the server cannot be reached or refuses, or another process writes and is not to be replaced.
        """
        try:
            with translated():
                for name, size in self._sizes.items():
                    self._pools[name] = await asyncpg.create_pool(
                        self._url,
                        min_size=0,
                        max_size=size,
                        connection_class=_Connection,
                        timeout=_CONNECT_SECONDS,
                        command_timeout=_WRITE_SECONDS if name == "write" else None,
                        max_inactive_connection_lifetime=_IDLE_SECONDS,
                    )
                async with self._pools["write"].acquire(timeout=_CONNECT_SECONDS) as connection:
                    if self._opens == "to read":
                        await check(connection)
                        self._me = _READER
                    else:
                        await prepare(connection)
                        await self._become_writer(connection)
        except BaseException:
            await self.close()
            raise

    async def _become_writer(self, connection: asyncpg.Connection) -> None:
        async with connection.transaction(isolation="read_committed"):
            await connection.execute("SELECT pg_advisory_xact_lock($1, 1)", LOCK)
            if self._opens == "if free" and await connection.fetchval("SELECT writer FROM collab.record"):
                raise StorageError(
                    "a server uses this database: stop it first. If it was killed, start and stop it, or take over"
                )
            me = token_hex(8)
            await connection.execute("UPDATE collab.record SET writer = $1", me)
        self._me = me

    async def close(self) -> None:
        """Close all connections once their work is done. Then others see that nobody writes."""
        if self._me not in ("", _READER) and "write" in self._pools:
            try:
                async with self._pools["write"].acquire(timeout=_CONNECT_SECONDS) as connection:
                    await connection.execute("UPDATE collab.record SET writer = '' WHERE writer = $1", self._me)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("the database does not know that this process has ended: %s", error or type(error).__name__)
        self._me = ""
        pools = list(self._pools.values())
        self._pools.clear()
        for pool in pools:
            with anyio.move_on_after(_WRITE_SECONDS) as scope:
                await pool.close()
            if scope.cancelled_caught:
                pool.terminate()

    async def call(self, function: str, *values: Any) -> asyncpg.Record:
        """Call a writing function: one statement, durable on return."""
        places = ", ".join(f"${number}" for number in range(1, len(values) + 2))
        with translated():
            async with self._pool("write").acquire() as connection:
                row = await connection.fetchrow(f"SELECT * FROM collab.{function}({places})", self._me, *values)  # noqa: S608
        assert row is not None
        return row

    @asynccontextmanager
    async def change(self) -> AsyncIterator[asyncpg.Connection]:
        """A writing transaction of a few short statements; durable when the block ends."""
        with translated():
            async with self._pool("write").acquire() as connection, connection.transaction(isolation="read_committed"):
                await connection.execute("SELECT collab.write_1($1)", self._me)
                yield connection

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection for statements outside of transactions, however long they take."""
        with translated():
            async with self._pool("query").acquire() as connection:
                yield connection

    @asynccontextmanager
    async def load(self) -> AsyncIterator[asyncpg.Connection]:
        """Run a quick read, for example while somebody waits for a room. The block sees one consistent state."""
        async with self._moment("load") as connection:
            yield connection

    @asynccontextmanager
    async def query(self) -> AsyncIterator[asyncpg.Connection]:
        """Run a read that may take a while. The block sees one consistent state; cancelling the caller ends it."""
        async with self._moment("query") as connection:
            yield connection

    @asynccontextmanager
    async def _moment(self, pool: str) -> AsyncIterator[asyncpg.Connection]:
        with translated():
            async with (
                self._pool(pool).acquire() as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                yield connection

    def _pool(self, name: str) -> asyncpg.Pool:
        pool = self._pools.get(name)
        if pool is None:
            raise StorageError("the storage is not open")
        return pool


@contextmanager
def translated() -> Iterator[None]:
    """Translate exceptions of asyncpg inside the block."""
    try:
        yield
    except CollabError:
        raise
    except asyncpg.PostgresError as error:
        _raise(error)
    except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        # the last one is asyncpg's error if a connection breaks while it looks up types
        raise StorageError(f"the database cannot be reached: {error or type(error).__name__}") from error
    except (msgspec.DecodeError, zlib.error) as error:
        raise DocumentDamaged("what is stored is damaged and was not touched") from error


def _raise(error: asyncpg.PostgresError) -> NoReturn:
    if error.sqlstate in _REFUSED:
        raise ValueError(str(error)) from error
    if error.sqlstate == _TAKEN_OVER:
        raise StorageError(f"{error}: this one writes no more") from error
    raise StorageError(f"the database refused: {error}") from error
