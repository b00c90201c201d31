"""A client's WebSocket, passed on to the node that owns its document.

The edge is a reverse proxy here: the owner's own endpoint serves the client, so sessions, rights, acknowledgements and
slow readers need no second implementation. TCP keeps each side at the pace of the other. If the owner is lost, the
tunnel ends, and the client connects again, as it does when a server restarts.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

from collab.cluster.passes import HEADER
from collab.errors import Unavailable

log = logging.getLogger(__name__)

_OPEN_SECONDS = 3.0
_CLOSE_SECONDS = 1.0
_PING_SECONDS = 5.0
"""An owner that is silent for twice as long is lost. It is declared dead earlier, unless only we cannot see it."""
_FULL = 1024 * 1024  # bytes for the owner at which the client is not read any more
_NEVER_PASSED = frozenset(
    {"host", "connection", "upgrade", "content-length", "transfer-encoding", "keep-alive", HEADER}
)


class Handshake(NamedTuple):
    """What a client sent to open its WebSocket: ``headers`` have lower-case names, ``target`` is path and query."""

    target: str
    headers: Sequence[tuple[str, str]]
    subprotocols: Sequence[str]


class Tunnel:
    """One direction each: :meth:`send` to the owner, ``deliver`` to the client.

    ``hold`` stops reading the client while the owner takes nothing, ``release`` undoes it. ``ended`` is called once,
    with the close code and reason of the owner (1006 if it was lost); not after :meth:`close`.
    """

    def __init__(
        self,
        owner: ClientConnection,
        *,
        deliver: Callable[[bytes | str], Awaitable[None]],
        hold: Callable[[], None],
        release: Callable[[], None],
        ended: Callable[[int, str], None],
    ) -> None:
        self._owner = owner
        self._deliver = deliver
        self._hold = hold
        self._release = release
        self._ended = ended
        self._queue: deque[bytes | str] = deque()
        self._bytes = 0
        self._held = False
        self._filled = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None
        self._down = asyncio.create_task(self._pass_down())
        self._up = asyncio.create_task(self._pass_up())

    def send(self, message: bytes | str) -> None:
        """Queue a message for the owner."""
        self._queue.append(message)
        self._bytes += len(message)
        if self._bytes > _FULL and not self._held:
            self._held = True
            self._hold()
        self._filled.set()

    def close(self) -> None:
        """The client has left."""
        self._down.cancel()
        self._end()

    def lose(self) -> None:
        """The owner is dead, whether its connection has noticed or not."""
        if self._closing is None:
            self._down.cancel()
            self._end()
            self._ended(1006, "")

    async def _pass_up(self) -> None:
        try:
            while True:
                await self._filled.wait()
                self._filled.clear()
                while self._queue:
                    message = self._queue.popleft()
                    await self._owner.send(message)
                    self._bytes -= len(message)
                    if 2 * self._bytes < _FULL:
                        self._let_go()
        except ConnectionClosed:
            pass  # the other direction tells

    async def _pass_down(self) -> None:
        code, reason = 1006, ""
        try:
            while True:
                await self._deliver(await self._owner.recv())
        except ConnectionClosed as closed:
            if closed.rcvd is not None:
                code, reason = closed.rcvd.code, closed.rcvd.reason
        except Exception:
            log.exception("a message of another node could not be passed on")
        self._end()
        self._ended(code, reason)

    def _end(self) -> None:
        self._up.cancel()
        self._queue.clear()
        self._let_go()
        if self._closing is None:
            self._closing = asyncio.create_task(self._owner.close())

    def _let_go(self) -> None:
        if self._held:
            self._held = False
            self._release()


async def dial(url: str, handshake: Handshake, pass_: str) -> ClientConnection:
    """Open a client's WebSocket at the node at ``url``, whose ``pass_`` names the client.

    Raises :class:`Unavailable` if the node cannot be reached or refuses.
    """
    headers = [(name, value) for name, value in handshake.headers if _is_passed_on(name)]
    try:
        return await connect(
            url.replace("http", "ws", 1) + handshake.target,
            additional_headers=[*headers, (HEADER, pass_)],
            subprotocols=[Subprotocol(name) for name in handshake.subprotocols] or None,
            compression=None,
            open_timeout=_OPEN_SECONDS,
            close_timeout=_CLOSE_SECONDS,
            ping_interval=_PING_SECONDS,
            ping_timeout=_PING_SECONDS,
            max_size=None,
            max_queue=16,
            write_limit=(_FULL, _FULL // 4),
            user_agent_header=None,
            proxy=None,
        )
    except (OSError, InvalidHandshake, TimeoutError) as error:
        raise Unavailable(f"the server that has this document cannot be reached: {error}") from error


def _is_passed_on(name: str) -> bool:
    return name not in _NEVER_PASSED and not name.startswith("sec-websocket-")
