"""The process that serves. :mod:`collab.server.process.supervisor` starts it; it may die at any moment.

It reads its :class:`collab.server.process.orders.Orders` from standard input, reports on a pipe when it serves, and
stops on SIGTERM, or when its supervisor is gone.
"""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from time import monotonic
from typing import Any, Protocol, TypeVar

from hypercorn.utils import LifespanFailureError

from collab.rooms.allocator import Leftovers
from collab.rooms.blackbox import SharedBlackBox
from collab.server.config.settings import Settings
from collab.server.logs import log_to_stderr
from collab.server.process.orders import Orders
from collab.server.supervision import Supervision
from collab.transport.launcher import PeerLimits, serve
from collab.transport.websocket import WebSocketLimits

log = logging.getLogger(__name__)

T = TypeVar("T")

_PR_SET_PDEATHSIG = 1
_MOST_FILES = 1_048_576
_FILES_KEPT = 64
_SWITCH_SECONDS = 0.0002
"""Python's thread switch interval, in seconds. A request changes threads several times, and each time may wait this
long for a thread that computes. The default is 25 times as much: reads then take three times as long beside an
attack."""


class Unusable(Exception):
    """There is no application to serve. The message says why."""


class WorkerApplication(Protocol):
    """What a worker serves: an ASGI application that can be drained. Once it has ``failed``, the worker ends."""

    @property
    def failed(self) -> bool: ...

    async def __call__(
        self,
        scope: Any,
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
        /,
    ) -> None:
        """Serve one ASGI scope."""

    async def drain(self) -> None:
        """Refuse new clients, finish pending work, and disconnect everybody."""


Build = Callable[[Settings, Supervision], WorkerApplication]
"""Builds the application. It must store what is ``quarantined`` before it serves, refuse rooms that are ``closed``, and
callers (:meth:`collab.access.price.Payer.__str__`) that are ``banned``."""


def main(build: Build | None = None) -> int:
    """Serve until stopped. Returns the exit status."""
    faulthandler.enable()  # logs the Python stack of a crash inside the CRDT library
    orders = Orders.from_json(sys.stdin.buffer.read())
    _die_with(orders.supervisor)
    settings = Settings.from_json(orders.settings)
    log_to_stderr(settings.log_level)
    for library in ("httpx", "picows"):  # they log URLs, which may contain secrets
        logging.getLogger(library).setLevel(logging.WARNING)
    try:
        _runner()(_serve(orders, settings, build or (_collab if orders.app is None else partial(_load, orders.app))))
    except LifespanFailureError:
        return 1  # the reason has been logged
    except Unusable as error:
        log.error("could not start: %s", error, exc_info=error.__cause__)
        return 2
    except Exception:
        log.exception("the worker failed")
        return 1
    return 0


async def _serve(orders: Orders, settings: Settings, build: Build) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    for fd in (*orders.sockets, orders.blackbox, orders.ready):
        os.set_inheritable(fd, False)  # a child of this process must not keep the port open
    blackbox = SharedBlackBox(orders.blackbox)
    leftovers = Leftovers()
    app = build(
        settings,
        Supervision(
            blackbox,
            quarantined=orders.set_aside,
            closed=_until({key: monotonic() + seconds for key, seconds in orders.closed}),
            banned=_until({who: monotonic() + seconds for who, seconds in orders.banned}),
            node_name=orders.node_name,
            deaths=orders.deaths,
            leftovers=leftovers,
        ),
    )
    settings = getattr(app, "settings", settings)  # an application of its own module may have changed them

    def ready() -> None:
        leftovers.start()
        sys.setswitchinterval(_SWITCH_SECONDS)
        os.write(orders.ready, b"1")
        os.close(orders.ready)

    async def beat() -> None:
        while not app.failed:
            blackbox.beat()
            await asyncio.sleep(1.0)
        stop.set()  # the supervisor starts another worker

    beating = asyncio.create_task(beat())
    await serve(
        app,
        sockets=[socket.socket(fileno=fd) for fd in orders.sockets],
        shutdown=stop.wait,
        drain=app.drain,
        limits=PeerLimits(
            websocket=WebSocketLimits(
                max_message=settings.max_message_bytes,
                ping_interval=settings.ping_interval,
                ping_timeout=settings.ping_timeout,
                compression=settings.compression,
                untrusted=settings.anonymous_socket_bytes,
            ),
            connections=_connections(),
            connections_per_address=settings.max_connections_per_address,
            proxies=settings.trusted_proxies,
            unproven=settings.anonymous_bytes,
            unproven_per_address=settings.anonymous_bytes_per_address,
        ),
        access_log=logging.getLogger("collab.access") if settings.access_log else None,
        ready=ready,
    )
    beating.cancel()


def _connections() -> int:
    """Maximum number of connections within the limit of open files, which is raised as far as allowed.

    Some files are reserved for serving those connections: the database and child processes.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return max(16, (_MOST_FILES if soft == resource.RLIM_INFINITY else soft) - _FILES_KEPT)


def _collab(settings: Settings, supervision: Supervision) -> WorkerApplication:
    from collab.server.app import Collab  # a worker with another application does not import it

    return Collab(settings, supervision=supervision)


def _load(name: str, settings: Settings, supervision: Supervision) -> WorkerApplication:
    from collab.server.process.application import ApplicationError, load

    try:
        return load(name, settings, supervision)
    except ApplicationError as error:
        raise Unusable(str(error)) from error.__cause__


def _until(times: Mapping[T, float]) -> Callable[[T], bool]:
    return lambda what: what in times and monotonic() < times[what]


def _runner() -> Callable[[Any], None]:
    try:
        import uvloop
    except ImportError:
        return asyncio.run
    return uvloop.run


def _die_with(supervisor: int) -> None:
    """Let the kernel kill this process when its supervisor dies; otherwise a new one could not bind the port."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:  # the supervisor died before the call above
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
