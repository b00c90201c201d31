"""HTTP responses: bounded bodies, and errors in the protocol's form."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from math import ceil
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import Response
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketState

from collab.errors import CollabError, InternalError, TooLarge, printable
from collab.wire.realtime.values import Error

log = logging.getLogger(__name__)

_MOST_DISCARDED = 16 * 1024 * 1024  # bytes of a refused body

RequestHandler = Callable[[Request], Awaitable[Response]]


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """JSON body of an error response."""

    error: Error


def answers(handler: RequestHandler) -> RequestHandler:
    """Wrap ``handler``: its exceptions become error responses."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except CollabError as error:
            return await refuse(request, error)
        except Exception:
            log.exception("%s %s failed", request.method, printable(request.url.path[:500]))
            return await refuse(request, InternalError("could not serve the request"))

    return answer


def while_connected(handler: RequestHandler) -> RequestHandler:
    """Wrap the ``handler`` of a read: it is cancelled when the client disconnects."""

    async def serve(request: Request) -> Response:
        inbox: asyncio.Queue[Message] = asyncio.Queue(1)
        serving = asyncio.current_task()
        assert serving is not None
        gone = False

        async def listen() -> None:
            nonlocal gone
            while not gone:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    gone = True
                    serving.cancel()
                await inbox.put(message)

        listening = asyncio.create_task(listen())
        try:
            return await handler(Request(request.scope, inbox.get))
        except asyncio.CancelledError:
            if not gone:
                raise
            serving.uncancel()
            return Response(status_code=499)  # nobody receives it
        finally:
            listening.cancel()

    return serve


async def refuse(request: Request, error: CollabError) -> Response:
    """Build an error response.

    The rest of the body is read first: closing a connection with unread bytes would discard the response.
    """
    left = _MOST_DISCARDED
    try:
        async for chunk in request.stream():
            left -= len(chunk)
            if left < 0:
                break
    except (RuntimeError, ClientDisconnect):  # the body was read already, or the client is gone
        pass
    response = _refusal(error)
    if left < 0:
        response.headers["connection"] = "close"
    return response


def _refusal(error: CollabError) -> Response:
    headers = {"retry-after": str(ceil(error.details.get("retryAfter", 1)))} if error.retryable else {}
    if error.http_status == 401:
        headers["www-authenticate"] = "Bearer"
    return json_answer(Refusal(error=Error.of(error)), error.http_status, headers)


async def _tell(request: HTTPConnection, error: Exception) -> Response | None:
    # the route owns the body: it may have been read through another request object
    assert isinstance(error, CollabError)
    if isinstance(request, WebSocket):
        if request.client_state is not WebSocketState.DISCONNECTED:
            await request.close(error.close_code, error.message[:120])
        return None
    return _refusal(error)


exception_handlers: dict[int | type[Exception], Callable[[Any, Any], Coroutine[Any, Any, Any]]] = {CollabError: _tell}
"""For Starlette and FastAPI: errors of Collab in an application's own routes are answered like those of ``/api/v1``,
and end a WebSocket with their close code.

``FastAPI(lifespan=collab.lifespan, exception_handlers=exception_handlers)``.
"""


def json_answer(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Build a JSON response."""
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")


def announced_size(request: Request, limit: int) -> int:
    """Size of the body according to its headers; ``limit`` if they do not say."""
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and len(length) < 20:
        return min(int(length), limit)
    return limit if "transfer-encoding" in request.headers else 0


async def read_body(request: Request, limit: int) -> bytes:
    """Read the body. Raises :class:`TooLarge` if it has more than ``limit`` bytes."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise TooLarge("the body is too large", limit=limit)
        chunks.append(chunk)
    return b"".join(chunks)
