"""The Hocuspocus protocol on a socket: several documents, each with a token of its own.

A document's messages wait, within limits, until its token is checked and its room is open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
import logging
from time import monotonic
from typing import Protocol

from collab.access.identity import Access, Identity
from collab.errors import (
    AuthenticationFailed,
    CollabError,
    InternalError,
    PermissionDenied,
    RateLimitExceeded,
    SessionTimeout,
    TooLarge,
)
from collab.names import RoomKey
from collab.rooms.framing import HocuspocusFraming
from collab.rooms.registry import Registry
from collab.rooms.room import Room
from collab.rooms.session import Session
from collab.server.connection import Connection
from collab.wire import hocuspocus

log = logging.getLogger(__name__)

_ASK_AGAIN_SECONDS = 30.0  # before a token ends, its provider is asked for the next one


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """What one socket may hold before and after its documents are open."""

    documents: int = 100
    queued_bytes: int = 5 * 1024 * 1024
    queued_messages: int = 1000
    token_seconds: float = 10.0


class Gatekeeper(Protocol):
    """Checks tokens and opens rooms, on behalf of a socket."""

    async def admit(self, name: str, token: str | None) -> tuple[Identity, RoomKey, Access]:
        """Who holds ``token``, which room ``name`` is for them, and what they may do there."""

    async def open(self, key: RoomKey) -> Room:
        """The open room."""

    async def stateless(self, identity: Identity, key: RoomKey, payload: str) -> str | None:
        """The application's answer to a stateless message."""

    def opened(self, identity: Identity, key: RoomKey) -> None:
        """A client has joined."""

    def closed(self, identity: Identity, key: RoomKey) -> None:
        """A client has left."""


@dataclass(slots=True)
class _Waiting:
    """A document whose token is not checked yet."""

    messages: list[hocuspocus.Message] = field(default_factory=list)
    task: asyncio.Task[None] | None = None


