"""The API's side of a server: who may ask, and which streams are open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import Request

from collab.access.identity import Identity
from collab.errors import Restarting
from collab.realtime.services import Services
from collab.server.answers import announced_size
from collab.server.api.routes import build
from collab.server.api.stream import EventStream
from collab.server.realtime_socket import session_limits
from collab.wire.realtime import AnyTarget

if TYPE_CHECKING:
    from collab.server.app import Collab


class Api:
    """The HTTP API of ``collab``; ``app`` is what serves it."""

    def __init__(self, collab: Collab) -> None:
        self._collab = collab
        self._streams: dict[EventStream, None] = {}
        self._draining = False
        self.app: Starlette = build(self)

    @property
    def services(self) -> Services:
        """What the operations are done with."""
        return self._collab.hub.services

    @property
    def max_body_bytes(self) -> int:
        """The limit of one request."""
        return self._collab.settings.max_message_bytes

    def unready(self) -> str | None:
        """Why there should be no traffic now; ``None`` if there may be."""
        return self._collab.unready()

    async def identify(self, request: Request) -> Identity:
        """Who sends a request. Raises :class:`collab.errors.CollabError`."""
        admission = self._collab.admission
        return await admission.identify(admission.read(request.scope))

    def count_write(self, request: Request, identity: Identity) -> None:
        """Count a write of somebody. Raises :class:`collab.errors.RateLimitExceeded`."""
        admission = self._collab.admission
        admission.count_write(admission.read(request.scope), identity, announced_size(request, self.max_body_bytes))

    async def permissions_changed(self, project: str, resource: str | None, user_id: str | None) -> None:
        """Hold everybody to the rights of now."""
        await self._collab.permissions_changed(project, resource=resource, user_id=user_id)

    async def stream(self, request: Request, identity: Identity, target: AnyTarget) -> EventStream:
        """A subscription that is in force. It counts as a socket of its address, and as a session of its user.

        Raises :class:`collab.errors.CollabError`.
        """
        if self._draining:
            raise Restarting("the server is restarting")
        settings, admission = self._collab.settings, self._collab.admission
        sender = admission.read(request.scope)

        def enter() -> None:
            admission.connect(sender)
            try:
                admission.enter(identity)
            except BaseException:
                admission.disconnect(sender)
                raise
            self._streams[stream] = None

        def leave() -> None:
            del self._streams[stream]
            admission.leave(identity)
            admission.disconnect(sender)

        stream = EventStream(
            self.services,
            identity,
            limits=session_limits(settings),
            stall_seconds=settings.stall_seconds,
            enter=enter,
            leave=leave,
        )
        await stream.open(target)
        return stream

    def __len__(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    def drain(self) -> None:
        """Send every stream away to come back later."""
        self._draining = True
        for stream in list(self._streams):
            stream.end(Restarting("the server is restarting"))
