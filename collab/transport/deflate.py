"""permessage-deflate (RFC 7692), negotiated without context takeover: no memory is held between messages.

It is off unless the operator enables it. The inflated size is limited, so that a decompression bomb costs no more than
an honest message of the same size.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_TAIL = b"\x00\x00\xff\xff"  # ends every flushed block; omitted on the wire
_PIECE = 64 * 1024


class InflateError(ValueError):
    """The bytes are not a deflate stream."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """The negotiated response header, and the window that the server may use."""

    response: bytes
    window_bits: int


def negotiate(offers: Iterable[bytes]) -> Agreement | None:
    """Accept the first acceptable offer; ``offers`` are values of ``Sec-WebSocket-Extensions``."""
    for offer in b",".join(offers).decode("latin-1").split(","):
        name, *parameters = (part.strip() for part in offer.split(";"))
        if name.lower() != "permessage-deflate":
            continue
        bits = _window_bits(parameters)
        if bits is None:
            continue
        response = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
        if bits < 15:
            response += f"; server_max_window_bits={bits}"
        return Agreement(response.encode(), bits)
    return None


def _window_bits(parameters: Iterable[str]) -> int | None:
    """The window size that the client requests of the server; ``None`` if the offer is not acceptable."""
    bits = 15
    for parameter in parameters:
        key, _, value = (part.strip().strip('"') for part in parameter.partition("="))
        if key == "server_max_window_bits":
            if not value.isdecimal() or not 9 <= int(value) <= 15:  # zlib cannot write raw streams with 8
                return None
            bits = int(value)
        elif key == "client_max_window_bits":
            if value and (not value.isdecimal() or not 8 <= int(value) <= 15):
                return None
        elif key not in ("server_no_context_takeover", "client_no_context_takeover") or value:
            return None
    return bits


class Inflater:
    """Inflates messages one after the other."""

    __slots__ = ("_stream",)

    def __init__(self) -> None:
        self._stream: zlib._Decompress | None = None

    def inflate(self, data: bytes, at_most: int, *, last: bool) -> bytes:
        """Inflate a piece to ``at_most`` bytes (more than 0); ``last``: the message ends with it.

        If the result has ``at_most`` bytes, there may have been more, which is lost. Raises :class:`InflateError`.
        """
        if self._stream is None:
            self._stream = zlib.decompressobj(-15)
        stream = self._stream
        if last:
            data += _TAIL
            self._stream = None
        if stream.eof:  # a final block ended the stream early; the rest carries no data
            return b""
        try:
            return stream.decompress(data, at_most)
        except zlib.error as error:
            raise InflateError("the message cannot be inflated") from error

    def forget(self) -> None:
        """Skip the rest of the message, and expect the next."""
        self._stream = None


def deflate(payload: memoryview, window_bits: int) -> Iterator[bytes]:
    """Deflate a message of any size piece by piece; the last piece ends it."""
    stream = zlib.compressobj(wbits=-window_bits)
    for start in range(0, len(payload), _PIECE):
        piece = stream.compress(payload[start : start + _PIECE])
        if piece:
            yield piece
    yield stream.flush(zlib.Z_SYNC_FLUSH)[: -len(_TAIL)]
