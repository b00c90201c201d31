"""One PostgreSQL database and its connections: one pool for each of writing, loading, querying and beating.

Nothing is kept in a session, so a pooler in transaction mode may stand in between. :meth:`PostgresDatabase.open` makes
the process a node of the database, and every write asks whether that node is still alive.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib.metadata import version as version_of
from typing import Any, NoReturn
from urllib.parse import urlsplit

import asyncpg
import msgspec

from collab.errors import CollabError, DocumentDamaged
from collab.storage.base import StorageError
from collab.storage.nodes import Fenced, NodeAddress, NodeRow, Opens, Pulse, find_others
from collab.storage.postgres.nodes import read_nodes
from collab.storage.postgres.schema import STEPS, check, check_free, enter, prepare, read_version
from collab.storage.versions import check_found

log = logging.getLogger(__name__)

_FENCED = "LC001"
_REFUSED = ("LC002", "LC003", "LC004")  # the request contradicts the record
_SEARCH_DECLARED = "LC006"
_NOT_PREPARED = ("26000", "42P05")
_CONNECT_SECONDS = 5.0
_WAIT_SECONDS = 30.0  # for a connection that nobody uses
_ANSWER_SECONDS = {
    "write": 30.0,
    "load": 30.0,
    "query": 120.0,
    "beat": 5.0,
}  # per statement: after that its answer counts as lost
_CLOSE_SECONDS = 1.0  # for the server to end what runs
_IDLE_SECONDS = 300.0
_BROKEN = (
    *(OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncpg.InternalClientError),
)
# the last one is asyncpg's error if a connection breaks while it looks up types
_ANY_PORT = 9
_LOOKS = 4
_LOOK_SECONDS = 1.2  # longer than between two beats
_NOBODY = 0  # no node has this number, so the database refuses its writes


class _Connection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """Nothing is ever set in a session, so a connection that is given back needs no statement that resets it."""

    def get_reset_query(self) -> str:
        return ""


class SearchDeclared(StorageError):
    """Another node has declared what is searched: write again, with what it has declared."""


class PostgresDatabase:
    """``url`` is what asyncpg takes: ``postgresql://user:password@host:port/name?sslmode=verify-full``.

    ``loads`` and ``queries`` bound how many connections read documents, and how many query. With ``joining`` it opens
    as a node beside others.
    """

    def __init__(
        self,
        url: str,
        *,
        loads: int,
        queries: int,
        opens: Opens = "take over",
        joining: NodeAddress | None = None,
    ) -> None:
        self._url = url
        self._opens: Opens = opens if joining is None else "join"
        self._joining = joining
        self._sizes = {"write": 2, "load": loads, "query": queries, "beat": 1}
        self._pools: dict[str, asyncpg.Pool] = {}
        self.nid = _NOBODY

    async def open(self) -> None:
        """Create or migrate the schema, and become a node; or only check it, to read.

        Raises :class:`collab.storage.base.StorageCorrupt` if the schema must not be touched, and :class:`StorageError`
        if the server cannot be reached or refuses, or another node lives and is not to be replaced. Its schema stays as
        it is then.
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
                        command_timeout=_ANSWER_SECONDS[name],
                        max_inactive_connection_lifetime=_IDLE_SECONDS,
                    )
                async with self._lent("write") as connection:
                    if self._opens == "to read":
                        await check(connection)
                    else:
                        if self._opens == "if free":
                            await check_free(connection)
                        await prepare(connection)
                        silent = await self._outlast(connection)
                        self.nid = await self._enter(connection)
                        for node in silent:
                            await connection.fetchval(
                                "SELECT collab.declare_dead_1($1, $2, $3)", self.nid, node.nid, node.beats
                            )
                        for warning in await durability_warnings(connection):
                            log.warning("%s", warning)
        except BaseException:
            await self.close()
            raise

    async def _outlast(self, connection: asyncpg.Connection) -> Sequence[NodeRow]:
        """Wait until nodes that do not go together with this one have been silent for a while, and return them.

        Raises :class:`StorageError` if one of them lives.
        """
        pulse = Pulse(_LOOKS)
        first: Mapping[int, int] | None = None
        while others := find_others(await read_nodes(connection), self._opens):
            beats = {node.nid: node.beats for node in others}
            if first is None:
                first = beats
                log.info("waiting to see whether %d nodes that use this database still live", len(others))
            if any(first.get(nid) != count for nid, count in beats.items()):
                raise StorageError(
                    "a server without redis uses this database: stop it first"
                    if self._opens == "join"
                    else "nodes of a cluster use this database: stop them first, or give this server their redis"
                )
            if len(pulse.look(beats)) == len(others):
                break
            await asyncio.sleep(_LOOK_SECONDS)
        return others

    async def _enter(self, connection: asyncpg.Connection) -> int:
        name, url = f"{socket.gethostname()}/{os.getpid()}", ""
        if self._opens == "join":
            joining = self._joining if self._joining is not None else NodeAddress(name, None, 0)
            name, url = joining.name, joining.url_at(await _own_address(urlsplit(self._url).hostname))
        return await enter(connection, self._opens, name, version_of("lumenize-collab"), url)

    async def close(self) -> None:
        """Declare this node dead, and close all connections. Takes seconds at most."""
        if self.nid != _NOBODY:
            try:
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self.call("leave_1")
            except (StorageError, TimeoutError) as error:
                log.warning("the database does not know that this process has ended: %s", str(error) or "no answer")
        self.nid = _NOBODY
        pools = list(self._pools.values())
        self._pools.clear()
        await asyncio.gather(*(_end(pool) for pool in pools))

    async def call(self, function: str, *values: Any, pool: str = "write") -> asyncpg.Record:
        """Call a writing function: one statement, durable on return."""
        places = ", ".join(f"${number}" for number in range(1, len(values) + 2))
        async with self._lent(pool) as connection:
            row = await connection.fetchrow(f"SELECT * FROM collab.{function}({places})", self.nid, *values)  # noqa: S608
        assert row is not None
        return row

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection of its own, for statements outside of transactions, however long they take."""
        self._pool("query")
        with translated():
            connection = await asyncpg.connect(self._url, timeout=_CONNECT_SECONDS)
            try:
                yield connection
            finally:
                await asyncio.shield(_close(connection))

    @asynccontextmanager
    async def load(self) -> AsyncIterator[asyncpg.Connection]:
        """Run a quick read, for example while somebody waits for a room. The block sees one consistent state."""
        async with self._transaction("load", "REPEATABLE READ READ ONLY") as connection:
            yield connection

    @asynccontextmanager
    async def glance(self) -> AsyncIterator[asyncpg.Connection]:
        """Run one quick statement that reads, without a transaction around it."""
        async with self._lent("load") as connection:
            yield connection

    @asynccontextmanager
    async def query(self) -> AsyncIterator[asyncpg.Connection]:
        """Run a read that may take a while. The block sees one consistent state; cancelling the caller ends it."""
        async with self._transaction("query", "REPEATABLE READ READ ONLY") as connection:
            yield connection

    @asynccontextmanager
    async def _transaction(self, pool: str, mode: str) -> AsyncIterator[asyncpg.Connection]:
        async with self._lent(pool) as connection:
            await connection.execute(f"BEGIN ISOLATION LEVEL {mode}")
            try:
                yield connection
            except CollabError:
                await connection.execute("ROLLBACK")
                raise
            await connection.execute("COMMIT")

    @asynccontextmanager
    async def _lent(self, name: str) -> AsyncIterator[asyncpg.Connection]:
        """A connection of a pool. Whatever fails on it ends it, and the next one is new.

        It may be broken, or its server be one that only reads by now, or it may have begun under a limit that was
        lifted since. asyncpg would wait for the server instead, for example to roll back what a frozen one still runs.
        """
        pool = self._pool(name)
        with translated():
            connection = await pool.acquire(timeout=_WAIT_SECONDS)
            try:
                yield connection
            except CollabError:
                raise
            except BaseException as error:
                if not _is_refusal(error):
                    await asyncio.shield(_close(connection))
                raise
            finally:
                await pool.release(connection, timeout=_CLOSE_SECONDS)

    def _pool(self, name: str) -> asyncpg.Pool:
        pool = self._pools.get(name)
        if pool is None:
            raise StorageError("the storage is not open")
        return pool


async def read_postgres_version(url: str) -> tuple[int, int]:
    """The version of the schema in a database, and the newest one: see :func:`collab.storage.versions.check_found`."""
    with translated():
        connection = await asyncpg.connect(url, timeout=_CONNECT_SECONDS)
        try:
            version = await read_version(connection)
        finally:
            await connection.close()
    check_found(version, len(STEPS))
    return version, len(STEPS)


@contextmanager
def translated() -> Iterator[None]:
    """Translate exceptions of asyncpg inside the block."""
    try:
        yield
    except CollabError:
        raise
    except _BROKEN as error:
        raise StorageError(f"the database cannot be reached: {str(error) or 'no answer'}") from error
    except asyncpg.PostgresError as error:
        _raise(error)
    except (msgspec.DecodeError, zlib.error) as error:
        raise DocumentDamaged("what is stored is damaged and was not touched") from error


async def durability_warnings(connection: asyncpg.Connection) -> list[str]:
    """Return warnings about settings of the server with which a crash may take what was saved."""
    rows = await connection.fetch(
        "SELECT name FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off' ORDER BY name"
    )
    return [
        f"PostgreSQL runs with {row[0]} = off: when its machine crashes, what was saved may be lost" for row in rows
    ]


async def _own_address(host: str | None) -> str:
    """The IP address from which this process reaches ``host``; empty for a Unix socket.

    The database knows only the address of a pooler that stands in between.
    """
    if not host:
        return ""
    loop = asyncio.get_running_loop()
    (family, _, _, _, address), *_ = await loop.getaddrinfo(host, _ANY_PORT, type=socket.SOCK_DGRAM)
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect(address)  # sends nothing
        return str(probe.getsockname()[0])


async def _close(connection: asyncpg.Connection) -> None:
    """End a connection, and what runs on it."""
    with suppress(*_BROKEN, asyncpg.PostgresError):
        await connection.close(timeout=_CLOSE_SECONDS)


async def _end(pool: asyncpg.Pool) -> None:
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await pool.close()
    except (*_BROKEN, asyncpg.PostgresError):
        pool.terminate()


def _is_refusal(error: BaseException) -> bool:
    return isinstance(error, asyncpg.PostgresError) and error.sqlstate in (*_REFUSED, _SEARCH_DECLARED)


def _raise(error: asyncpg.PostgresError) -> NoReturn:
    if error.sqlstate in _REFUSED:
        raise ValueError(str(error)) from error
    if error.sqlstate == _FENCED:
        raise Fenced(f"{error}: this one writes no more") from error
    if error.sqlstate == _SEARCH_DECLARED:
        raise SearchDeclared(str(error)) from error
    if error.sqlstate in _NOT_PREPARED:
        raise StorageError(
            "a pooler loses prepared statements: PgBouncer needs version 1.21 or newer, and max_prepared_statements"
        ) from error
    raise StorageError(f"the database refused: {str(error).splitlines()[0]}") from error
