"""Static pages, security headers, and the check of the ``Host`` header."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path, PurePath

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from collab.access.handshake import host_allowed

_DEFAULT_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    # restrict who may frame our pages; what they may load is for their authors to decide
    "Content-Security-Policy": "frame-ancestors 'self'; object-src 'none'; base-uri 'self'",
    "X-Frame-Options": "SAMEORIGIN",
}


class Pages(StaticFiles):
    """The files of a folder, except paths with a part that begins with a dot.

    ``single_page`` is for applications that route in the browser: a request for a page (it accepts ``text/html``)
    without a file gets index.html. A path whose last part contains a dot still gets 404 if there is no such file, so
    that a missing script is not served as a page.
    """

    def __init__(self, directory: Path, *, single_page: bool = False, check_dir: bool = True) -> None:
        super().__init__(directory=directory, html=True, check_dir=check_dir)
        self._single_page = single_page

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Serve one file, or 404."""
        parts = PurePath(path).parts
        if any(part.startswith(".") for part in parts):
            raise HTTPException(404)
        try:
            return await super().get_response(path, scope)
        except HTTPException as error:
            is_page = "." not in PurePath(path).name and "text/html" in Headers(scope=scope).get("accept", "")
            if error.status_code != 404 or not self._single_page or not is_page:
                raise
            return await super().get_response("index.html", scope)


class Guarded:
    """Wraps ``app``: allows only requests to ``hosts`` (any if empty), and adds security headers.

    After DNS rebinding a page still sends its own name in ``Host``. Load balancers send an address or, in HTTP/1.0,
    nothing; both are allowed. Headers that a response already has are kept.
    """

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _DEFAULT_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        app = self._app if self._allows(Headers(scope=scope).get("host")) else _REFUSED
        await app(scope, receive, guarded)

    def _allows(self, host: str | None) -> bool:
        return not self._hosts or host is None or host_allowed(host, self._hosts) or _is_address(host)


_REFUSED = PlainTextResponse("this server does not serve this host name\n", 403)


def _is_address(host: str) -> bool:
    bare = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0]
    try:
        ip_address(bare)
    except ValueError:
        return False
    return True
