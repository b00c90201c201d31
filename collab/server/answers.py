"""How HTTP requests are answered: what they carry is bounded, and what goes wrong is told as the protocol tells it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from math import ceil

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from collab.errors import CollabError, InternalError, TooLarge
from collab.wire.realtime import Error

log = logging.getLogger(__name__)

_MOST_DISCARDED = 16 * 1024 * 1024  # bytes of a refused body

Handler = Callable[[Request], Awaitable[Response]]


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """The body of an answer that is none."""

    error: Error


def answers(handler: Handler) -> Handler:
    """``handler``, with every error that it raises told to the client."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except CollabError as error:
            return await refuse(request, error)
        except Exception:
            log.exception("%s %s failed", request.method, request.url.path)
            return await refuse(request, InternalError("the request could not be served"))

    return answer


async def refuse(request: Request, error: CollabError) -> Response:
    """The answer that tells an error.

    What is left of the body is read first: a connection that is closed over unread bytes takes the answer along.
    """
    left = _MOST_DISCARDED
    try:
        async for chunk in request.stream():
            left -= len(chunk)
            if left < 0:
                break
    except (RuntimeError, ClientDisconnect):  # it was read already, or nobody waits for the answer
        pass
    headers = {"retry-after": str(ceil(error.details.get("retryAfter", 1)))} if error.retryable else {}
    if error.http_status == 401:
        headers["www-authenticate"] = "Bearer"
    if left < 0:
        headers["connection"] = "close"
    return json_answer(Refusal(error=Error.of(error)), error.http_status, headers)


def json_answer(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """``value`` as JSON."""
    return Response(msgspec.json.encode(value), status, headers, media_type="application/json")


def announced_size(request: Request, limit: int) -> int:
    """Bytes of the body, as far as its sender says: ``limit`` if it does not."""
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and len(length) < 20:
        return min(int(length), limit)
    return limit if "transfer-encoding" in request.headers else 0


async def read_body(request: Request, limit: int) -> bytes:
    """The body. Raises :class:`TooLarge` if it has more than ``limit`` bytes."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise TooLarge("the body is too large", limit=limit)
        chunks.append(chunk)
    return b"".join(chunks)
