"""WebSocket frames (RFC 6455) as a server reads and writes them: bytes in, whole messages out, no waiting.

The reader holds at most one message, and refuses a message as soon as the headers of its frames add up to
more than allowed, before the bytes themselves arrive. Payloads are unmasked as they come.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from collab.server.deflate import InflateError, Inflater, deflate

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
FIN, RSV1 = 0x80, 0x40

FRAGMENT = 64 * 1024  # bytes of a message that leave at once; between two of them the peer's pace is looked at

NO_STATUS = 1005  # a close frame without a code; never sent
ABNORMAL = 1006  # no close frame at all; never sent
PROTOCOL_ERROR = 1002
INVALID_PAYLOAD = 1007
TOO_BIG = 1009

_SHORT_BINARY = tuple(bytes((FIN | BINARY, length)) for length in range(126))
_TRANSLATIONS = tuple(bytes(a ^ b for a in range(256)) for b in range(256))


class FrameError(Exception):
    """The peer broke the protocol or a limit; ``code`` is the WebSocket close code that says so."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks for a pong with the same payload."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """Answers a ping, or comes unasked."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """The peer's last frame. ``code`` is 1005 if it gave none."""

    code: int
    reason: str


Incoming = bytes | str | Ping | Pong | Close


class FrameReader:
    """Puts a client's bytes together into messages of ``max_message`` bytes at most.

    ``inflater`` is given if permessage-deflate was negotiated.
    """

    __slots__ = (
        "_buffer",
        "_compressed",
        "_final",
        "_in_frame",
        "_inflater",
        "_kind",
        "_left",
        "_limit",
        "_mask",
        "_message",
        "_pos",
        "_wire",
        "_wire_limit",
    )

    def __init__(self, max_message: int, inflater: Inflater | None = None) -> None:
        self._limit = max_message
        # what does not compress grows a little
        self._wire_limit = max_message if inflater is None else max_message + (max_message >> 10) + 64
        self._inflater = inflater
        self._buffer = b""
        self._pos = 0
        self._message = bytearray()
        self._kind = 0  # opcode of the message that is under way
        self._compressed = False
        self._wire = 0  # bytes that the frames of this message announced so far
        self._in_frame = False
        self._final = False
        self._left = 0
        self._mask = b""

    def feed(self, data: bytes) -> None:
        """Take in what came from the socket."""
        if self._pos < len(self._buffer):
            self._buffer = self._buffer[self._pos :] + data
        else:
            self._buffer = data
        self._pos = 0

    def next(self) -> Incoming | None:
        """The next message or control frame, or ``None`` until more is fed. Raises :class:`FrameError`."""
        while True:
            if self._in_frame:
                if not self._take_payload():
                    return None
                if self._final:
                    return self._finish()
                continue
            buffer, pos = self._buffer, self._pos
            have = len(buffer) - pos
            if have < 6:
                return None
            first, length = buffer[pos], buffer[pos + 1] - 0x80
            if length < 0:
                raise FrameError(PROTOCOL_ERROR, "frames from clients are masked")
            start = pos + 6
            if length > 125:
                if first & 0x08:
                    raise FrameError(PROTOCOL_ERROR, "a control frame is too long")
                width = 2 if length == 126 else 8
                start += width
                if len(buffer) < start:
                    return None
                length = int.from_bytes(buffer[pos + 2 : pos + 2 + width])
                if length < (126 if width == 2 else 0x10000) or length >> 63:
                    raise FrameError(PROTOCOL_ERROR, "a length has the wrong form")
            end = start + length
            if first == FIN | BINARY and not self._kind and end <= len(buffer) and length <= self._limit:
                self._pos = end
                return unmask(buffer[start:end], buffer[start - 4 : start])
            if first & 0x08:
                if end > len(buffer):
                    return None
                self._pos = end
                return _control(first, unmask(buffer[start:end], buffer[start - 4 : start]))
            self._begin_frame(first, length, buffer[start - 4 : start])
            self._pos = start

    def _begin_frame(self, first: int, length: int, mask: bytes) -> None:
        opcode = first & 0x0F
        if opcode:
            if self._kind:
                raise FrameError(PROTOCOL_ERROR, "a message began inside another")
            if opcode > BINARY:
                raise FrameError(PROTOCOL_ERROR, "unknown opcode")
            self._compressed = bool(first & RSV1)
            self._kind = opcode
        elif not self._kind or first & RSV1:
            raise FrameError(PROTOCOL_ERROR, "unexpected continuation")
        if first & 0x30 or (self._compressed and self._inflater is None):
            raise FrameError(PROTOCOL_ERROR, "reserved bits are set")
        self._wire += length
        if self._wire > (self._wire_limit if self._compressed else self._limit):
            raise FrameError(TOO_BIG, f"a message may have {self._limit} bytes")
        self._in_frame = True
        self._final = bool(first & FIN)
        self._left = length
        self._mask = mask

    def _take_payload(self) -> bool:
        """Take what there is of the current frame; whether that is all of it."""
        buffer, pos = self._buffer, self._pos
        if self._left:
            chunk = buffer[pos : pos + self._left]
            if not chunk:
                return False
            self._pos = pos + len(chunk)
            self._left -= len(chunk)
            plain = unmask(chunk, self._mask)
            turn = len(chunk) & 3
            self._mask = self._mask[turn:] + self._mask[:turn]
            self._append(plain)
            if self._left:
                return False
        self._in_frame = False
        return True

    def _append(self, plain: bytes) -> None:
        if self._compressed:
            self._inflate(plain)
        else:
            self._message += plain

    def _inflate(self, data: bytes, *, last: bool = False) -> None:
        assert self._inflater is not None
        try:
            self._message += self._inflater.inflate(data, self._limit + 1 - len(self._message), last=last)
        except InflateError as error:
            raise FrameError(INVALID_PAYLOAD, str(error)) from error
        if len(self._message) > self._limit:
            raise FrameError(TOO_BIG, f"a message may have {self._limit} bytes")

    def _finish(self) -> bytes | str:
        if self._compressed:
            self._inflate(b"", last=True)
        kind, message = self._kind, self._message
        self._message = bytearray()
        self._kind = self._wire = 0
        self._compressed = False
        if kind == BINARY:
            return bytes(message)
        try:
            return message.decode()
        except UnicodeDecodeError as error:
            raise FrameError(INVALID_PAYLOAD, "text is not UTF-8") from error


