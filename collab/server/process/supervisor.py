"""Keeps a worker alive, and survives crashes of the worker.

The supervisor binds the port, starts the worker, and watches it. When the worker dies or hangs, the black box tells
what it was doing; the next worker is informed. Meanwhile connections wait in the port's backlog. The supervisor itself
processes no bytes from clients.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from time import monotonic, time
from types import FrameType

import msgspec

from collab.rooms.blackbox import SharedBlackBox
from collab.server.config.load import PREFIX
from collab.server.config.settings import Settings
from collab.server.process.hang_detector import Vigil
from collab.server.process.orders import Orders
from collab.server.process.restarts import Death, Restarts
from collab.storage.base import SetAside
from collab.storage.nodes import new_node_name

log = logging.getLogger(__name__)

WORKER = (sys.executable, "-m", "collab.server.process.worker")

# Allows memory to be returned after a surge of clients (collab.rooms.allocator), and reduces fragmentation.
_ALLOCATOR = {"PYTHONMALLOC": "malloc", "MALLOC_ARENA_MAX": "1"}
_BACKLOG = 4096
_POLL = 0.1
_STOP_SECONDS = 9.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)

Address = tuple[str, int]


def run(
    settings: Settings,
    *,
    command: Sequence[str] = WORKER,
    serving: Callable[[Sequence[Address]], object] | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; call this from the main thread.

    ``serving`` is called with the bound addresses once the first worker serves. ``command`` starts a worker, by default
    :func:`collab.server.process.worker.main`. Returns the exit status: 0 after a clean stop, the worker's own if the
    first one could not start, 1 if the worker had to be killed. Raises :class:`OSError` if the address cannot be bound.
    """
    sockets = bind(settings.host, settings.port)
    supervisor = _Supervisor(settings, command, sockets, serving)
    wake, waker = socket.socketpair()
    wake.setblocking(False)
    waker.setblocking(False)
    # without a handler SIGCHLD would not write to the wakeup descriptor
    handlers = {name: signal.signal(name, supervisor.signalled) for name in (*_SIGNALS, signal.SIGCHLD)}
    descriptor = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    try:
        return supervisor.run(wake)
    finally:
        signal.set_wakeup_fd(descriptor)
        for name, handler in handlers.items():
            signal.signal(name, handler)
        for sock in (wake, waker, *sockets):
            sock.close()


def bind(host: str, port: int) -> list[socket.socket]:
    """Open listening sockets for every address of ``host``; port 0 chooses a free one, the same for all."""
    sockets: list[socket.socket] = []
    try:
        for family, kind, proto, _, address in dict.fromkeys(
            socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        ):
            sock = socket.socket(family, kind, proto)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address[0], port, *address[2:]))
            port = sock.getsockname()[1]
            sock.listen(_BACKLOG)
            sock.setblocking(False)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


