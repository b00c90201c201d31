"""The HTTP side: health, metrics, and documents as JSON, text or Yjs updates."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from collab.access.identity import Access, Identity
from collab.errors import InvalidRequest, PermissionDenied
from collab.rooms.handle import RoomHandle
from collab.server.admission import own_path
from collab.server.answers import announced_size, answers, read_body
from collab.server.api.routes import PREFIX
from collab.server.cors import CrossOrigin

if TYPE_CHECKING:
    from collab.server.app import Collab

UPDATE_TYPE = "application/octet-stream"


def build(collab: Collab, pages: Path | None) -> ASGIApp:
    """What serves the requests of ``collab``; ``pages`` is a folder served at ``/``."""

    async def healthz(request: HttpRequest) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: HttpRequest) -> Response:
        reason = collab.unready()
        return PlainTextResponse("ready\n" if reason is None else f"{reason}\n", 200 if reason is None else 503)

    async def metrics(request: HttpRequest) -> Response:
        return Response(collab.metrics.render(), media_type="text/plain; version=0.0.4")

    async def read(request: HttpRequest) -> Response:
        room, _ = await _admit(collab, request, Access.READ)
        match request.query_params.get("format") or _accepted(request.headers.get("accept", "")):
            case "json":
                return JSONResponse(await room.json())
            case "text":
                return PlainTextResponse(await room.text(request.query_params.get("root")))
            case "update":
                update = await room.update(_state_vector(request.query_params.get("sv")))
                return Response(update, media_type=UPDATE_TYPE)
            case other:
                raise InvalidRequest(f"no such format: {other}; one of json, text, update")

    async def write(request: HttpRequest) -> Response:
        limit = collab.settings.max_message_bytes
        room, identity = await _admit(collab, request, Access.WRITE)
        collab.admission.count_write(collab.admission.read(request.scope), identity, announced_size(request, limit))
        await room.apply(await read_body(request, limit), identity.user_id)
        return Response(status_code=204)

    routes: list[BaseRoute] = [
        Route("/healthz", answers(healthz)),
        Route("/readyz", answers(readyz)),
        Route("/metrics", answers(metrics)),
        Route("/rooms/{name:path}", answers(read), methods=["GET"]),
        Route("/rooms/{name:path}", answers(write), methods=["POST"]),
        Mount(PREFIX, collab.api.app),
    ]
    if pages is not None:
        routes.append(Mount("/", StaticFiles(directory=pages, html=True)))
    return CrossOrigin(Starlette(routes=routes), [f"{PREFIX}/", "/rooms/"], collab.settings.allowed_origins)


async def _admit(collab: Collab, request: HttpRequest, wanted: Access) -> tuple[RoomHandle, Identity]:
    sender = collab.admission.read(request.scope)
    own_path(request.scope)
    admitted = await collab.admission.admit(sender, request.path_params["name"])
    if admitted.access < wanted:
        raise PermissionDenied("this identity may not do that")
    return collab.handle(admitted.key), admitted.identity


def _accepted(accept: str) -> str:
    for kind, form in ((UPDATE_TYPE, "update"), ("text/plain", "text")):
        if accept.startswith(kind):
            return form
    return "json"


def _state_vector(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError as error:
        raise InvalidRequest("sv is a state vector in base64url") from error
