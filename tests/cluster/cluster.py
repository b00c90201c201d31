"""Several real servers, their database and their Redis, with a link of its own between every two of them."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from random import Random
from time import monotonic
from typing import Any

import asyncpg
import httpx
import psutil

from tests.cluster.links import Link, Proxy, Route, sender_of
from tests.e2e.server import Server
from tests.postgres import PostgresProcess
from tests.valkey import ValkeyProcess

PATIENCE = 60.0
NAMES = "abcd"

# Of each commit to a document: the node that makes it, and the owner that the others see at that moment. A node holds
# an advisory lock with its number while it writes.
_WATCH = """
CREATE SCHEMA lab;
CREATE TABLE lab.commits (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, room text NOT NULL, nid int, owner int
);
CREATE FUNCTION lab.note() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    me int;
BEGIN
    SELECT l.objid INTO me FROM pg_locks AS l
        WHERE l.locktype = 'advisory' AND l.pid = pg_backend_pid() AND l.classid = 1279487853 AND l.objsubid = 2;
    INSERT INTO lab.commits (room, nid, owner)
        SELECT format('%s/%s/%s', d.project, d.collection, d.id), me, r.nid FROM collab.documents AS d
            LEFT JOIN collab.rooms AS r ON (r.project, r.collection, r.id) = (d.project, d.collection, d.id)
            WHERE d.rid = NEW.rid;
    RETURN NULL;
END $$;
CREATE TRIGGER lab_note AFTER INSERT ON collab.log FOR EACH ROW EXECUTE FUNCTION lab.note();
"""


class Node(Server):
    """One server of a cluster; ``link`` is the one between its clients and it."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(folder)
        self.name = name
        self.link = Link(f"clients to {name}")
        self.to_database = Link(f"{name} to PostgreSQL")
        self.to_redis = Link(f"{name} to Redis")
        self.to_nodes: dict[str, Link] = {}
        self.entrance = Proxy(self._entrances)
        self.port = free_port()
        self._told = 0

    async def _entrances(self, head: bytes) -> Sequence[Route]:
        return [(self.link, self.port)]

    @property
    def runs(self) -> bool:
        """Whether it was started, and not stopped since."""
        return self.process is not None

    @property
    def links(self) -> Sequence[Link]:
        """Its links with everybody."""
        return [self.link, self.to_database, self.to_redis, *self.to_nodes.values()]

    @property
    def url(self) -> str:
        """Its HTTP API as clients reach it."""
        return f"http://127.0.0.1:{self.entrance.port}"

    @property
    def workers(self) -> list[psutil.Process]:
        """The processes that serve: none for a moment while one is replaced."""
        if self.process is None:
            return []
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children()
        return []

    def new_log(self) -> str:
        """What it printed since the last call."""
        text = self.log()
        new, self._told = text[self._told :], len(text)
        return new

    def signal_worker(self, number: signal.Signals) -> None:
        """Send a signal to the process that serves, not to its supervisor."""
        for worker in self.workers:
            with suppress(ProcessLookupError):
                os.kill(worker.pid, number)


