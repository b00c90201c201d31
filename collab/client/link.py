"""One WebSocket, through httpx-ws."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

import anyio
import httpcore

from collab.client.core import failures
from collab.errors import CollabError, ConnectionLost

try:
    import httpx
    import wsproto
    from httpx_ws import (
        AsyncWebSocketClient,
        AsyncWebSocketSession,
        HTTPXWSException,
        WebSocketDisconnect,
        WebSocketUpgradeError,
    )
    from wsproto.extensions import PerMessageDeflate
except ImportError as error:  # pragma: no cover
    raise ImportError("the client needs its extra: pip install lumenize-collab[client]") from error

_CLOSE_SECONDS = 2.0
_CHUNK = 256 * 1024


class Link(Protocol):
    """An open WebSocket. Both methods raise a :class:`CollabError` that says how it ended."""

    async def send(self, frame: str | bytes) -> None:
        """Send one message."""

    async def receive(self) -> str | bytes:
        """Return the next message."""


class _Session(AsyncWebSocketSession):
    """Negotiates compression, and limits how long closing may take if the peer is gone."""

    def __init__(self, stream: Any, *, response: httpx.Response | None = None, **options: Any) -> None:
        super().__init__(stream, response=response, **options)
        accepted = response.headers.get("sec-websocket-extensions", "") if response is not None else ""
        if accepted.startswith(PerMessageDeflate.name):
            deflate = PerMessageDeflate()
            deflate.finalize(accepted)
            self.connection = wsproto.connection.Connection(wsproto.ConnectionType.CLIENT, [deflate])

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        with anyio.move_on_after(_CLOSE_SECONDS):
            await super().close(code, reason)
        await self.stream.aclose()


class _HttpxLink:
    def __init__(self, session: AsyncWebSocketSession) -> None:
        self._session = session

    async def send(self, frame: str | bytes) -> None:
        try:
            if isinstance(frame, str):
                await self._session.send_text(frame)
            else:
                await self._session.send_bytes(frame)
        except (HTTPXWSException, wsproto.utilities.ProtocolError, anyio.ClosedResourceError) as error:
            raise _ended(error) from error

    async def receive(self) -> str | bytes:
        while True:
            try:
                event = await self._session.receive()
            except (HTTPXWSException, wsproto.utilities.ProtocolError, anyio.EndOfStream) as error:
                raise _ended(error) from error
            if isinstance(event, wsproto.events.TextMessage):
                return event.data
            if isinstance(event, wsproto.events.BytesMessage):
                return bytes(event.data)


def _ended(error: Exception) -> CollabError:
    if isinstance(error, WebSocketDisconnect):
        return failures.closed(error.code, error.reason or "")
    return ConnectionLost("the connection broke")


@asynccontextmanager
async def open_link(url: str, *, within: float, compression: bool) -> AsyncIterator[Link]:
    """Open a WebSocket within ``within`` seconds. Raises a :class:`CollabError` that says why it failed."""
    headers = {"sec-websocket-extensions": "permessage-deflate"} if compression else {}
    opened = False
    try:
        async with httpx.AsyncClient(timeout=within) as http:
            sockets = AsyncWebSocketClient(
                http, max_message_size_bytes=_CHUNK, keepalive_ping_interval_seconds=None, session_class=_Session
            )
            async with sockets.connect(url, headers=headers) as session:
                opened = True
                yield _HttpxLink(session)
    except WebSocketUpgradeError as error:
        raise failures.refused(error.response.status_code) from error
    except (httpx.TransportError, httpcore.NetworkError, httpx.InvalidURL, OSError) as error:
        if not opened:
            raise ConnectionLost(f"no connection to {url.partition('?')[0]}: {error}") from error
    except BaseExceptionGroup as group:
        # send() and receive() have already raised what broke the open link
        rest = group.split((HTTPXWSException, httpcore.NetworkError, wsproto.utilities.ProtocolError, OSError))[1]
        if rest is not None:
            raise rest from None