class _Supervisor:
    def __init__(
        self,
        settings: Settings,
        command: Sequence[str],
        sockets: Sequence[socket.socket],
        serving: Callable[[Sequence[Address]], object] | None,
    ) -> None:
        self._settings = msgspec.structs.replace(settings, port=sockets[0].getsockname()[1])
        self._node_name = new_node_name()
        self._command = command
        self._sockets = sockets
        self._serving = serving
        self._blackbox = SharedBlackBox.create(settings.max_message_bytes)
        self._restarts = Restarts()
        self._set_aside: list[SetAside] = []  # until a worker has stored them
        self._stops = 0  # stop signals received

    def signalled(self, number: int, frame: FrameType | None) -> None:
        """Count stop signals."""
        if number in _SIGNALS:
            self._stops += 1

    def run(self, wake: socket.socket) -> int:
        """Run one worker after the other, until stopped."""
        served = False
        while True:
            worker = _Worker(self._command, self._orders, self._sockets, self._blackbox.fd)
            code, hung = self._watch(worker, wake)
            death = Death(code, self._blackbox.read(), hung)
            self._blackbox.clear()
            served = served or worker.serves
            if worker.serves:
                self._set_aside = []  # stored before it served
            if self._stops:
                # a worker that never served has lost nothing
                return 0 if code == 0 or (not worker.serves and code != -signal.SIGKILL) else 1
            if not served and death.note is None:
                log.error("the worker could not start (%s)", death.cause)
                return code if code > 0 else 1
            self._take_stock(death)
            until = monotonic() + self._restarts.delay(monotonic())
            while not self._stops and (left := until - monotonic()) > 0:
                _sleep(wake, left)
            if self._stops:
                return 0

    def _orders(self, ready: int) -> Orders:
        return Orders(
            supervisor=os.getpid(),
            settings=self._settings.to_json(),
            sockets=[sock.fileno() for sock in self._sockets],
            blackbox=self._blackbox.fd,
            ready=ready,
            set_aside=self._set_aside,
            closed=list(self._restarts.closed(monotonic()).items()),
            banned=list(self._restarts.banned(monotonic()).items()),
            node_name=self._node_name,
        )

    def _take_stock(self, death: Death) -> None:
        if death.note is None:
            log.error("the worker died (%s) and will be replaced", death.cause)
            self._restarts.died(death, monotonic(), time())
            return
        entry = self._restarts.died(death, monotonic(), time())
        log.error(
            "the worker died (%s) while it applied %s bytes to %s (log row %d)%s%s",
            death.cause,
            "too many" if death.note.update is None else len(death.note.update),
            death.note.key,
            death.note.seq,
            f" of {death.note.who}" if death.note.who else "",
            ", which are quarantined" if entry else "",
        )
        if entry is not None:
            self._set_aside.append(entry)

    def _watch(self, worker: _Worker, wake: socket.socket) -> tuple[int, bool]:
        """Wait until the worker ends. Returns its exit code, and whether it was killed for hanging."""
        told, kill_at, hung = 0, float("inf"), False
        vigil = Vigil()
        while (code := worker.poll()) is None:
            if worker.newly_serves() and self._serving is not None:
                self._serving([sock.getsockname()[:2] for sock in self._sockets])
                self._serving = None
            if self._stops > told:
                if told:
                    worker.kill()
                else:
                    for sock in self._sockets:
                        sock.close()
                    worker.terminate()
                    kill_at = monotonic() + _STOP_SECONDS
                told = self._stops
            now = monotonic()
            if now > kill_at:
                log.error("the worker did not stop within %g seconds", _STOP_SECONDS)
                worker.kill()
            standing = self._blackbox.standing()
            if vigil.hangs(standing, now, worker.cpu_seconds) or (worker.serves and vigil.silent(self._blackbox.pulse)):
                log.error("the worker %s and is killed", "hangs" if standing else "no longer responds")
                hung = True
                worker.kill()
            _sleep(wake, _POLL)
        return code, hung


def _without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Our environment without the settings: the worker receives these, and the secrets in them, through its orders."""
    return {name: value for name, value in environ.items() if not name.startswith(PREFIX)}


class _Worker:
    """A worker process, seen from the supervisor."""

    def __init__(
        self,
        command: Sequence[str],
        orders: Callable[[int], Orders],
        sockets: Sequence[socket.socket],
        blackbox: int,
    ) -> None:
        self.serves = False
        self._ready, ready = os.pipe()
        os.set_blocking(self._ready, False)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                command,
                stdin=subprocess.PIPE,
                env={**_ALLOCATOR, **_without_settings(os.environ)},
                pass_fds=(blackbox, ready, *(sock.fileno() for sock in sockets)),
            )
        finally:
            os.close(ready)
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(orders(ready).to_json())
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it died already; poll() will find out

    def newly_serves(self) -> bool:
        """Whether it began to serve since the last call."""
        if self.serves:
            return False
        try:
            self.serves = bool(os.read(self._ready, 1))
        except BlockingIOError:
            return False
        return self.serves

    def poll(self) -> int | None:
        """Return the exit code once it has ended."""
        code = self._process.poll()
        if code is not None and self._ready >= 0:
            self.newly_serves()
            os.close(self._ready)
            self._ready = -1
        return code

    def cpu_seconds(self) -> float | None:
        """CPU time it has used, if the system provides that."""
        try:
            with open(f"/proc/{self._process.pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def terminate(self) -> None:
        """Ask it to stop cleanly."""
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()


def _sleep(wake: socket.socket, seconds: float) -> None:
    """Sleep until a signal arrives, at most ``seconds``."""
    if select.select([wake], [], [], seconds)[0]:
        wake.recv(4096)
