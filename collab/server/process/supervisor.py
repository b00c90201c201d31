"""Keeps workers alive, and survives their crashes.

The supervisor binds the port, starts a worker, or several that are nodes of a cluster, and watches them. When a worker
dies or hangs, its black box tells what it was doing; the worker that replaces it is informed. Meanwhile its connections
wait in the port's backlog. The supervisor itself processes no bytes from clients.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from time import monotonic, time
from types import FrameType
from typing import NamedTuple

from collab.rooms.blackbox import SharedBlackBox
from collab.server.config.load import PREFIX
from collab.server.config.settings import Settings
from collab.server.process import scribe
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
_SCRIBE_SECONDS = 2.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)

Address = tuple[str, int]


def run(
    settings: Settings,
    *,
    command: Sequence[str] = WORKER,
    app: str | None = None,
    serving: Callable[[Sequence[Address]], object] | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT; call this from the main thread.

    ``serving`` is called with the bound addresses once all workers serve. ``command`` starts a worker, by default
    :func:`collab.server.process.worker.main`; ``app`` (``module:attribute``) is the ``Collab`` that it serves. Returns
    the exit status: 0 after a clean stop, a worker's own if the first one could not start, 1 if a worker had to be
    killed. Raises :class:`OSError` if the address cannot be bound.
    """
    places = bind_workers(settings)
    supervisor = _Supervisor(settings, command, app, places, serving)
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
        for sock in (wake, waker, *(sock for place in places for sock in (*place.shared, *place.own))):
            sock.close()


class WorkerSockets(NamedTuple):
    """Where one worker listens: the port that it shares with others, and one of its own, if there are others.

    The kernel spreads connections to a shared port over its sockets. Other nodes must reach this very worker.
    """

    shared: Sequence[socket.socket]
    own: Sequence[socket.socket]

    @property
    def node_port(self) -> int:
        """The port by which other nodes reach the worker."""
        return int((self.own or self.shared)[0].getsockname()[1])


def bind_workers(settings: Settings) -> list[WorkerSockets]:
    """Open the sockets of all workers. The own port of the first is the one after ``port``, and so on."""
    if settings.workers == 1:
        return [WorkerSockets(bind(settings.host, settings.port), ())]
    places: list[WorkerSockets] = []
    port, own = settings.port, settings.node_port
    try:
        for _ in range(settings.workers):
            places.append(WorkerSockets(bind(settings.host, port, shared=True), bind(settings.host, own)))
            port = places[0].shared[0].getsockname()[1]
            own = own + 1 if own else 0
    except OSError:
        for place in places:
            for sock in (*place.shared, *place.own):
                sock.close()
        raise
    return places


def bind(host: str, port: int, *, shared: bool = False) -> list[socket.socket]:
    """Open listening sockets for every address of ``host``; port 0 chooses a free one, the same for all.

    ``shared``: other sockets of this user may listen on the same port.
    """
    sockets: list[socket.socket] = []
    try:
        for family, kind, proto, _, address in dict.fromkeys(
            socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        ):
            sock = socket.socket(family, kind, proto)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if shared:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
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
        app: str | None,
        places: Sequence[WorkerSockets],
        serving: Callable[[Sequence[Address]], object] | None,
    ) -> None:
        self.command = command
        self.app = app
        self.restarts = Restarts()
        self.stops = 0
        """How many signals to stop were received."""
        self._serving = serving
        self._addresses = [sock.getsockname()[:2] for sock in places[0].shared]
        self._slots = [_Slot(self, settings, place) for place in places]

    def signalled(self, number: int, frame: FrameType | None) -> None:
        """Count stop signals."""
        if number in _SIGNALS:
            self.stops += 1

    def run(self, wake: socket.socket) -> int:
        """Run all workers until stopped, or until the first of one could not start. Returns the exit status."""
        lives = {slot: slot.live() for slot in self._slots}
        status = 0
        while lives:
            pause = _POLL
            for slot, life in list(lives.items()):
                try:
                    pause = min(pause, next(life))
                except StopIteration as end:
                    del lives[slot]
                    status = status or end.value
                    self.stops = max(self.stops, 1)
            if self._serving is not None and all(slot.served for slot in self._slots):
                self._serving(self._addresses)
                self._serving = None
            if lives:
                _sleep(wake, pause)
        for slot in self._slots:
            slot.finish()
        return status


