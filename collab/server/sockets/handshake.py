"""ASGI responses to a WebSocket handshake."""

from __future__ import annotations

from starlette.types import Scope, Send

from collab.access.handshake import select_subprotocol
from collab.errors import CollabError


async def accept(scope: Scope, send: Send) -> None:
    """Accept a handshake, with one of the subprotocols that the client offered."""
    await send({"type": "websocket.accept", "subprotocol": select_subprotocol(scope.get("subprotocols", ()))})


async def deny(scope: Scope, send: Send, error: CollabError) -> None:
    """Refuse a handshake. With the ASGI denial extension the HTTP status says why; without it, it is 403."""
    if "websocket.http.response" in scope.get("extensions", {}):
        headers: list[tuple[bytes, bytes]] = [(b"content-type", b"text/plain; charset=utf-8")]
        if error.retryable:
            headers.append((b"retry-after", b"1"))
        await send({"type": "websocket.http.response.start", "status": error.http_status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": error.message.encode()})
    else:
        await send({"type": "websocket.close", "code": error.close_code})
