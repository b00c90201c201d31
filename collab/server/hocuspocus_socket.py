"""The Hocuspocus protocol on a socket: several documents, each with a token of its own.

A document's messages wait, within limits, until its token is checked and its room is open.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol

from collab.access.identity import Access
from collab.errors import (
    AuthenticationFailed,
    CollabError,
    InternalError,
    InvalidRequest,
    PermissionDenied,
    RateLimitExceeded,
    SessionTimeout,
    TooLarge,
)
from collab.rooms.framing import HocuspocusFraming
from collab.rooms.registry import Registry
from collab.rooms.room import Room
from collab.rooms.session import Session
from collab.server.admission import Admitted
from collab.server.connection import Connection
from collab.wire import hocuspocus
from collab.wire.hocuspocus import split_address
from presence.lib0 import DecodeError

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

    async def admit(self, name: str, token: str | None) -> Admitted:
        """Who holds ``token`` (or that of the handshake), and what they may do in which room."""

    async def open(self, admitted: Admitted) -> tuple[Room, Admitted]:
        """The open room, and the same with the rights of now."""

    async def stateless(self, admitted: Admitted, payload: str) -> str | None:
        """The application's answer to a stateless message."""

    def enter(self, admitted: Admitted) -> None:
        """A client is about to join. Raises :class:`CollabError`."""

    def leave(self, admitted: Admitted) -> None:
        """A client that entered has left."""


@dataclass(slots=True)
class _Open:
    """A document that is open: its session, what it was opened with, and a check of its next token."""

    session: Session
    admitted: Admitted
    renewal: asyncio.Task[None] | None = None


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
        "_open",
        "_outbox_bytes",
        "_queued_bytes",
        "_queued_messages",
        "_registry",
        "_tasks",
        "_waiting",
    )

    def __init__(
        self,
        connection: Connection,
        registry: Registry,
        gatekeeper: Gatekeeper,
        *,
        limits: SocketLimits,
        outbox_bytes: int,
        now: float,
    ) -> None:
        self._connection = connection
        self._registry = registry
        self._gatekeeper = gatekeeper
        self._limits = limits
        self._outbox_bytes = outbox_bytes
        self._deadline: float | None = now + limits.token_seconds
        self._waiting: dict[str, _Waiting] = {}
        self._open: dict[str, _Open] = {}
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
        open_ = self._open.get(address)
        if open_ is not None:
            self._speak(address, open_.session, message, now)
            return
        waiting = self._waiting.get(address)
        if waiting is None:
            if len(self._waiting) + len(self._open) >= self._limits.documents:
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
                self._spawn(self._answer(address, self._open[address].admitted, payload))
            case hocuspocus.BroadcastStateless(payload=payload):
                if session.access >= Access.WRITE:
                    room.broadcast(payload, session)
            case hocuspocus.Token(token=token):
                open_ = self._open[address]
                if open_.renewal is not None:
                    open_.renewal.cancel()  # the newest token counts, and one check at a time
                open_.renewal = self._spawn(self._renew(address, token))
            case hocuspocus.Close():
                self._close(address, now)
            case hocuspocus.Ping() | hocuspocus.Pong():
                pass
            case _:
                room.receive(session, message, now)

    async def _admit(self, address: str, waiting: _Waiting, token: str) -> None:
        try:
            admitted = await self._gatekeeper.admit(split_address(address)[0], token)
            room, admitted = await self._gatekeeper.open(admitted)
            if self._waiting.get(address) is not waiting:
                return  # closed by the client meanwhile
            self._gatekeeper.enter(admitted)
        except CollabError as error:
            self._forget(address)
            if error.retryable:
                self._connection.close(error)
            else:
                self._connection.send(hocuspocus.permission_denied(address, error.message))
            return
        session = Session(
            admitted.identity,
            admitted.access,
            HocuspocusFraming(address),
            ready=lambda: self._connection.ready(session),
            close=lambda error: self._end(address, error),
            outbox_bytes=self._outbox_bytes,
        )
        self._deadline = None
        self._forget(address)
        self._open[address] = _Open(session, admitted)
        scope: hocuspocus.Scope = "read-write" if admitted.access >= Access.WRITE else "readonly"
        session.outbox.reply(hocuspocus.authenticated(address, scope))
        room.join(session)
        now = monotonic()
        try:
            for message in waiting.messages:
                if address in self._open:
                    self._speak(address, session, message, now)
        except CollabError as error:
            self._connection.close(error)
        except DecodeError as error:
            self._connection.close(InvalidRequest(str(error)))

    async def _answer(self, address: str, admitted: Admitted, payload: str) -> None:
        answer = await self._gatekeeper.stateless(admitted, payload)
        if answer is not None:
            self._connection.send(hocuspocus.stateless(address, answer))

    async def _renew(self, address: str, token: str) -> None:
        """A provider sent another token: rights and expiry are those of the new one from now on."""
        open_ = self._open.get(address)
        if open_ is None:
            return  # closed by the client meanwhile, as may happen below
        try:
            admitted = await self._gatekeeper.admit(split_address(address)[0], token)
            if admitted.key != open_.admitted.key or admitted.identity.user_id != open_.admitted.identity.user_id:
                raise PermissionDenied("a session cannot change its user")
        except CollabError as error:
            if self._open.get(address) is open_:
                self._end(address, error)
        else:
            open_.session.identity, open_.session.access = admitted.identity, admitted.access
            self._asked.discard(address)

    def _end(self, address: str, error: CollabError) -> None:
        """The room, or the clock, ends one document's session; the socket and its other documents go on."""
        if address not in self._open:
            return
        if error.retryable:
            self._connection.close(error)
        else:
            self._close(address, monotonic())
            self._connection.send(hocuspocus.permission_denied(address, error.message))

    def _close(self, address: str, now: float) -> None:
        open_ = self._open.pop(address)
        room = open_.session.room
        assert room is not None
        room.leave(open_.session, now)
        open_.session.detach()
        self._registry.released(room)
        self._gatekeeper.leave(open_.admitted)
        self._connection.send(hocuspocus.close(address, "closed"))

    def beat(self, now: float, wall: float) -> None:
        """End what has no valid token (any more)."""
        if self._deadline is not None and self._deadline <= now:
            self._connection.close(SessionTimeout("no valid token came in time"))
        for address, open_ in list(self._open.items()):
            expires_at = open_.session.identity.expires_at
            if expires_at is None:
                continue
            if expires_at <= wall:
                self._end(address, AuthenticationFailed("the token has expired"))
            elif expires_at - _ASK_AGAIN_SECONDS <= wall and address not in self._asked:
                self._asked.add(address)
                self._connection.send(hocuspocus.token_request(address))

    def admit_again(self) -> None:
        """Rights, or who is behind all documents, may have changed: check each of them anew."""
        for address, open_ in self._open.items():
            if open_.renewal is not None:
                open_.renewal.cancel()
            open_.renewal = self._spawn(self._renew(address, ""))

    def keep_alive(self) -> None:
        """Providers give a connection up when they hear nothing; an empty awareness update is a sound."""
        for address in self._open:
            self._connection.send(hocuspocus.heartbeat(address))
            break

    def left(self, now: float) -> None:
        """Take the client out of all its rooms."""
        for task in self._tasks:
            task.cancel()
        for address in list(self._open):
            self._close(address, now)

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