class _Slot:
    """One worker and those that replace it, one after the other."""

    def __init__(self, supervisor: _Supervisor, settings: Settings, place: WorkerSockets) -> None:
        self.served = False
        self._supervisor = supervisor
        self._settings = settings.at_node_port(place.node_port)
        self._sockets = [*place.shared, *place.own]
        self._node_name = new_node_name()
        self._blackbox = SharedBlackBox.create(settings.max_message_bytes)
        self._set_aside: list[SetAside] = []  # until a worker has stored them
        self._scribes: list[subprocess.Popen[bytes]] = []
        self._deaths = 0

    def live(self) -> Generator[float, None, int]:
        """Run one worker after the other, until stopped. Yields for how many seconds nothing is to be done.

        Returns the exit status.
        """
        supervisor = self._supervisor
        while True:
            worker = _Worker(supervisor.command, self._orders, self._sockets, self._blackbox.fd)
            code, hung = yield from self._watch(worker)
            death = Death(code, self._blackbox.read(), hung)
            self._blackbox.clear()
            self.served = self.served or worker.serves
            if worker.serves:
                self._set_aside = []  # stored before it served
            if supervisor.stops:
                # a worker that never served has lost nothing
                return 0 if code == 0 or (not worker.serves and code != -signal.SIGKILL) else 1
            if not self.served and death.note is None:
                log.error("the worker could not start (%s)", death.cause)
                return code if code > 0 else 1
            self._take_stock(death)
            until = monotonic() + supervisor.restarts.delay(monotonic())
            while not supervisor.stops and (left := until - monotonic()) > 0:
                yield left
            if supervisor.stops:
                return 0

    def _orders(self, ready: int) -> Orders:
        restarts = self._supervisor.restarts
        return Orders(
            supervisor=os.getpid(),
            settings=self._settings.to_json(),
            sockets=[sock.fileno() for sock in self._sockets],
            blackbox=self._blackbox.fd,
            ready=ready,
            set_aside=self._set_aside,
            closed=list(restarts.closed(monotonic()).items()),
            banned=list(restarts.banned(monotonic()).items()),
            node_name=self._node_name,
            app=self._supervisor.app,
            deaths=self._deaths,
        )

    def _take_stock(self, death: Death) -> None:
        restarts = self._supervisor.restarts
        self._deaths += 1
        if death.note is None:
            log.error("the worker died (%s) and will be replaced", death.cause)
            restarts.died(death, monotonic(), time())
            return
        entry = restarts.died(death, monotonic(), time())
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
            self._tell_other_nodes(entry)

    def _tell_other_nodes(self, entry: SetAside) -> None:
        if self._settings.redis is not None:
            errand = scribe.Errand(self._settings.to_json(), new_node_name(), [entry])
            self._scribes.append(scribe.send(errand, _without_settings(os.environ)))

    def finish(self) -> None:
        """Let what has still to be written reach the record."""
        for process in self._scribes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(_SCRIBE_SECONDS)

    def _watch(self, worker: _Worker) -> Generator[float, None, tuple[int, bool]]:
        """Wait until the worker ends. Returns its exit code, and whether it was killed for hanging."""
        supervisor = self._supervisor
        told, kill_at, hung = 0, float("inf"), False
        vigil = Vigil()
        while (code := worker.poll()) is None:
            if worker.newly_serves():
                self.served = True
            if supervisor.stops > told:
                if told:
                    worker.kill()
                else:
                    for sock in self._sockets:
                        sock.close()
                    worker.terminate()
                    kill_at = monotonic() + _STOP_SECONDS
                told = supervisor.stops
            now = monotonic()
            if now > kill_at:
                log.error("the worker did not stop within %g seconds", _STOP_SECONDS)
                worker.kill()
            standing = self._blackbox.standing()
            if vigil.hangs(standing, now, worker.cpu_seconds) or (worker.serves and vigil.silent(self._blackbox.pulse)):
                log.error("the worker %s and is killed", "hangs" if standing else "no longer responds")
                hung = True
                worker.kill()
            self._scribes = [each for each in self._scribes if each.poll() is None]
            yield _POLL
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
