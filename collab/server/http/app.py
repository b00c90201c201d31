"""The HTTP application: health, metrics, and documents as JSON, text, rich text or Yjs updates."""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Callable, Hashable, Mapping
from hmac import compare_digest
from pathlib import Path
from typing import cast, get_args

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp

from collab.access.rules import Access
from collab.errors import AuthenticationFailed, InvalidRequest, PermissionDenied
from collab.hooks import Request
from collab.metrics import Metrics
from collab.names import RoomKey
from collab.richtext.names import RichForm, RichSchema, WriteFormat
from collab.rooms.handle import RoomHandle
from collab.server.admission import Admission, Admitted, own_path
from collab.server.config.settings import Settings
from collab.server.http.api.parameters import check_names
from collab.server.http.api.routes import PREFIX
from collab.server.http.cors import CrossOrigin
from collab.server.http.pages import Guarded, Pages
from collab.server.http.responses import RequestHandler, announced_size, answers, read_body, while_connected
from collab.server.http.traced import traced
from collab.tracing import Tracer
from collab.transport.unproven import trust

UPDATE_TYPE = "application/octet-stream"
RICH_TYPES: Mapping[RichForm, str] = {
    "markdown": "text/markdown",
    "html": "text/html",
    "prosemirror": "application/json",
    "delta": "application/json",
}
_WRITABLE: tuple[str, ...] = get_args(WriteFormat)
_SCHEMAS: tuple[str, ...] = get_args(RichSchema)
# a page of ours never shows a document as a page: what it says is its authors', not ours
_UNTRUSTED = {"Content-Security-Policy": "default-src 'none'; sandbox", "X-Content-Type-Options": "nosniff"}


def build(
    settings: Settings,
    admission: Admission,
    api: ASGIApp,
    *,
    handle: Callable[[RoomKey, Hashable], RoomHandle],
    metrics: Metrics,
    unready: Callable[[], str | None],
    remark: Callable[[], str | None] | None = None,
    inspector: ASGIApp | None = None,
    tracer: Tracer | None = None,
) -> ASGIApp:
    """Build the application that serves HTTP requests.

    ``handle`` returns the handle of a document for a caller, ``unready`` why this server should get no traffic, and
    ``remark`` what ``/readyz`` says of one that should. ``inspector``, if there is one, is served at ``/inspect/``.
    """

    async def healthz(request: HttpRequest) -> Response:
        # readable by every page: a client of a refused origin can explain the failure to its developer
        return PlainTextResponse("ok\n", headers={"Access-Control-Allow-Origin": "*"})

    async def readyz(request: HttpRequest) -> Response:
        if (reason := unready()) is not None:
            return PlainTextResponse(f"{reason}\n", 503)
        said = remark() if remark is not None else None
        return PlainTextResponse("ready\n" if said is None else f"ready, but {said}\n")

    async def measure(request: HttpRequest) -> Response:
        _check_metrics_secret(request, settings.metrics_secret)
        return Response(metrics.render(), media_type="text/plain; version=0.0.4")

    async def to_inspector(request: HttpRequest) -> Response:
        return RedirectResponse(f"{request.scope.get('root_path', '')}/inspect/")

    def served(handler: RequestHandler) -> RequestHandler:
        return handler if tracer is None else traced(handler, tracer, "/rooms/{name}")

    documents = _Documents(admission, handle, settings.max_message_bytes)
    routes: list[BaseRoute] = [
        Route("/healthz", answers(healthz)),
        Route("/readyz", answers(readyz)),
        Route("/metrics", answers(measure)),
        Route("/rooms/{name:path}", while_connected(answers(served(documents.read))), methods=["GET"]),
        Route("/rooms/{name:path}", answers(served(documents.write)), methods=["POST"]),
        Route("/rooms/{name:path}", answers(served(documents.replace)), methods=["PUT"]),
        Mount(PREFIX, api),
    ]
    if inspector is not None:
        routes += [Route("/inspect", answers(to_inspector)), Mount("/inspect", inspector)]
    if settings.pages is not None:
        routes.append(Mount("/", Pages(Path(settings.pages), single_page=settings.single_page)))
    shared = CrossOrigin(Starlette(routes=routes), [f"{PREFIX}/", "/rooms/"], admission.allowed_origins)
    return Guarded(shared, tuple(admission.allowed_hosts))


