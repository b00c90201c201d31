"""The application protocol on a socket: a session, and documents through the Hocuspocus protocol.

Text frames are JSON. Binary frames that begin with zero are MessagePack; all others belong to documents.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from math import inf
from secrets import randbelow
from time import monotonic

from collab.access.identity import Identity
from collab.access.price import Meter
from collab.errors import CollabError, InvalidRequest, TooLarge
from collab.hooks import Request
from collab.realtime.hub import Hub
from collab.realtime.listeners import call_later
from collab.realtime.session.session import RealtimeSession, SessionLimits
from collab.rooms.live.room import Room
from collab.rooms.registry import Registry
from collab.server.admission import Admission, Admitted
from collab.server.config.settings import Settings
from collab.server.sockets.connection import Client, Connection, SocketProtocol
from collab.server.sockets.documents import DocumentGatekeeper, DocumentPassing, SocketLimits
from collab.server.sockets.hocuspocus import HocuspocusSocket
from collab.tracing import Tracer
from collab.wire.realtime.encoding import MESSAGE_PACK, Frame, Misunderstood, decode_client
from collab.wire.realtime.messages import Hello


def session_limits(settings: Settings) -> SessionLimits:
    """Build the limits of a session from the server's settings."""
    return SessionLimits(
        subscriptions=settings.max_subscriptions,
        events_per_second=settings.max_events_per_second,
        writes_per_second=settings.writes_per_second,
        messages_per_second=settings.messages_per_second,
        bytes_per_second=settings.bytes_per_second,
        message_bytes=settings.max_message_bytes,
        outbox_bytes=settings.outbox_bytes,
        hello_seconds=settings.pre_auth_seconds,
        heartbeat_seconds=settings.heartbeat_seconds,
    )


class RealtimeSocket(SocketProtocol):
    """One client.

    ``documents`` is the server's gatekeeper for documents; their tokens are not checked again. The connection needs no
    bucket, because the session counts messages and refuses single requests before it ends.
    """

    __slots__ = ("_connection", "_documents", "_embedded", "_greeted", "_passing", "_registry", "_session", "_settings")

    def __init__(
        self,
        connection: Connection,
        request: Request,
        *,
        hub: Hub,
        admission: Admission,
        registry: Registry,
        documents: DocumentGatekeeper,
        settings: Settings,
        passing: DocumentPassing | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._passing = passing
        self._connection = connection
        self._registry = registry
        self._settings = settings
        self._session = RealtimeSession(
            connection.name,
            hub,
            _Door(admission, request, connection.meter),
            form="json",
            limits=session_limits(settings),
            ready=connection.wake,
            close=connection.close,
            clock=monotonic,
            later=call_later,
            spread=randbelow(1000) / 1000,
            meter=connection.meter,
            address=request.client,
            tracer=tracer,
            origin=connection.origin,
        )
        self._documents = _Documents(documents, admission, self._session)
        self._session.welcomed = self._welcomed
        self._session.rechecked = self._recheck
        self._embedded: HocuspocusSocket | None = None
        self._greeted = False

    def receive(self, data: bytes, now: float) -> None:
        """Process a binary message."""
        if data.startswith(MESSAGE_PACK):
            self._take(data, now)
            return
        self._session.count(len(data), now)
        if self._embedded is None:
            if not self._greeted:
                raise InvalidRequest("a session must begin with hello")
            self._embedded = HocuspocusSocket(
                self._connection,
                self._registry,
                self._documents,
                passing=self._passing,
                limits=SocketLimits(
                    documents=self._settings.max_documents_per_socket,
                    queued_bytes=self._settings.pre_auth_bytes,
                    queued_messages=self._settings.pre_auth_messages,
                    token_seconds=inf,  # the session has its own deadline
                ),
                outbox_bytes=self._settings.outbox_bytes,
                now=now,
            )
        self._embedded.receive(data, now)

    def refuse(self, head: bytes, error: TooLarge) -> None:
        """An oversized message ends its document, or the session."""
        if self._embedded is None or head.startswith(MESSAGE_PACK):
            raise error
        self._embedded.refuse(head, error)

    def receive_text(self, text: str, now: float) -> None:
        """Process a text message."""
        self._take(text, now)

    def _take(self, data: bytes | str, now: float) -> None:
        try:
            message = decode_client(data)
        except Misunderstood as error:
            self._session.misunderstood(error, now, len(data))
            return
        if isinstance(message, Hello) and not self._greeted:
            self._session.form = "json" if isinstance(data, str) else "msgpack"
            self._greeted = True
        self._session.receive(message, now, len(data))

    def drain(self) -> list[Frame]:
        """Return messages to send."""
        return self._session.drain()

    def farewell(self, error: CollabError) -> Frame:
        """Return the last message."""
        return self._session.farewell(error)

    def beat(self, now: float, wall: float) -> None:
        """End what has no valid credential."""
        try:
            self._session.beat(now, wall)
        except CollabError as error:
            self._connection.close(error)
            return
        if self._embedded is not None:
            self._embedded.beat(now, wall)

    def clients(self) -> Iterable[Client]:
        """The session, and those in its documents."""
        identity = self._session.identity
        if identity is not None:
            yield self._connection.client(identity, "realtime")
        if self._embedded is not None:
            yield from self._embedded.clients()

    def keep_alive(self) -> None:
        """Send a heartbeat."""
        self._session.keep_alive()
        if self._embedded is not None:
            self._embedded.keep_alive()

    def left(self, now: float) -> None:
        """The socket has closed."""
        if self._embedded is not None:
            self._embedded.left(now)
        self._session.left()

    def _welcomed(self) -> None:
        self._connection.trust()
        self._documents.welcomed.set()

    def _recheck(self) -> None:
        if self._embedded is not None:
            self._embedded.admit_again()


class _Door:
    """The server's checks, for a session."""

    __slots__ = ("_admission", "_meter", "_request")

    def __init__(self, admission: Admission, request: Request, meter: Meter) -> None:
        self._meter = meter
        self._admission = admission
        self._request = request

    async def admit(self, hello: Hello) -> Identity:
        return await self._admission.admit_session(self._request, hello)

    def enter(self, identity: Identity) -> None:
        self._admission.enter(identity)
        self._meter.payer = self._admission.payer(self._request, identity)

    def leave(self, identity: Identity) -> None:
        self._admission.leave(identity)


class _Documents:
    """The gatekeeper of a session's documents. The session's identity has already been checked."""

    __slots__ = ("_admission", "_documents", "_session", "welcomed")

    def __init__(self, documents: DocumentGatekeeper, admission: Admission, session: RealtimeSession) -> None:
        self._documents = documents
        self._admission = admission
        self._session = session
        self.welcomed = asyncio.Event()

    async def admit(self, name: str, token: str | None) -> Admitted:
        await self.welcomed.wait()
        identity = self._session.identity
        assert identity is not None
        return await self._admission.admit_identity(identity, name)

    async def open(self, admitted: Admitted) -> tuple[Room, Admitted]:
        return await self._documents.open(admitted)

    async def stateless(self, admitted: Admitted, payload: str) -> str | None:
        return await self._documents.stateless(admitted, payload)

    def enter(self, admitted: Admitted) -> None:
        self._documents.enter(admitted)
        self._session.follow(admitted.key)

    def leave(self, admitted: Admitted) -> None:
        self._documents.leave(admitted)
        self._session.unfollow(admitted.key)
