"""The process that serves. It is started by :mod:`collab.server.supervisor` and may die at any moment.

It reads its :class:`collab.server.orders.Orders` from standard input, says on a pipe when it serves, and ends
on SIGTERM, or when its supervisor is gone.
"""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import Any, Protocol

from collab.names import RoomKey
from collab.rooms.blackbox import SharedBlackBox
from collab.server.asgi_socket import WebSocketLimits
from collab.server.launcher import Limits, serve
from collab.server.orders import Orders
from collab.server.settings import Settings
from collab.storage.base import SetAside

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_COLLECT = (700, 10, 100)
"""When Python looks for cycles. Full collections are ten times as seldom as by default: everybody waits for one, and
rooms, which come and go most, are in no cycle."""


class Application(Protocol):
    """What a worker serves: an ASGI application that can be told to finish."""

    async def __call__(
        self,
        scope: Any,
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[Any], Awaitable[None]],
        /,
    ) -> None:
        """Serve one ASGI scope."""

    async def drain(self) -> None:
        """Take nobody in any more, finish what must be finished, and say goodbye."""


class Build(Protocol):
    """Makes the application; :class:`collab.server.app.Collab` is one."""

    def __call__(
        self,
        settings: Settings,
        *,
        blackbox: SharedBlackBox,
        quarantined: Sequence[SetAside],
        closed: Callable[[RoomKey], bool],
    ) -> Application:
        """``quarantined`` must be stored before anything is served; rooms that are ``closed`` refused."""


def main(build: Build | None = None) -> int:
    """Serve until told to stop. Returns the exit status."""
    faulthandler.enable()  # a crash inside the CRDT library says in the log where Python was
    orders = Orders.from_json(sys.stdin.buffer.read())
    _die_with(orders.supervisor)
    settings = Settings.from_json(orders.settings)
    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs each URL, and they may hold secrets
    try:
        _runner()(_serve(orders, settings, build or _collab))
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
        os.set_inheritable(fd, False)  # no child of this process may hold the port
    blackbox = SharedBlackBox(orders.blackbox)
    app = build(
        settings,
        blackbox=blackbox,
        quarantined=orders.set_aside,
        closed=_closed({key: monotonic() + seconds for key, seconds in orders.closed}),
    )

    def ready() -> None:
        gc.freeze()  # what is here now stays: no collection need look at it again
        gc.set_threshold(*_COLLECT)
        os.write(orders.ready, b"1")
        os.close(orders.ready)

    async def beat() -> None:
        while True:
            blackbox.beat()
            await asyncio.sleep(1.0)

    beating = asyncio.create_task(beat())
    await serve(
        app,
        sockets=[socket.socket(fileno=fd) for fd in orders.sockets],
        shutdown=stop.wait,
        drain=app.drain,
        limits=Limits(
            websocket=WebSocketLimits(
                max_message=settings.max_message_bytes,
                ping_interval=settings.ping_interval,
                ping_timeout=settings.ping_timeout,
                compression=settings.compression,
            )
        ),
        access_log=logging.getLogger("collab.access") if settings.access_log else None,
        ready=ready,
    )
    beating.cancel()


def _collab(
    settings: Settings,
    *,
    blackbox: SharedBlackBox,
    quarantined: Sequence[SetAside],
    closed: Callable[[RoomKey], bool],
) -> Application:
    from collab.server.app import Collab  # a worker of something else need not import it

    return Collab(settings, blackbox=blackbox, quarantined=quarantined, closed=closed)


def _closed(until: Mapping[RoomKey, float]) -> Callable[[RoomKey], bool]:
    return lambda key: key in until and monotonic() < until[key]


def _runner() -> Callable[[Any], None]:
    try:
        import uvloop
    except ImportError:
        return asyncio.run
    return uvloop.run


def _die_with(supervisor: int) -> None:
    """Have the kernel end this process with its supervisor, or a new one could not bind the port."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:  # it died before the call above
        os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
