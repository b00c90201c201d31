"""The servers of the application side, and their clients."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import jwt

from bench import node
from bench.record.clients.base import Client
from bench.record.clients.collab import Collab
from bench.record.clients.deepstream import Deepstream
from bench.record.clients.feathers import Feathers
from bench.record.clients.parse import Parse
from bench.record.clients.triplit import Triplit
from bench.servers import Server, about_postgres, with_postgres

OURS = ("collab-json", "collab-msgpack")
PEERS = Path(__file__).parent / "peers"
TRIPLIT_SECRET = "a secret of the benchmark, of 32 bytes at least"
UNLIMITED = tuple(
    (f"COLLAB_{name}", "0")
    for name in (
        "MESSAGES_PER_SECOND",
        "BYTES_PER_SECOND",
        "WRITES_PER_SECOND",
        "MAX_SUBSCRIPTIONS",
        "MAX_EVENTS_PER_SECOND",
    )
)


def install() -> None:
    """Install the npm packages of the other servers, if possible; otherwise their runs report it."""
    with suppress(node.Missing):
        node.packages(PEERS)


def _version(package: str) -> str:
    return node.version(package, PEERS)


def _collab(port: int, data: Path) -> list[str]:
    return [sys.executable, "-m", "collab", "serve", "--port", str(port), "--data", str(data / "collab")]


def _node(script: str) -> Callable[[int, Path], list[str]]:
    return lambda port, data: [str(node.node()), str(node.packages(PEERS) / script), str(port), str(data)]


def _triplit_path(room: str) -> str:
    claims = {"x-triplit-token-type": "secret", "x-triplit-project-id": "bench"}
    return f"/?token={jwt.encode(claims, TRIPLIT_SECRET, algorithm='HS256')}"


def _ours(name: str, form: str) -> Server:
    return Server(
        name,
        lambda: f"lumenize-collab {version('lumenize-collab')}, {form}, every write durable (SQLite, synchronous=FULL)",
        _collab,
        lambda room: "/realtime",
        environment=UNLIMITED,
    )


SERVERS = {
    server.name: server
    for server in (
        _ours("collab-json", "JSON"),
        _ours("collab-msgpack", "MessagePack"),
        Server(
            "collab-postgres",
            lambda: f"lumenize-collab {version('lumenize-collab')}, JSON; {about_postgres()}",
            with_postgres(_collab),
            lambda room: "/realtime",
            environment=UNLIMITED,
        ),
        Server(
            "parse",
            lambda: f"Parse Server {_version('parse-server')}, LiveQuery in the same process; {about_postgres()}",
            with_postgres(_node("parse.mjs")),
            lambda room: "/parse",
        ),
        Server(
            "triplit",
            lambda: (
                f"Triplit {_version('@triplit/server')} on LMDB {_version('lmdb')} without overlapping syncs, "
                "every write durable"
            ),
            _node("triplit.mjs"),
            _triplit_path,
        ),
        Server(
            "deepstream",
            lambda: (
                f"deepstream {_version('@deepstream/server')} over ws, "
                f"storage-postgres {_version('@deepstream/storage-postgres')}; {about_postgres()}, but an event goes "
                "out before; it has no queries: subscriptions are to records by name"
            ),
            with_postgres(_node("deepstream.mjs")),
            lambda room: "/deepstream-json",
        ),
        Server(
            "feathers",
            lambda: (
                f"Feathers {_version('@feathersjs/feathers')} over socket.io, Knex {_version('knex')}; "
                f"{about_postgres()}; it has no live queries: a channel for each key is joined by hand"
            ),
            with_postgres(_node("feathers.mjs")),
            lambda room: "/socket.io/?EIO=4&transport=websocket",
        ),
    )
}

CLIENTS: dict[str, Callable[[], Client]] = {
    "collab-json": lambda: Collab("json"),
    "collab-msgpack": lambda: Collab("msgpack"),
    "collab-postgres": lambda: Collab("json"),
    "parse": Parse,
    "triplit": Triplit,
    "deepstream": Deepstream,
    "feathers": Feathers,
}
