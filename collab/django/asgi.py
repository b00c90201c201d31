"""One ASGI application: the server below its path, Django for the rest."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from django.apps import apps
from starlette.routing import Mount, Router
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from collab.django.apps import CollabConfig


def with_collab(django: Any) -> ASGIApp:
    """Return ``get_asgi_application()`` with the server beside it, which starts and stops with the ASGI server."""
    config = apps.get_app_config("collab")
    assert isinstance(config, CollabConfig)
    collab = config.make()

    @asynccontextmanager
    async def lifespan(app: object) -> AsyncIterator[None]:
        async with collab.lifespan(app):
            config.started(collab)
            try:
                yield
            finally:
                config.stopped()

    return Router([Mount(config.path, collab), Mount("/", _HttpOnly(django))], lifespan=lifespan)


class _HttpOnly:
    """Django cannot handle WebSockets: it answers one with a traceback in the log."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await WebSocketClose()(scope, receive, send)
        else:
            await self._app(scope, receive, send)
