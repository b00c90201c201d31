"""Collaboration inside a Starlette application, with hooks that decide who may do what.

uvicorn examples.mount_starlette:app
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from collab import Access, Collab, Hooks, Identity, Request, RoomKey, Settings


class Members(Hooks):
    """Everybody may read. A user (header ``x-user``) may write the documents that begin with their name."""

    async def authenticate(self, request: Request) -> Identity | None:
        """Trust the header. In production, let a proxy set it, or check a session cookie here."""
        return Identity("default", user_id=request.headers.get("x-user"))

    async def authorize(self, identity: Identity, key: RoomKey) -> Access:
        """Documents are named ``documents/<user>-…``."""
        mine = identity.user_id is not None and key.id.startswith(f"{identity.user_id}-")
        return Access.WRITE if mine else Access.READ


async def home(request: HttpRequest) -> PlainTextResponse:
    """A page of your own."""
    return PlainTextResponse("Editors connect to /collab/rooms\n")


collab = Collab(Settings.from_env(data="data/starlette"), hooks=Members())
app = Starlette(routes=[Route("/", home), Mount("/collab", collab)], lifespan=collab.lifespan)