def unmask(data: bytes, mask: bytes) -> bytes:
    """Exclusive-or ``data`` with the four bytes of ``mask``, repeated."""
    length = len(data)
    if length < 512:  # through one large integer; beyond, by table, which is faster there
        pattern = (mask * ((length + 3) >> 2))[:length]
        return (int.from_bytes(data) ^ int.from_bytes(pattern)).to_bytes(length)
    plain = bytearray(data)
    for offset in range(4):
        plain[offset::4] = plain[offset::4].translate(_TRANSLATIONS[mask[offset]])
    return bytes(plain)


def header(first: int, length: int) -> bytes:
    """The head of an unmasked frame: ``first`` is the byte of flags and opcode."""
    if length < 126:
        return bytes((first, length))
    if length < 0x10000:
        return bytes((first, 126, length >> 8, length & 0xFF))
    return bytes((first, 127)) + length.to_bytes(8)


def binary(payload: bytes) -> bytes:
    """A whole binary message as one frame."""
    length = len(payload)
    return (_SHORT_BINARY[length] if length < 126 else header(FIN | BINARY, length)) + payload


def text(payload: bytes) -> bytes:
    """A whole text message, already encoded, as one frame."""
    return header(FIN | TEXT, len(payload)) + payload


def pieces(data: bytes | bytearray | memoryview, window_bits: int | None) -> Iterator[tuple[memoryview | bytes, bool]]:
    """What the fragments of a message hold, without copying it, and which is the last.

    With ``window_bits`` they are deflated.
    """
    view = memoryview(data)
    if window_bits is None:
        for start in range(0, max(len(view), 1), FRAGMENT):
            yield view[start : start + FRAGMENT], start + FRAGMENT >= len(view)
        return
    held = None
    for piece in deflate(view, window_bits):
        if held is not None:
            yield held, False
        held = piece
    assert held is not None
    yield held, True


def close(code: int, reason: str) -> bytes:
    """A close frame; codes that may not be sent become an empty one, a long reason is cut."""
    if code in (NO_STATUS, ABNORMAL):
        return header(FIN | CLOSE, 0)
    text = reason.encode("utf-8", "replace")
    if len(text) > 123:
        text = text[:123].decode("utf-8", "ignore").encode()
    return header(FIN | CLOSE, 2 + len(text)) + code.to_bytes(2) + text


def ping() -> bytes:
    """A ping without payload."""
    return header(FIN | PING, 0)


def pong(payload: bytes) -> bytes:
    """The answer to a ping."""
    return header(FIN | PONG, len(payload)) + payload


def _control(first: int, payload: bytes) -> Ping | Pong | Close:
    if first == FIN | PING:
        return Ping(payload)
    if first == FIN | PONG:
        return Pong(payload)
    if first != FIN | CLOSE:
        raise FrameError(PROTOCOL_ERROR, "a control frame is malformed")
    if not payload:
        return Close(NO_STATUS, "")
    code = int.from_bytes(payload[:2])
    if len(payload) == 1 or not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise FrameError(PROTOCOL_ERROR, "invalid close code")
    try:
        return Close(code, payload[2:].decode())
    except UnicodeDecodeError as error:
        raise FrameError(INVALID_PAYLOAD, "the reason is not UTF-8") from error