class Cluster:
    """Nodes that all run, on one database. ``balancer`` takes clients to any node that runs."""

    def __init__(self, postgres: PostgresProcess, valkey: ValkeyProcess, folder: Path, seed: int) -> None:
        self.postgres = postgres
        self.valkey = valkey
        self.nodes: list[Node] = []
        self._folder = folder
        self._random = Random(seed)
        self._balancer = Proxy(self._balance)
        self._proxies: list[Proxy] = []
        self._senders: dict[int, str] = {}
        self._asks = asyncio.Lock()
        self._reading: asyncpg.Connection | None = None

    @property
    def running(self) -> Sequence[Node]:
        """The nodes that were not stopped."""
        return [node for node in self.nodes if node.runs]

    @property
    def host(self) -> str:
        """The address of the balancer: host and port."""
        return f"127.0.0.1:{self._balancer.port}"

    def named(self, name: str) -> Node:
        """The node of this name."""
        return next(node for node in self.nodes if node.name == name)

    async def fetch(self, statement: str, *arguments: Any) -> Sequence[Any]:
        """Ask the database, past all links. Waits until it answers."""
        deadline = monotonic() + PATIENCE
        while True:
            try:
                async with self._asks:
                    if self._reading is None or self._reading.is_closed():
                        self._reading = await asyncpg.connect(self.postgres.url)
                    return list(await self._reading.fetch(statement, *arguments))
            except (OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError):
                if monotonic() > deadline:
                    raise
                await asyncio.sleep(0.05)

    async def owner(self, room: str) -> Node | None:
        """The node that owns a document of the default project, by name."""
        rows = await self.fetch(
            "SELECT n.url FROM collab.rooms AS r JOIN collab.nodes AS n USING (nid) "
            "WHERE r.collection || '/' || r.id = $1 AND NOT n.dead",
            room,
        )
        return self._at(rows[0]["url"]) if rows else None

    async def lives(self) -> Sequence[str]:
        """The names of the nodes that nobody has declared dead, one for each process."""
        rows = await self.fetch("SELECT url FROM collab.nodes WHERE NOT dead ORDER BY nid")
        return sorted(node.name for row in rows if (node := self._at(row["url"])) is not None)

    async def watch_commits(self) -> None:
        """Note from now on which node commits what."""
        connection = await asyncpg.connect(self.postgres.url)
        try:
            await connection.execute(_WATCH)
        finally:
            await connection.close()

    async def start(self, count: int, options: Sequence[str] = (), **settings: object) -> None:
        """Start this many nodes; the first one makes the tables."""
        await self._balancer.start()
        for name in NAMES[:count]:
            await self._add(name, settings)
            self.nodes[-1].options = options
        first, *others = self.nodes
        await start(first)
        await self.watch_commits()
        await asyncio.gather(*(start(node) for node in others))

    async def _add(self, name: str, settings: dict[str, object]) -> None:
        node = Node(name, self._folder / name)
        database, redis = (
            Proxy(_always(node.to_database, self.postgres.port)),
            Proxy(_always(node.to_redis, self.valkey.port)),
        )
        door = Proxy(lambda head: self._enter(node, head), reads=True)
        for proxy in (database, redis, door, node.entrance):
            await proxy.start()
        for other in self.nodes:
            node.to_nodes[other.name] = Link(f"{node.name} to {other.name}")
            other.to_nodes[name] = Link(f"{other.name} to {node.name}")
        self.nodes.append(node)
        node.settings = {
            "database": f"postgresql://postgres@127.0.0.1:{database.port}/postgres",
            "redis": f"redis://127.0.0.1:{redis.port}",
            "node_url": f"http://127.0.0.1:{door.port}",
            "room_idle_seconds": 0.5,
            **settings,
        }
        self._proxies += [database, redis, door, node.entrance]

    async def stop(self) -> None:
        """End everything, however it is."""
        self.heal()
        if self._reading is not None:
            self._reading.terminate()
        for node in self.nodes:
            node.signal_worker(signal.SIGCONT)
            if node.runs:
                await asyncio.to_thread(node.kill)
        for proxy in (self._balancer, *self._proxies):
            await proxy.stop()

    def heal(self) -> None:
        """Heal all links."""
        for node in self.nodes:
            for link in node.links:
                link.heal()

    def _at(self, url: str) -> Node | None:
        return next((node for node in self.nodes if node.settings["node_url"] == url), None)

    async def _balance(self, head: bytes) -> Sequence[Route]:
        nodes = [node for node in self.running if not node.link.is_cut]
        self._random.shuffle(nodes)
        return [(node.link, node.port) for node in nodes]

    async def _enter(self, node: Node, head: bytes) -> Sequence[Route]:
        sender = sender_of(head)
        if sender is None:
            return []
        if sender not in self._senders:
            (row,) = await self.fetch("SELECT url FROM collab.nodes WHERE nid = $1", sender)
            found = self._at(row["url"])
            assert found is not None
            self._senders[sender] = found.name
        return [(self.named(self._senders[sender]).to_nodes[node.name], node.port)]


@asynccontextmanager
async def cluster(
    folder: Path, count: int, *, seed: int = 1, options: Sequence[str] = (), **settings: object
) -> AsyncIterator[Cluster]:
    """A cluster of ``count`` nodes for the time of the block."""
    postgres, valkey = PostgresProcess(), ValkeyProcess()
    async with AsyncExitStack() as stack:
        stack.callback(postgres.remove)
        stack.callback(valkey.remove)
        await asyncio.gather(asyncio.to_thread(postgres.start), asyncio.to_thread(valkey.start))
        one = Cluster(postgres, valkey, folder, seed)
        stack.push_async_callback(one.stop)
        await one.start(count, options, **settings)
        yield one


async def start(node: Node) -> None:
    """Start a node; the process before it may still hold the port for a moment."""
    deadline = monotonic() + PATIENCE
    while True:
        try:
            await asyncio.to_thread(node.start)
            return
        except RuntimeError:
            if monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)


async def answers(node: Node) -> None:
    """Wait until a node is ready."""
    async with httpx.AsyncClient(timeout=5) as http:

        async def ready() -> bool:
            with suppress(httpx.TransportError):
                return (await http.get(f"{node.url}/readyz")).status_code == 200
            return False

        deadline = monotonic() + PATIENCE
        while not await ready():
            if monotonic() > deadline:
                raise TimeoutError(f"node {node.name} is not ready within {PATIENCE:.0f} s")
            await asyncio.sleep(0.05)


async def until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE, *, pause: float = 0.005) -> float:
    """Wait for a condition. Returns how many seconds that took."""
    began = monotonic()
    while not condition():
        if monotonic() > began + seconds:
            raise TimeoutError(f"{what} did not happen within {seconds:.0f} s")
        await asyncio.sleep(pause)
    return monotonic() - began


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _always(link: Link, port: int) -> Callable[[bytes], Any]:
    async def route(head: bytes) -> Sequence[Route]:
        return [(link, port)]

    return route
