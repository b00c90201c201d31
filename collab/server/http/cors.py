"""Cross-origin resource sharing (the Fetch standard, CORS) for the API's paths."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collab.access.handshake import origin_allowed

_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
_HEADERS = "Authorization, Content-Type, Idempotency-Key, If-Match, Last-Event-ID, X-API-Key"
_EXPOSED = "ETag, Location, Retry-After"
_REMEMBER_SECONDS = "600"


class CrossOrigin:
    """Wraps ``app`` so that pages of the ``allowed`` origins may read responses below ``prefixes``.

    Browsers send no cookies with these requests: cross-origin pages use a token.
    """

    def __init__(self, app: ASGIApp, prefixes: Sequence[str], allowed: Sequence[str]) -> None:
        self._app = app
        self._prefixes = tuple(prefixes)
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or not self._concerns(scope):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        allowed = origin is not None and origin_allowed(origin, headers.get("host"), self._allowed, False)

        async def share(message: Message) -> None:
            if message["type"] == "http.response.start":
                shared = MutableHeaders(scope=message)
                shared.add_vary_header("Origin")
                if origin is not None and allowed:
                    shared["Access-Control-Allow-Origin"] = origin
                    shared["Access-Control-Expose-Headers"] = _EXPOSED
            await send(message)

        if scope["method"] == "OPTIONS" and origin is not None and "access-control-request-method" in headers:
            await _preflight(share, allowed=allowed)
        else:
            await self._app(scope, receive, share)

    def _concerns(self, scope: Scope) -> bool:
        path: str = scope["path"]
        return path.removeprefix(scope.get("root_path", "")).startswith(self._prefixes)


async def _preflight(send: Send, *, allowed: bool) -> None:
    """Answer a preflight request. It has no credential, and the answer reveals nothing else."""
    headers = [(b"content-length", b"0")]
    if allowed:
        headers += [
            (b"access-control-allow-methods", _METHODS.encode()),
            (b"access-control-allow-headers", _HEADERS.encode()),
            (b"access-control-max-age", _REMEMBER_SECONDS.encode()),
        ]
    await send({"type": "http.response.start", "status": 204 if allowed else 403, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
