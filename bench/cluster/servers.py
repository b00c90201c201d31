"""Clusters under test, and clients that reach all or some of their nodes."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from itertools import cycle
from pathlib import Path

import psutil

from bench import node
from bench.framing import Framing
from bench.measure import ProcessTree
from bench.servers import Command, Running, Server, about_postgres, answers, start

Node = Callable[[int], Command]
"""The command of a node, by its port."""

_TOGETHER = 12
"""Ports of one node: that of its clients, and one for each of its workers."""
_START_SECONDS = 90.0  # five nodes may begin on one core
UNLIMITED = (
    ("COLLAB_MESSAGES_PER_SECOND", "0"),
    ("COLLAB_BYTES_PER_SECOND", "0"),
    ("COLLAB_WRITES_PER_SECOND", "0"),
    ("COLLAB_MAX_EVENTS_PER_SECOND", "0"),
)


def collab(port: int, *, workers: int = 1) -> Command:
    """A node of ours."""
    command = [sys.executable, "-m", "collab", "serve", "--port", str(port)]
    return command if workers == 1 else [*command, "--workers", str(workers)]


def hocuspocus(port: int) -> Command:
    """A node of Hocuspocus."""
    return [str(node.node()), str(node.packages() / "hocuspocus-redis.mjs"), str(port)]


def about_collab() -> str:
    """Our line in the report."""
    return f"lumenize-collab {version('lumenize-collab')}, nodes with Valkey; {about_postgres()}"


def about_hocuspocus() -> str:
    """The line of Hocuspocus in the report."""
    names = ("@hocuspocus/server", "@hocuspocus/extension-redis")
    return ", ".join(f"{name} {node.version(name)}" for name in names) + ", documents in memory only"


class Cluster:
    """Nodes that run. ``ports`` are those of their clients."""

    def __init__(self, running: Running, ports: Sequence[int]) -> None:
        self.running = running
        self.ports = ports

    @property
    def tree(self) -> ProcessTree:
        """All processes, Valkey and PostgreSQL too."""
        return self.running.tree

    def at(self, *indexes: int) -> Running:
        """A server for loads whose clients connect to these nodes in turn."""
        return _Places(self.running, [self.ports[index] for index in indexes])

    def process(self, index: int) -> psutil.Process:
        """The process of a node: of ours, the supervisor, whose children are workers."""
        port = str(self.ports[index])
        return next(child for child in self.tree.root.children() if port in child.cmdline())

    async def ready(self, seconds: float = _START_SECONDS) -> None:
        """Wait until all nodes answer. Raises ``RuntimeError``."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        for port in self.ports:
            while not await answers(port):
                if not self.running.alive or loop.time() > deadline:
                    raise RuntimeError(f"the node at port {port} does not answer")
                await asyncio.sleep(0.05)


class _Places(Running):
    """The same servers; each next client connects to the next node."""

    def __init__(self, running: Running, ports: Sequence[int]) -> None:
        super().__init__(running.server, ports[0], running.process, running.data, running.log)
        self._next = cycle(ports)

    def url(self, room: str) -> str:
        """The address of a room at the next node."""
        return f"ws://127.0.0.1:{next(self._next)}{self.server.path(room)}"


@asynccontextmanager
async def nodes(
    name: str,
    count: int,
    core: int | None,
    *,
    of: Node = collab,
    postgres: bool = True,
    path: Callable[[str], str] = lambda room: f"/rooms/documents/{room}",
    framing: Callable[[str], Framing] = Framing,
    environment: tuple[tuple[str, str], ...] = (),
) -> AsyncIterator[Cluster]:
    """Run ``count`` nodes with an empty record; everything is removed afterwards. Raises ``RuntimeError``."""
    ports = _ports(count)
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        data = Path(folder)
        plan = json.dumps({"postgres": postgres, "nodes": [of(port) for port in ports]})
        command = [sys.executable, "-m", "bench.cluster.nodes", folder, plan]
        server = Server(
            name, lambda: name, lambda port, data: command, path, framing, environment=(*UNLIMITED, *environment)
        )
        running = await start(server, core, data, ports[0], seconds=_START_SECONDS)
        try:
            cluster = Cluster(running, ports)
            await cluster.ready()
            yield cluster
        finally:
            await running.stop(30.0)


def _ports(count: int) -> list[int]:
    """The first ports of free ranges, one for each node."""
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            first = int(listener.getsockname()[1])
        span = range(first, first + _TOGETHER)
        if span[-1] < 65536 and all(abs(first - other) >= _TOGETHER for other in found) and all(map(_is_free, span)):
            found.append(first)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
