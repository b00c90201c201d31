"""The ASGI application of the inspector: its pages, and the operations that they call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collab.access.inspection import SESSION_SECONDS
from collab.errors import AuthenticationFailed, InvalidRequest, NotFound
from collab.server.http.pages import Pages
from collab.server.http.responses import RequestHandler, answers, json_answer, read_body, refuse, while_connected
from collab.server.inspector.documents import DocumentViews
from collab.server.inspector.door import Door
from collab.server.inspector.live import LiveViews
from collab.server.inspector.questions import (
    LARGEST_BODY,
    OfDeleted,
    OfDocument,
    OfEntry,
    OfLetters,
    OfMany,
    OfProject,
    OfProjects,
    OfQuarantine,
    OfSessions,
    Question,
    SendAgain,
    SendAway,
    SignIn,
    from_body,
    from_parameters,
)
from collab.server.inspector.record import RecordViews

PREFIX = "/inspect"
PAGE = Path(__file__).parent / "page"
"""Where the build puts the page. ``door`` in it is what somebody gets who has not signed in."""

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class InspectorOperation:
    """One operation of the page. ``asked`` are its parameters (GET) or its body (POST); a POST changes something."""

    method: Literal["GET", "POST"]
    path: str
    asked: type[Question]
    handler: Callable[[Any], Awaitable[object]]


def operations(live: LiveViews, record: RecordViews, documents: DocumentViews) -> list[InspectorOperation]:
    """All operations. Each needs a credential of the inspector."""
    return [
        InspectorOperation("GET", "/overview", Question, live.overview),
        InspectorOperation("GET", "/projects", OfProjects, record.projects),
        InspectorOperation("GET", "/deleted", OfDeleted, record.deleted),
        InspectorOperation("GET", "/usage", OfMany, record.usage),
        InspectorOperation("POST", "/ticket", OfProject, live.ticket),
        InspectorOperation("GET", "/sessions", OfSessions, live.sessions),
        InspectorOperation("POST", "/send-away", SendAway, live.send_away),
        InspectorOperation("GET", "/rooms", OfMany, live.rooms),
        InspectorOperation("GET", "/presence", OfDocument, live.presence),
        InspectorOperation("GET", "/queries", OfMany, live.queries),
        InspectorOperation("GET", "/refused", OfMany, live.refused),
        InspectorOperation("GET", "/document", OfDocument, documents.makeup),
        InspectorOperation("GET", "/webhooks", Question, record.webhooks),
        InspectorOperation("GET", "/letters", OfLetters, record.letters),
        InspectorOperation("POST", "/replay", SendAgain, record.replay),
        InspectorOperation("GET", "/quarantine", OfQuarantine, record.quarantine),
        InspectorOperation("GET", "/entry", OfEntry, record.entry),
        InspectorOperation("POST", "/discard", OfEntry, record.discard),
    ]


def build(door: Door, known: list[InspectorOperation]) -> ASGIApp:
    """Build an application to mount at ``PREFIX``."""

    async def page(request: Request) -> Response:
        if not (PAGE / "index.html").is_file():
            return PlainTextResponse("the inspector's page is not built: in a checkout, `python3 dev.py setup`\n", 503)
        return FileResponse(PAGE / ("index.html" if door.has_signed_in(request) else "door.html"))

    async def sign_in(request: Request) -> Response:
        said = from_body(SignIn, await read_body(request, LARGEST_BODY))
        session = await door.sign_in(request, said)
        return _with_cookie(request, session, int(SESSION_SECONDS))

    async def sign_out(request: Request) -> Response:
        door.check(request)
        return _with_cookie(request, "", 0)

    def _with_cookie(request: Request, value: str, seconds: int) -> Response:
        response = json_answer({"ok": True})
        response.set_cookie(
            door.key.cookie,
            value,
            max_age=seconds,
            path=request.scope.get("root_path") or "/",
            secure=door.is_secure(request),
            httponly=True,
            samesite="strict",
        )
        return response

    routes: list[BaseRoute] = [
        Route("/", answers(page), methods=["GET"]),
        Route("/api/sign-in", answers(sign_in), methods=["POST"]),
        Route("/api/sign-out", answers(sign_out), methods=["POST"]),
        *(Route(f"/api{each.path}", _handler(door, each), methods=[each.method]) for each in known),
        Mount("/door", Pages(PAGE / "door", check_dir=False)),
        Mount("/assets", _Assets(door)),
    ]
    app = Starlette(routes=routes, exception_handlers={404: _not_found, 405: _not_found})
    return _Sealed(app)


def _handler(door: Door, operation: InspectorOperation) -> RequestHandler:
    async def serve(request: Request) -> Response:
        door.check(request)
        if operation.method == "GET":
            asked = from_parameters(operation.asked, request.query_params.multi_items())
        else:
            if request.query_params:
                raise InvalidRequest("parameters belong into the body")
            asked = from_body(operation.asked, await read_body(request, LARGEST_BODY))
        return json_answer(await operation.handler(asked))

    handler = answers(serve)
    return while_connected(handler) if operation.method == "GET" else handler


class _Assets:
    """The files of the page, for those who have signed in."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._pages = Pages(PAGE / "assets", check_dir=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def serve(request: Request) -> Response:
            if not self._door.has_signed_in(request):
                raise AuthenticationFailed("sign in to the inspector first")
            try:
                return await self._pages.get_response(self._pages.get_path(scope), scope)
            except HTTPException:
                raise NotFound("no such file") from None

        response = await answers(serve)(Request(scope, receive))
        await response(scope, receive, send)


class _Sealed:
    """Adds the headers that keep the page's content to itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        await self._app(scope, receive, sealed)


async def _not_found(request: Request, error: Exception) -> Response:
    return await refuse(request, NotFound("no such endpoint"))