class _Documents:
    """Documents over HTTP: read, edited by an update, and their rich text replaced."""

    def __init__(
        self, admission: Admission, handle: Callable[[RoomKey, Hashable], RoomHandle], most_bytes: int
    ) -> None:
        self._admission = admission
        self._handle = handle
        self._most_bytes = most_bytes

    async def read(self, request: HttpRequest) -> Response:
        sender, admitted = await _admit(self._admission, request, Access.READ)
        check_names(request, ("format", "root", "sv"))
        self._admission.count_read(sender, admitted.identity)
        room = self._handle(admitted.key, admitted.identity.counted_as(sender.client))
        response = await self._shown(room, request)
        await self._admit_again(admitted, request, Access.READ)
        return response

    async def _shown(self, room: RoomHandle, request: HttpRequest) -> Response:
        match request.query_params.get("format") or _accepted(request.headers.get("accept", "")):
            case "json":
                return Response(await room.encoded_json(), media_type="application/json")
            case "text":
                return PlainTextResponse(await room.text(request.query_params.get("root")))
            case "markdown" | "html" | "prosemirror" | "delta" as form:
                shown = await room.rich(form, request.query_params.get("root"))
                return Response(shown, media_type=RICH_TYPES[form], headers=_UNTRUSTED)
            case "update":
                update = await room.update(_state_vector(request.query_params.get("sv")))
                return Response(update, media_type=UPDATE_TYPE)
            case other:
                raise InvalidRequest(
                    f"unknown format: {other}; must be one of json, text, update, {', '.join(RICH_TYPES)}"
                )

    async def _admit_again(self, admitted: Admitted, request: HttpRequest, wanted: Access) -> None:
        """Ask after a wait, for a slow body or a large document: rights may have changed meanwhile."""
        again = await self._admission.admit_identity(admitted.identity, request.path_params["name"])
        _require(again, wanted)

    async def write(self, request: HttpRequest) -> Response:
        limit = self._most_bytes
        sender, admitted = await _admit(self._admission, request, Access.WRITE)
        check_names(request, ())
        identity = admitted.identity
        self._admission.count_write(sender, identity, announced_size(request, limit))
        body = await read_body(request, limit)
        await self._admit_again(admitted, request, Access.WRITE)
        await self._handle(admitted.key, None).apply(body, identity.user_id, identity=identity)
        return Response(status_code=204)

    async def replace(self, request: HttpRequest) -> Response:
        limit = self._most_bytes
        sender, admitted = await _admit(self._admission, request, Access.WRITE)
        check_names(request, ("format", "root", "schema"))
        form, schema = request.query_params.get("format"), request.query_params.get("schema")
        if form not in _WRITABLE:
            raise InvalidRequest(f"format must be one of {', '.join(_WRITABLE)}")
        if schema is not None and schema not in _SCHEMAS:
            raise InvalidRequest(f"schema must be one of {', '.join(_SCHEMAS)}")
        identity = admitted.identity
        self._admission.count_write(sender, identity, announced_size(request, limit))
        try:
            content = (await read_body(request, limit)).decode()
        except UnicodeDecodeError:
            raise InvalidRequest("the body is not UTF-8") from None
        await self._admit_again(admitted, request, Access.WRITE)
        room = self._handle(admitted.key, identity.counted_as(sender.client))
        await room.set_rich(
            cast(WriteFormat, form),
            content,
            identity.user_id,
            root=request.query_params.get("root"),
            schema=cast(RichSchema | None, schema),
            identity=identity,
        )
        return Response(status_code=204)


def _check_metrics_secret(request: HttpRequest, secret: str | None) -> None:
    if secret is None:
        return
    scheme, _, shown = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not compare_digest(shown.strip().encode(), secret.encode()):
        raise AuthenticationFailed("/metrics asks for the metrics_secret of this server, as a bearer token")
    trust(request.scope)


async def _admit(admission: Admission, request: HttpRequest, wanted: Access) -> tuple[Request, Admitted]:
    sender = admission.read(request.scope)
    own_path(request.scope)
    admitted = await admission.admit(sender, request.path_params["name"])
    trust(request.scope)
    _require(admitted, wanted)
    return sender, admitted


def _require(admitted: Admitted, wanted: Access) -> None:
    if admitted.access < wanted:
        raise PermissionDenied("this identity may not do that")


def _accepted(accept: str) -> str:
    for kind, form in ((UPDATE_TYPE, "update"), ("text/plain", "text"), ("text/markdown", "markdown")):
        if accept.startswith(kind):
            return form
    return "json"


def _state_vector(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError as error:
        raise InvalidRequest("sv must be a state vector in base64url") from error
