"""The routes of ``/api/v1``."""

from __future__ import annotations

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from collab.access.identity import Identity
from collab.errors import InvalidRequest, NotFound
from collab.server.admission import own_path
from collab.server.answers import Handler, answers, refuse
from collab.server.api.openapi import describe
from collab.server.api.operations import OPERATIONS, Ask, Operation, Server

PREFIX = "/api/v1"

_NOBODY = Identity("", verified=False)


class _NoSuchMethod(InvalidRequest):
    http_status = 405


def build(server: Server) -> Starlette:
    """An application to be mounted at ``PREFIX``."""
    description = msgspec.json.encode(describe(OPERATIONS, PREFIX))

    async def openapi(request: Request) -> Response:
        return Response(description, media_type="application/json")

    routes: list[BaseRoute] = [
        Route(operation.path, answers(_served(server, operation)), methods=[operation.method], name=operation.name)
        for operation in OPERATIONS
    ]
    routes.append(Route("/openapi.json", openapi, name="openapi"))
    return Starlette(routes=routes, exception_handlers={404: _not_found, 405: _not_allowed})


def _served(server: Server, operation: Operation) -> Handler:
    async def serve(request: Request) -> Response:
        own_path(request.scope)
        identity = _NOBODY if operation.public else await server.identify(request)
        if operation.write:
            server.count_write(request, identity)
        return await operation.handler(Ask(server, request, identity))

    return serve


async def _not_found(request: Request, error: Exception) -> Response:
    return await refuse(request, NotFound("no such endpoint"))


async def _not_allowed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = await refuse(request, _NoSuchMethod("not with this method"))
    response.headers.update(error.headers or {})
    return response
