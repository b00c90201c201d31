"""The HTTP side of a WebSocket handshake: validating the request, and the two possible responses."""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable
from hashlib import sha1

import h11

from collab.transport.deflate import Agreement, negotiate

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

Headers = Iterable[tuple[bytes, bytes]]


def wants_websocket(request: h11.Request) -> bool:
    """Whether a request asks for a WebSocket, well or badly."""
    return b"upgrade" in _tokens(request, b"connection") and b"websocket" in _tokens(request, b"upgrade")


def handshake_error(request: h11.Request) -> int | None:
    """The HTTP status that refuses this upgrade request, ``None`` if it is valid."""
    headers: dict[bytes, bytes] = dict(request.headers)
    names = [name for name, _ in request.headers]
    if names.count(b"sec-websocket-key") > 1 or names.count(b"sec-websocket-version") > 1:
        return 400  # others on the way might look at another one than we do
    if request.http_version != b"1.1" or request.method != b"GET":
        return 400
    if headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers:
        return 400
    if headers.get(b"sec-websocket-version") != b"13":
        return 426
    try:
        key = b64decode(headers.get(b"sec-websocket-key", b""), validate=True)
    except Base64Error:
        return 400
    return None if len(key) == 16 else 400


def _tokens(request: h11.Request, name: bytes) -> list[bytes]:
    """The members of a list, in lower case, that may come in several headers."""
    return [token.strip() for key, value in request.headers if key == name for token in value.lower().split(b",")]


class Upgrade:
    """A valid upgrade request that awaits its response.

    ``http`` is the connection that read ``request``; ``common`` are headers of every response.
    """

    def __init__(self, http: h11.Connection, request: h11.Request, common: Headers) -> None:
        self._http = http
        self._common = list(common)
        self._key = self._values(request, b"sec-websocket-key")[0]
        self._offers = self._values(request, b"sec-websocket-extensions")
        self.subprotocols = [
            part.strip()
            for value in self._values(request, b"sec-websocket-protocol")
            for part in value.decode("latin-1").split(",")
        ]

    @staticmethod
    def _values(request: h11.Request, name: bytes) -> list[bytes]:
        return [value for key, value in request.headers if key == name]

    def hold(self, data: bytes) -> None:
        """Keep bytes that arrived before the response."""
        self._http.receive_data(data)

    @property
    def held(self) -> bytes:
        """The bytes after the request's head."""
        return self._http.trailing_data[0]

    def accept(self, subprotocol: str | None, headers: Headers, *, compression: bool) -> tuple[bytes, Agreement | None]:
        """The head of the response that accepts the WebSocket, and the negotiated compression."""
        answer = [
            (b"upgrade", b"websocket"),
            (b"connection", b"Upgrade"),
            (b"sec-websocket-accept", b64encode(sha1(self._key + _GUID, usedforsecurity=False).digest())),
        ]
        if subprotocol is not None:
            answer.append((b"sec-websocket-protocol", subprotocol.encode()))
        agreement = negotiate(self._offers) if compression else None
        if agreement is not None:
            answer.append((b"sec-websocket-extensions", agreement.response))
        head = self._http.send(h11.InformationalResponse(status_code=101, headers=[*answer, *headers, *self._common]))
        assert head is not None
        return head, agreement

    def refuse(self, status: int, headers: Headers, body: bytes) -> bytes:
        """A whole response that refuses the WebSocket; close the connection afterwards."""
        kept = [(name, value) for name, value in headers if name.lower() not in (b"content-length", b"connection")]
        fixed = [(b"content-length", str(len(body)).encode()), (b"connection", b"close")]
        parts = (
            h11.Response(status_code=status, headers=[*kept, *fixed, *self._common]),
            h11.Data(data=body),
            h11.EndOfMessage(),
        )
        return b"".join(self._http.send(part) or b"" for part in parts)
