"""The sending half of a WebSocket: messages leave in fragments, each only when the peer has room for it."""

from __future__ import annotations

import asyncio

from collab.transport import frames


class MessageSender:
    """Writes messages to ``transport`` from :meth:`open` to :meth:`close`, one after the other."""

    __slots__ = ("_drained", "_open", "_sending", "_transport", "_window_bits", "blocked")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._open = False
        self._window_bits: int | None = None
        self._sending = asyncio.Lock()
        self._drained: asyncio.Future[None] | None = None
        self.blocked = False  # the transport's buffer is full

    def open(self, window_bits: int | None) -> None:
        """Messages may be sent from now on; with ``window_bits`` they are deflated."""
        self._open = True
        self._window_bits = window_bits

    def close(self) -> None:
        """Send no more messages."""
        self._open = False
        self._wake()

    def block(self) -> None:
        """The transport's buffer is full."""
        self.blocked = True

    def unblock(self) -> None:
        """The transport's buffer has room."""
        self.blocked = False
        self._wake()

    def _wake(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def send_now(self, message: bytes | str) -> bool:
        """Send a message if that needs no waiting. Otherwise send nothing and return ``False``."""
        data = message.encode() if isinstance(message, str) else message
        if (
            not self._open
            or self.blocked
            or len(data) > frames.FRAGMENT
            or self._window_bits is not None
            or self._sending.locked()
        ):
            return False
        self._transport.write(frames.text(data) if isinstance(message, str) else frames.binary(data))
        return True

    async def send(self, opcode: int, data: bytes | bytearray | memoryview) -> bool:
        """Send a message in fragments. Returns ``False`` if the WebSocket was closed meanwhile.

        A cancelled call drops the connection if a part was sent: no other message could follow.
        """
        async with self._sending:
            begun = False
            first = opcode if self._window_bits is None else opcode | frames.RSV1
            try:
                for piece, last in frames.pieces(data, self._window_bits):
                    while self.blocked and self._open:
                        self._drained = asyncio.get_running_loop().create_future()
                        await self._drained
                    if not self._open:
                        return False
                    head = frames.header(first | frames.FIN if last else first, len(piece))
                    self._transport.writelines((head, piece))
                    begun, first = not last, 0
            except asyncio.CancelledError:
                if begun:
                    self._transport.abort()
                raise
        return True
