"""Where a record is: a folder with a SQLite database, or the URL of a PostgreSQL database."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from collab.storage.base import StorageError

if TYPE_CHECKING:
    from collab.storage.adopting import RecordAdopter
    from collab.storage.copying import RecordSource, RecordTarget
    from collab.storage.nodes import NodeAddress
    from collab.storage.postgres.storage import PostgresStorage
    from collab.storage.reading import RecordReader
    from collab.storage.sqlite.storage import SqliteStorage

_SCHEMES = ("postgresql", "postgres")
_SECRETS = ("password", "sslpassword")  # parameters that asyncpg takes from a URL


def is_postgres(location: str) -> bool:
    """Whether it is a URL of PostgreSQL. Raises :class:`ValueError` for any other URL."""
    scheme, separator, _ = location.partition("://")
    if not separator:
        return False
    if scheme not in _SCHEMES:
        raise ValueError("must be like postgresql://user@host:5432/name")
    urlsplit(location)  # raises ValueError, for example for half of an IPv6 address
    return True


def has_password(url: str) -> bool:
    """Whether a URL contains a password."""
    parts = urlsplit(url)
    return parts.password is not None or any(name in _SECRETS for name, _ in parse_qsl(parts.query))


def shown(location: str) -> str:
    """The location for people: an absolute path, or a URL without user, password and parameters."""
    if not is_postgres(location):
        return str(Path(location).absolute())
    parts = urlsplit(location)
    return f"postgresql://{parts.netloc.rpartition('@')[2]}{parts.path}"


def storage_at(
    location: str,
    *,
    history_seconds: float | None = None,
    loads: int = 4,
    queries: int = 4,
    takes_over: bool = True,
    joining: NodeAddress | None = None,
) -> SqliteStorage | PostgresStorage:
    """A storage, not open yet. Unless it ``takes_over``, it refuses to open what a server uses.

    With ``joining``, it is a node of a PostgreSQL database beside others.

    ``history_seconds``, ``loads`` and ``queries`` are those of the two classes. Raises :class:`StorageError` if the
    driver of PostgreSQL is not installed.
    """
    if is_postgres(location):
        check_driver()
        from collab.storage.postgres.storage import PostgresStorage  # most servers have no asyncpg

        return PostgresStorage(
            location,
            history_seconds=history_seconds,
            loads=loads,
            queries=queries,
            opens="take over" if takes_over else "if free",
            joining=joining,
        )
    from collab.storage.sqlite.storage import SqliteStorage

    return SqliteStorage(Path(location), history_seconds=history_seconds, lock_seconds=5.0 if takes_over else 1.0)


def source_at(location: str, *, takes_over: bool = False) -> AbstractAsyncContextManager[RecordSource]:
    """What a copy reads: see :func:`collab.storage.sqlite.copy.sqlite_source` and its twin for PostgreSQL."""
    if is_postgres(location):
        check_driver()
        from collab.storage.postgres.copy import postgres_source

        return postgres_source(location, takes_over=takes_over)
    from collab.storage.sqlite.copy import sqlite_source

    return sqlite_source(Path(location))


def target_at(
    location: str, *, takes_over: bool = False, empties: bool = False
) -> AbstractAsyncContextManager[RecordTarget]:
    """What a copy writes: see :func:`collab.storage.sqlite.copy.sqlite_target` and its twin for PostgreSQL.

    ``empties``: a PostgreSQL record that is there is replaced.
    """
    if is_postgres(location):
        check_driver()
        from collab.storage.postgres.copy import postgres_target

        return postgres_target(location, takes_over=takes_over, empties=empties)
    from collab.storage.sqlite.copy import sqlite_target

    return sqlite_target(Path(location))


def moment_at(location: str) -> AbstractAsyncContextManager[RecordSource]:
    """A PostgreSQL record as it is at one moment: see :func:`collab.storage.postgres.copy.postgres_moment`."""
    check_driver()
    from collab.storage.postgres.copy import postgres_moment

    return postgres_moment(location)


def reader_at(location: str) -> AbstractAsyncContextManager[RecordReader]:
    """A record to read beside its server: see :func:`collab.storage.sqlite.reading.sqlite_reader` and its twin."""
    if is_postgres(location):
        check_driver()
        from collab.storage.postgres.reading import postgres_reader

        return postgres_reader(location)
    from collab.storage.sqlite.reading import sqlite_reader

    return sqlite_reader(Path(location))


def adopter_at(location: str, *, takes_over: bool = False) -> AbstractAsyncContextManager[RecordAdopter]:
    """What an import writes: see :func:`collab.storage.sqlite.adopting.sqlite_adopter` and its twin for PostgreSQL."""
    if is_postgres(location):
        check_driver()
        from collab.storage.postgres.adopting import postgres_adopter

        return postgres_adopter(location, takes_over=takes_over)
    from collab.storage.sqlite.adopting import sqlite_adopter

    return sqlite_adopter(Path(location))


def is_same(location: str, other: str) -> bool:
    """Whether two locations are one. URLs of one database that are written differently are not recognised."""
    if is_postgres(location) or is_postgres(other):
        return location == other
    return Path(location).resolve() == Path(other).resolve()


async def read_schema_version(location: str) -> tuple[int, int]:
    """The version of a record's schema, and the newest one. A server may use the record meanwhile.

    Raises :class:`StorageError` if there is no record, and :class:`collab.storage.base.StorageCorrupt` if it is of
    another application or a newer version.
    """
    if is_postgres(location):
        check_driver()
        from collab.storage.postgres.database import read_postgres_version

        return await read_postgres_version(location)
    from collab.storage.sqlite.database import read_sqlite_version

    return read_sqlite_version(Path(location))


def check_driver() -> None:
    """Raise :class:`StorageError` if the driver of PostgreSQL is not installed."""
    if find_spec("asyncpg") is None:
        raise StorageError("PostgreSQL needs asyncpg: pip install 'lumenize-collab[postgres]'")


def check_cluster_extra() -> None:
    """Raise :class:`StorageError` if a package that only nodes of a cluster need is not installed."""
    if any(find_spec(name) is None for name in ("asyncpg", "picows", "redis", "websockets")):
        raise StorageError("a node of a cluster needs more packages: pip install 'lumenize-collab[cluster]'")
