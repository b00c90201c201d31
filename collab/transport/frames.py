"""WebSocket frames (RFC 6455) as a server reads and writes them: bytes in, whole messages out, no waiting.

The reader holds at most one message. A message is over the limit as soon as the headers of its frames add up to more,
before the payload arrives: then it ends the connection or is skipped. Payloads are unmasked as they arrive.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from collab.transport.deflate import InflateError, Inflater, deflate

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
FIN, RSV1 = 0x80, 0x40

FRAGMENT = 64 * 1024  # bytes of a message that leave at once; between two fragments the peer's speed is checked

_HEAD = 2048  # bytes that are kept of a skipped message: they name its document
_SKIPPED = 16  # times the limit: a longer message ends the connection
_INFLATED_AT_FIRST = 64 * 1024  # bytes of an inflated message from an untrusted client
NO_STATUS = 1005  # a close frame without a code; never sent
ABNORMAL = 1006  # no close frame at all; never sent
PROTOCOL_ERROR = 1002
INVALID_PAYLOAD = 1007
TOO_BIG = 1009
TRY_AGAIN = 1013
TOO_LARGE = 4413  # like TOO_BIG, and means that retrying is useless

_SHORT_BINARY = tuple(bytes((FIN | BINARY, length)) for length in range(126))
_TRANSLATIONS = tuple(bytes(a ^ b for a in range(256)) for b in range(256))


class FrameError(Exception):
    """The peer violated the protocol or a limit; ``code`` is the WebSocket close code for it."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Ping:
    """Requests a pong with the same payload."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """Answers a ping, or comes unsolicited."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """The peer's last frame. ``code`` is 1005 if it contained none."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Oversized:
    """A message over the limit: its first bytes, and the size that its frames have announced. The rest is dropped."""

    head: bytes
    size: int
    text: bool

    def __len__(self) -> int:
        return self.size


Incoming = bytes | str | Oversized | Ping | Pong | Close


