"""Keeps a worker alive, and survives what the worker does not.

The supervisor binds the port, starts the worker, and watches it. When the worker dies or hangs, the black box
tells what it was doing; the next worker gets to know, and meanwhile connections wait in the port's backlog.
The supervisor itself touches no byte from outside.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from time import monotonic, time
from types import FrameType

from collab.rooms.blackbox import SharedBlackBox
from collab.server.orders import Orders
from collab.server.restarts import Death, Restarts
from collab.server.settings import Settings
from collab.server.vigil import Vigil
from collab.storage.base import SetAside

log = logging.getLogger(__name__)

WORKER = (sys.executable, "-m", "collab.server.worker")

# Memory that a surge of clients took can be given back (collab.rooms.memory), and freed blocks do not scatter.
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

    ``serving`` is called with the bound addresses once the first worker serves. ``command`` starts a worker,
    which is :func:`collab.server.worker.main`. Returns the exit status: 0 after a stop in good order, the
    worker's own if the first one could not start, 1 if the worker had to be killed in the end. Raises
    :class:`OSError` if the address cannot be bound.
    """
    sockets = bind(settings.host, settings.port)
    supervisor = _Supervisor(settings, command, sockets, serving)
    wake, waker = socket.socketpair()
    wake.setblocking(False)
    waker.setblocking(False)
    # SIGCHLD needs a handler, or it would not write to the wakeup descriptor
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
    """Listening sockets for every address of ``host``; port 0 takes a free one, the same for all."""
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
        self._settings = settings
        self._command = command
        self._sockets = sockets
        self._serving = serving
        self._blackbox = SharedBlackBox.create(settings.max_message_bytes)
        self._restarts = Restarts()
        self._set_aside: list[SetAside] = []  # until a worker has stored it
        self._stops = 0  # how often we were told to stop

    def signalled(self, number: int, frame: FrameType | None) -> None:
        """Remember that we are to stop."""
        if number in _SIGNALS:
            self._stops += 1

    def run(self, wake: socket.socket) -> int:
        """One worker after the other, until told to stop."""
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
                # before it served there was nothing it could have lost
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
        )

    def _take_stock(self, death: Death) -> None:
        if death.note is None:
            log.error("the worker died (%s) and is replaced", death.cause)
            self._restarts.died(death, monotonic(), time())
            return
        entry = self._restarts.died(death, monotonic(), time())
        log.error(
            "the worker died (%s) while it applied %s bytes to %s (log row %d)%s",
            death.cause,
            "too many" if death.note.update is None else len(death.note.update),
            death.note.key,
            death.note.seq,
            ", which are set aside" if entry else "",
        )
        if entry is not None:
            self._set_aside.append(entry)

    def _watch(self, worker: _Worker, wake: socket.socket) -> tuple[int, bool]:
        """Stay until the worker has ended. Returns its exit code, and whether it was killed for hanging."""
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
                log.error("the worker %s and is killed", "hangs" if standing else "does not answer any more")
                hung = True
                worker.kill()
            _sleep(wake, _POLL)
        return code, hung


class _Worker:
    """A worker process as the supervisor sees it."""

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
                env={**_ALLOCATOR, **os.environ},
                pass_fds=(blackbox, ready, *(sock.fileno() for sock in sockets)),
            )
        finally:
            os.close(ready)
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(orders(ready).to_json())
            self._process.stdin.close()
        except BrokenPipeError:
            pass  # it died already, which the watch finds out

    def newly_serves(self) -> bool:
        """Whether it has begun to serve since this was last asked."""
        if self.serves:
            return False
        try:
            self.serves = bool(os.read(self._ready, 1))
        except BlockingIOError:
            return False
        return self.serves

    def poll(self) -> int | None:
        """The exit code once it has ended."""
        code = self._process.poll()
        if code is not None and self._ready >= 0:
            self.newly_serves()
            os.close(self._ready)
            self._ready = -1
        return code

    def cpu_seconds(self) -> float | None:
        """Processor time it has used, where the system tells."""
        try:
            with open(f"/proc/{self._process.pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def terminate(self) -> None:
        """Ask it to stop in good order."""
        self._process.terminate()

    def kill(self) -> None:
        """End it."""
        self._process.kill()


def _sleep(wake: socket.socket, seconds: float) -> None:
    """Sleep until a signal comes, but not longer than ``seconds``."""
    if select.select([wake], [], [], seconds)[0]:
        wake.recv(4096)
