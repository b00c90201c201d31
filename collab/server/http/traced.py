"""A span for each request."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from collab.access.price import METER
from collab.server.http.responses import RequestHandler
from collab.tracing import Tracer

_IDS = {"collection": "collab.collection", "id": "collab.entity"}
_ROOM = "name"
_DOCUMENTS = "documents"


def traced(handler: RequestHandler, tracer: Tracer, route: str) -> RequestHandler:
    """Wrap ``handler``: its work is a span, which goes on with that of ``traceparent``.

    If the application that mounts this one has begun a span for the request, it follows that one.
    """

    async def serve(request: Request) -> Response:
        told = request.headers.getlist("traceparent")
        asked = {"http.request.method": request.method, "http.route": route}
        with tracer.work(
            f"{request.method} {route}",
            {**asked, **_ids(request)},
            kind="server",
            parent=tracer.told(told[0] if len(told) == 1 else None),
        ) as span:
            try:
                response = await handler(request)
                span.add({"http.response.status_code": response.status_code})
                return response
            finally:
                meter = METER.get()
                if meter is not None and meter.payer.project is not None:
                    span.add({"collab.project": meter.payer.project})

    return serve


def _ids(request: Request) -> dict[str, str]:
    return {_IDS[name]: value for name, value in request.path_params.items() if name in _IDS}