class HocuspocusSocket:
    """One client in any number of rooms."""

    __slots__ = (
        "_asked",
        "_connection",
        "_deadline",
        "_gatekeeper",
        "_limits",
        "_outbox_bytes",
        "_queued_bytes",
        "_queued_messages",
        "_registry",
        "_sessions",
        "_tasks",
        "_token",
        "_waiting",
    )

    def __init__(
        self,
        connection: Connection,
        registry: Registry,
        gatekeeper: Gatekeeper,
        *,
        token: str | None,
        limits: SocketLimits,
        outbox_bytes: int,
        now: float,
    ) -> None:
        self._connection = connection
        self._registry = registry
        self._gatekeeper = gatekeeper
        self._token = token  # of the handshake, for providers that are not given one
        self._limits = limits
        self._outbox_bytes = outbox_bytes
        self._deadline: float | None = now + limits.token_seconds
        self._waiting: dict[str, _Waiting] = {}
        self._sessions: dict[str, Session] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked: set[str] = set()  # sessions that were asked for their next token
        self._queued_bytes = 0
        self._queued_messages = 0

    def receive(self, data: bytes, now: float) -> None:
        """Pass one message to its room, or keep it until the room is open."""
        address, message = hocuspocus.decode(data)
        if isinstance(message, hocuspocus.Ping | hocuspocus.Pong):
            if isinstance(message, hocuspocus.Ping):
                self._connection.send(hocuspocus.PONG)
            return
        session = self._sessions.get(address)
        if session is not None:
            self._speak(address, session, message, now)
            return
        waiting = self._waiting.get(address)
        if waiting is None:
            if len(self._waiting) + len(self._sessions) >= self._limits.documents:
                raise RateLimitExceeded("too many documents on one socket", limit=self._limits.documents)
            waiting = self._waiting[address] = _Waiting()
        if isinstance(message, hocuspocus.Token) and waiting.task is None:
            waiting.task = self._spawn(self._admit(address, waiting, message.token))
        elif isinstance(message, hocuspocus.Close):
            self._forget(address)
        else:
            self._queued_bytes += len(data)
            self._queued_messages += 1
            if self._queued_bytes > self._limits.queued_bytes or self._queued_messages > self._limits.queued_messages:
                raise TooLarge("too much was sent before the token was checked")
            waiting.messages.append(message)

    def _speak(self, address: str, session: Session, message: hocuspocus.Message, now: float) -> None:
        room = session.room
        assert room is not None
        match message:
            case hocuspocus.Stateless(payload=payload):
                self._spawn(self._answer(session, room.key, payload))
            case hocuspocus.BroadcastStateless(payload=payload):
                if session.access >= Access.WRITE:
                    room.broadcast(payload, session)
            case hocuspocus.Token(token=token):
                self._spawn(self._renew(address, session, token))
            case hocuspocus.Close():
                self._close(address, session, now)
            case hocuspocus.Ping() | hocuspocus.Pong():
                pass
            case _:
                room.receive(session, message, now)

    async def _admit(self, address: str, waiting: _Waiting, token: str) -> None:
        framing = HocuspocusFraming(address)
        try:
            name = hocuspocus.split_address(address)[0]
            identity, key, access = await self._gatekeeper.admit(name, token or self._token)
            room = await self._gatekeeper.open(key)
        except CollabError as error:
            self._forget(address)
            if error.retryable:
                self._connection.close(error)
            else:
                self._connection.send(hocuspocus.permission_denied(address, error.message))
            return
        if self._waiting.get(address) is not waiting:
            return  # closed by the client meanwhile
        session = Session(
            identity,
            access,
            framing,
            ready=lambda: self._connection.ready(session),
            close=lambda error: self._end(address, session, error),
            outbox_bytes=self._outbox_bytes,
        )
        self._deadline = None
        self._forget(address)
        self._sessions[address] = session
        scope: hocuspocus.Scope = "read-write" if access >= Access.WRITE else "readonly"
        session.outbox.reply(hocuspocus.authenticated(address, scope))
        room.join(session)
        self._gatekeeper.opened(identity, key)
        now = monotonic()
        try:
            for message in waiting.messages:
                self._speak(address, session, message, now)
        except CollabError as error:
            self._connection.close(error)

    async def _answer(self, session: Session, key: RoomKey, payload: str) -> None:
        answer = await self._gatekeeper.stateless(session.identity, key, payload)
        if answer is not None:
            self._connection.send(hocuspocus.stateless(session.framing.address, answer))

    async def _renew(self, address: str, session: Session, token: str) -> None:
        """A provider sent another token: rights and expiry are those of the new one from now on."""
        try:
            identity, _, access = await self._gatekeeper.admit(hocuspocus.split_address(address)[0], token or self._token)
            if identity.project != session.identity.project or identity.user_id != session.identity.user_id:
                raise PermissionDenied("a session cannot change its user")
        except CollabError as error:
            self._end(address, session, error)
        else:
            session.identity, session.access = identity, access
            self._asked.discard(address)

    def _end(self, address: str, session: Session, error: CollabError) -> None:
        """The room, or the clock, ends one document's session; the socket and its other documents go on."""
        if self._sessions.get(address) is session:
            if error.retryable:
                self._connection.close(error)
            else:
                self._close(address, session, monotonic())
                self._connection.send(hocuspocus.permission_denied(address, error.message))

    def _close(self, address: str, session: Session, now: float) -> None:
        if self._sessions.pop(address, None) is not session or session.room is None:
            return
        room = session.room
        room.leave(session, now)
        self._registry.released(room)
        self._gatekeeper.closed(session.identity, room.key)
        self._connection.send(hocuspocus.close(address, "closed"))

    def beat(self, now: float, wall: float) -> None:
        """End what has no valid token (any more)."""
        if self._deadline is not None and self._deadline <= now:
            self._connection.close(SessionTimeout("no valid token came in time"))
        for address, session in list(self._sessions.items()):
            expires_at = session.identity.expires_at
            if expires_at is None:
                continue
            if expires_at <= wall:
                self._end(address, session, AuthenticationFailed("the token has expired"))
            elif expires_at - _ASK_AGAIN_SECONDS <= wall and address not in self._asked:
                self._asked.add(address)
                self._connection.send(hocuspocus.token_request(address))

    def keep_alive(self) -> None:
        """Providers give a connection up when they hear nothing; an empty awareness update is a sound."""
        for address in self._sessions:
            self._connection.send(hocuspocus.heartbeat(address))
            break

    def left(self, now: float) -> None:
        """Take the client out of all its rooms."""
        for task in self._tasks:
            task.cancel()
        for address, session in list(self._sessions.items()):
            self._close(address, session, now)

    def _forget(self, address: str) -> None:
        waiting = self._waiting.pop(address, None)
        if waiting is not None and not self._waiting:
            self._queued_bytes = self._queued_messages = 0

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a socket's work failed", exc_info=error)
            self._connection.close(InternalError("a message could not be handled"))