class FrameReader:
    """Assembles a client's bytes into messages of at most ``max_message`` bytes.

    ``inflater`` is given if permessage-deflate was negotiated. An untrusted client may send ``allowance`` bytes in
    total; further ones stay in the buffer until :meth:`trust`, and :attr:`waits` is set. Until then an inflated message
    may have 64 KiB. With :attr:`skips` a message over the limit is returned as :class:`Oversized` and reading
    continues; otherwise it raises.
    """

    __slots__ = (
        "_allowance",
        "_buffer",
        "_compressed",
        "_final",
        "_head",
        "_in_frame",
        "_inflater",
        "_kind",
        "_left",
        "_limit",
        "_mask",
        "_message",
        "_pos",
        "_skipping",
        "_told",
        "_wire",
        "_wire_limit",
        "skips",
        "waits",
    )

    def __init__(self, max_message: int, inflater: Inflater | None = None, allowance: int | None = None) -> None:
        self._allowance = allowance
        self.waits = False
        self.skips = False
        self._skipping = False  # the current message is over the limit
        self._head = 0  # bytes of it that are kept
        self._told = False  # whether it was returned
        self._limit = max_message
        # incompressible data grows a little
        self._wire_limit = max_message if inflater is None else max_message + (max_message >> 10) + 64
        self._inflater = inflater
        self._buffer = b""
        self._pos = 0
        self._message = bytearray()
        self._kind = 0  # opcode of the current message
        self._compressed = False
        self._wire = 0  # bytes that the frames of this message have announced so far
        self._in_frame = False
        self._final = False
        self._left = 0
        self._mask = b""

    def feed(self, data: bytes) -> None:
        """Append bytes from the socket."""
        if self._pos < len(self._buffer):
            self._buffer = self._buffer[self._pos :] + data
        else:
            self._buffer = data
        self._pos = 0

    def trust(self) -> None:
        """Lift the limits for untrusted clients."""
        self._allowance = None
        self.waits = False

    def next(self) -> Incoming | None:
        """The next message or control frame, or ``None`` until more is fed. Raises :class:`FrameError`."""
        while True:
            if self._in_frame:
                if self._take_payload() and self._final:
                    message = self._finish()
                    if message is not None:
                        return message
                elif self._skipping and not self._told and len(self._message) == self._head:
                    self._told = True
                    return self._oversized()
                elif self._in_frame:
                    return None
                continue
            buffer, pos = self._buffer, self._pos
            have = len(buffer) - pos
            if have < 6:
                return None
            first, length = buffer[pos], buffer[pos + 1] - 0x80
            if length < 0:
                raise FrameError(PROTOCOL_ERROR, "frames from clients must be masked")
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
                    raise FrameError(PROTOCOL_ERROR, "a length is not in its shortest form")
            end = start + length
            if self._allowance is not None and not first & 0x08 and (self.skips or length <= self._wire_limit):
                if length > self._allowance:
                    self.waits = True
                    return None
                self._allowance -= length
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
            self._refuse(self._limit, _HEAD)
        self._in_frame = True
        self._final = bool(first & FIN)
        self._left = length
        self._mask = mask

    def _take_payload(self) -> bool:
        """Take the available payload of the current frame. Returns whether the frame is complete."""
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

    def _refuse(self, limit: int, head: int) -> None:
        """The message is over the limit; keep its first ``head`` bytes."""
        if not self.skips or self._allowance is not None:
            raise FrameError(TOO_BIG, f"a message may have at most {limit} bytes")
        if self._wire > _SKIPPED * self._limit:
            raise FrameError(TOO_LARGE, f"a message may have at most {limit} bytes")
        if not self._skipping:
            self._skipping, self._head = True, head
        del self._message[self._head :]

    def _append(self, plain: bytes) -> None:
        if self._skipping and len(self._message) == self._head:
            return
        if self._compressed:
            self._inflate(plain)
        elif self._skipping:
            self._message += plain[: self._head - len(self._message)]
        else:
            self._message += plain

    def _inflate(self, data: bytes, *, last: bool = False) -> None:
        assert self._inflater is not None
        limit = self._limit if self._allowance is None else min(self._limit, _INFLATED_AT_FIRST)
        if self._skipping:
            limit = self._head
        try:
            self._message += self._inflater.inflate(data, limit + 1 - len(self._message), last=last)
        except InflateError as error:
            raise FrameError(INVALID_PAYLOAD, str(error)) from error
        if len(self._message) > limit:
            self._refuse(limit, min(len(self._message), _HEAD))  # the rest of this piece is lost

    def _oversized(self) -> Oversized:
        return Oversized(bytes(self._message), self._wire, self._kind == TEXT)

    def _finish(self) -> bytes | str | Oversized | None:
        """The message; ``None`` if it was already returned as over the limit."""
        if self._compressed:
            assert self._inflater is not None
            if self._skipping:
                self._inflater.forget()
            else:
                self._inflate(b"", last=True)
        kind, message, told = self._kind, self._message, self._told
        oversized = self._oversized() if self._skipping else None
        self._message = bytearray()
        self._kind = self._wire = 0
        self._compressed = self._skipping = self._told = False
        if oversized is not None:
            return None if told else oversized
        if kind == BINARY:
            return bytes(message)
        try:
            return message.decode()
        except UnicodeDecodeError as error:
            raise FrameError(INVALID_PAYLOAD, "text is not UTF-8") from error


def unmask(data: bytes, mask: bytes) -> bytes:
    """XOR ``data`` with the four bytes of ``mask``, repeated."""
    length = len(data)
    if length < 512:  # through one large integer; for longer data a table is faster
        pattern = (mask * ((length + 3) >> 2))[:length]
        return (int.from_bytes(data) ^ int.from_bytes(pattern)).to_bytes(length)
    plain = bytearray(data)
    for offset in range(4):
        plain[offset::4] = plain[offset::4].translate(_TRANSLATIONS[mask[offset]])
    return bytes(plain)


def header(first: int, length: int) -> bytes:
    """The head of an unmasked frame; ``first`` is the byte with the flags and the opcode."""
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
    """The contents of a message's fragments, without copying, and whether each is the last.

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
    """A close frame. Codes that must not be sent become an empty one; a long reason is truncated."""
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
