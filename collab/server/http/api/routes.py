"""The routes of ``/api/v1``."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from collab.access.identity import Identity
from collab.errors import InvalidRequest, NotFound
from collab.server.admission import own_path
from collab.server.http.api.openapi import describe
from collab.server.http.api.operations import OPERATIONS, Ask, Operation
from collab.server.http.api.parameters import check_names
from collab.server.http.api.serving import Api
from collab.server.http.responses import RequestHandler, answers, json_answer, refuse, while_connected
from collab.server.http.traced import traced
from collab.tracing import Tracer

PREFIX = "/api/v1"

_NOBODY = Identity("", verified=False)


class _NoSuchMethod(InvalidRequest):
    http_status = 405


def build(api: Api, tracer: Tracer | None = None) -> Starlette:
    """Build an application to mount at ``PREFIX``."""
    description = describe(OPERATIONS, PREFIX)

    async def openapi(request: Request) -> Response:
        # below another mount point the paths begin with that one's path
        servers = [{"url": request.scope.get("root_path", PREFIX)}]
        return json_answer({**description, "servers": servers})

    routes: list[BaseRoute] = [
        Route(operation.path, _handler(api, operation, tracer), methods=[operation.method], name=operation.name)
        for operation in OPERATIONS
    ]
    routes.append(Route("/openapi.json", openapi, name="openapi"))
    return Starlette(routes=routes, exception_handlers={404: _not_found, 405: _not_allowed})


def _handler(api: Api, operation: Operation, tracer: Tracer | None) -> RequestHandler:
    served = _served(api, operation)
    handler = answers(served if tracer is None else traced(served, tracer, f"{PREFIX}{operation.path}"))
    # a write runs to its end; a stream itself notices when the client is gone
    return handler if operation.write or operation.answer is str else while_connected(handler)


def _served(api: Api, operation: Operation) -> RequestHandler:
    async def serve(request: Request) -> Response:
        own_path(request.scope)
        if operation.public:
            check_names(request, [each.name for each in operation.parameters if each.place == "query"])
            return await operation.handler(Ask(api, request, _NOBODY, None))
        identity, address = await api.identify(request)
        check_names(request, [each.name for each in operation.parameters if each.place == "query"])
        if operation.write:
            api.count_write(request, identity)
        else:
            api.count_read(request, identity)
        return await operation.handler(Ask(api, request, identity, address))

    return serve


async def _not_found(request: Request, error: Exception) -> Response:
    return await refuse(request, NotFound("no such endpoint"))


async def _not_allowed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = await refuse(request, _NoSuchMethod("method not allowed"))
    response.headers.update(error.headers or {})
    return response
