"""A client's WebSocket, passed on to the node that owns its document.

The edge is a reverse proxy here: the owner's own endpoint serves the client, so sessions, rights, acknowledgements and
slow readers need no second implementation. TCP keeps each side at the pace of the other. If the owner is lost, the
tunnel ends, and the client connects again, as it does when a server restarts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from picows import WSCloseCode, WSError, WSFrame, WSHandshakeError, WSListener, WSMsgType, WSTransport, ws_connect

from collab.cluster.passes import HEADER
from collab.errors import Unavailable

log = logging.getLogger(__name__)

_OPEN_SECONDS = 3.0
_PING_SECONDS = 5.0
"""An owner that is silent for twice as long is lost. It is declared dead earlier, unless only we cannot see it.

What it says counts, whether it answers a ping or not: it may not read its client for a while, but it goes on to speak.
Nothing counts while we do not read or cannot write.
"""
_FRAME_BYTES = 64 * 1024 * 1024
_ABNORMAL = 1006
_NEVER_PASSED = frozenset({"connection", "upgrade", "content-length", "transfer-encoding", "keep-alive", HEADER})


class Handshake(NamedTuple):
    """What a client sent to open its WebSocket: ``headers`` have lower-case names, ``target`` is path and query."""

    target: str
    headers: Sequence[tuple[str, str]]
    subprotocols: Sequence[str]


class Tunnel(WSListener):
    """Two directions: :meth:`send` to the owner, ``deliver`` to the client.

    ``deliver`` returns a task that ends when the client has room again, if it has none now. ``hold`` stops reading the
    client while the owner takes nothing, ``release`` undoes it. ``ended`` is called once, with the close code and
    reason of the owner (1006 if it was lost); not after :meth:`close`.
    """

    def __init__(
        self,
        *,
        deliver: Callable[[bytes | str], asyncio.Task[None] | None],
        hold: Callable[[], None],
        release: Callable[[], None],
        ended: Callable[[int, str], None],
    ) -> None:
        self._deliver = deliver
        self._hold = hold
        self._release = release
        self._ended = ended
        self._owner: WSTransport | None = None
        self._over = False
        self._held = False
        self._waits = False  # for the client to read
        self._kind = WSMsgType.BINARY
        self._parts: list[bytes] = []  # of a message that comes in fragments
        self._closed_with = (_ABNORMAL, "")

    async def open(self, url: str, handshake: Handshake, pass_: str) -> None:
        """Open the client's WebSocket at the node at ``url``, whose ``pass_`` names the client.

        Raises :class:`Unavailable` if the node cannot be reached or refuses.
        """
        headers = [(name, value) for name, value in handshake.headers if _is_passed_on(name)]
        if handshake.subprotocols:
            headers.append(("Sec-WebSocket-Protocol", ", ".join(handshake.subprotocols)))
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                owner, _ = await ws_connect(
                    lambda: self,
                    url.replace("http", "ws", 1) + handshake.target,
                    websocket_handshake_timeout=_OPEN_SECONDS,
                    enable_auto_ping=True,
                    auto_ping_idle_timeout=_PING_SECONDS,
                    auto_ping_reply_timeout=_PING_SECONDS,
                    max_frame_size=_FRAME_BYTES,
                    extra_headers=[*headers, (HEADER, pass_)],
                    max_redirects=0,
                )
        except BaseException as error:
            self._over = True
            self._disconnect()  # whoever was cancelled may be connected already
            if isinstance(error, OSError | WSError | TimeoutError):
                raise Unavailable(f"the server that has this document cannot be reached: {_said(error)}") from error
            raise
        if self._over:
            owner.disconnect()
        elif self._owner is None:  # it was lost in the same moment, and picows will not tell
            self._over = True
            owner.disconnect()
            raise Unavailable("the server that has this document was lost")

    def send(self, message: bytes | str) -> None:
        """Pass a message on to the owner. After the end nobody misses it: the client connects again."""
        if self._owner is None:
            return
        if type(message) is str:
            self._owner.send(WSMsgType.TEXT, message.encode())
        else:
            self._owner.send(WSMsgType.BINARY, message)

    def close(self) -> None:
        """The client has left."""
        if self._end():
            self._disconnect()

    def lose(self) -> None:
        """The owner is dead, whether its connection has noticed or not."""
        if self._end():
            self._disconnect()
            self._ended(_ABNORMAL, "")

    def _end(self) -> bool:
        """Returns whether this was not the end already."""
        if self._over:
            return False
        self._over = True
        self.resume_writing()
        return True

    def _disconnect(self) -> None:
        if self._owner is not None:
            self._owner.send_close(WSCloseCode.OK)
            self._owner.disconnect()

    # called by picows

    def on_ws_connected(self, transport: WSTransport) -> None:
        """The owner has accepted."""
        self._owner = transport
        if self._over:
            self._disconnect()

    def send_user_specific_ping(self, transport: WSTransport) -> None:
        """Ask whether the owner lives, unless its answer could not reach us."""
        if self._waits or self._held:
            asyncio.get_running_loop().call_soon(transport.notify_user_specific_pong_received)  # it waits from then on
        else:
            transport.send_ping()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """A frame of the owner has come."""
        transport.notify_user_specific_pong_received()
        kind = frame.msg_type
        if kind == WSMsgType.BINARY and frame.fin and not self._parts:
            self._take(frame.get_payload_as_bytes())
        elif kind in (WSMsgType.BINARY, WSMsgType.TEXT, WSMsgType.CONTINUATION):
            if kind != WSMsgType.CONTINUATION:
                self._kind = kind
            self._parts.append(frame.get_payload_as_bytes())
            if frame.fin:
                whole = b"".join(self._parts)
                self._parts.clear()
                self._take(whole.decode() if self._kind == WSMsgType.TEXT else whole)
        elif kind == WSMsgType.CLOSE:
            told = frame.get_payload_as_bytes()  # picows knows the codes of the standard only
            if len(told) >= 2:
                self._closed_with = int.from_bytes(told[:2]), told[2:].decode(errors="replace")
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()

    def _take(self, message: bytes | str) -> None:
        if self._over:
            return
        busy = self._deliver(message)
        if busy is not None and not self._waits:
            assert self._owner is not None
            self._waits = True
            self._owner.underlying_transport.pause_reading()  # the frame that we hold is the answer to a ping, too
            busy.add_done_callback(self._read_on)

    def _read_on(self, _: object) -> None:
        self._waits = False
        if self._owner is not None and not self._over:
            self._owner.underlying_transport.resume_reading()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """The connection to the owner has ended."""
        self._owner = None
        if self._end():
            self._ended(*self._closed_with)

    def pause_writing(self) -> None:
        """The owner does not take more."""
        if not self._held and not self._over:
            self._held = True
            if self._owner is not None:
                self._owner.notify_user_specific_pong_received()
            self._hold()

    def resume_writing(self) -> None:
        """The owner takes more."""
        if self._held:
            self._held = False
            self._release()


def _said(error: Exception) -> str:
    """What went wrong, with the owner's own words if there are any."""
    body = error.raw_body if isinstance(error, WSHandshakeError) else None
    return f"{error} {body[:200].decode('ascii', 'replace')!r}" if body else str(error) or type(error).__name__


def _is_passed_on(name: str) -> bool:
    return name not in _NEVER_PASSED and not name.startswith("sec-websocket-")
