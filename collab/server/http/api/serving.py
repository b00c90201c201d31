"""The server as the API sees it, and the open event streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from starlette.requests import Request

from collab.access.identity import Identity
from collab.errors import Restarting
from collab.realtime.hub import Hub
from collab.server.admission import Admission
from collab.server.config.settings import Settings
from collab.server.http.api.stream import EventStream
from collab.server.http.responses import announced_size
from collab.server.rights import Rights
from collab.server.sessions import Sessions
from collab.server.sockets.connection import Client
from collab.server.sockets.realtime import session_limits
from collab.transport.unproven import trust
from collab.wire.realtime.values import AnyTarget


class Api:
    """What the operations of the HTTP API need of the server."""

    def __init__(
        self,
        hub: Hub,
        admission: Admission,
        rights: Rights,
        sessions: Sessions,
        settings: Settings,
        unready: Callable[[], str | None],
    ) -> None:
        self.hub = hub
        self.unready = unready
        self.sessions = sessions
        self.recognise = admission.recognise
        self.check_revoked = admission.check_revoked
        self.permissions_changed = rights.permissions_changed
        self._admission = admission
        self._settings = settings
        self._streams: dict[EventStream, str | None] = {}  # with the addresses of their clients
        self._draining = False

    @property
    def max_body_bytes(self) -> int:
        """Maximum size of a request body."""
        return self._settings.max_message_bytes

    async def identify(self, request: Request) -> tuple[Identity, str | None]:
        """Return the sender of a request, and its address. Raises :class:`collab.errors.CollabError`."""
        sender = self._admission.read(request.scope)
        identity = await self._admission.identify(sender)
        trust(request.scope)
        return identity, sender.client

    def count_write(self, request: Request, identity: Identity) -> None:
        """Count a write. Raises :class:`collab.errors.RateLimitExceeded`."""
        sender = self._admission.read(request.scope)
        self._admission.count_write(sender, identity, announced_size(request, self.max_body_bytes))

    def count_more_writes(self, request: Request, identity: Identity, count: int) -> None:
        """Count the writes of a request beyond its first one. Raises as :meth:`count_write`."""
        if count:
            self._admission.count_write(self._admission.read(request.scope), identity, 0, count)

    def count_read(self, request: Request, identity: Identity) -> None:
        """Count a read. Raises :class:`collab.errors.RateLimitExceeded`."""
        self._admission.count_read(self._admission.read(request.scope), identity)

    async def stream(self, request: Request, identity: Identity, target: AnyTarget) -> EventStream:
        """Open a subscription. It counts as a socket of its address, and as a session of its user.

        Raises :class:`collab.errors.CollabError`.
        """
        if self._draining:
            raise Restarting("the server is restarting")
        settings, admission = self._settings, self._admission
        sender = admission.read(request.scope)

        def enter() -> None:
            admission.connect(sender)
            try:
                admission.enter(identity)
            except BaseException:
                admission.disconnect(sender)
                raise
            self._streams[stream] = sender.client

        def leave() -> None:
            del self._streams[stream]
            admission.leave(identity)
            admission.disconnect(sender)

        stream = EventStream(
            self.hub,
            identity,
            limits=session_limits(settings),
            stall_seconds=settings.stall_seconds,
            enter=enter,
            leave=leave,
        )
        await stream.open(target)
        return stream

    def clients(self) -> Iterator[Client]:
        """The open streams."""
        for stream in list(self._streams):
            yield Client(stream.identity, "events", None, stream.name, self._streams[stream], stream.since, stream.end)

    def __len__(self) -> int:
        """Number of open streams."""
        return len(self._streams)

    def drain(self) -> None:
        """End every stream; clients reconnect later."""
        self._draining = True
        for stream in list(self._streams):
            stream.end(Restarting("the server is restarting"))
