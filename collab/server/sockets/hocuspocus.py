"""The Hocuspocus protocol on a socket: several documents, each with its own token.

A document's messages are queued, within limits, until its token is checked and its room is open. An error of one
document ends or reopens that document; the socket and its other documents continue.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from math import inf
from time import monotonic

from collab.access.rules import Access
from collab.errors import (
    AuthenticationFailed,
    CollabError,
    Elsewhere,
    InternalError,
    InvalidRequest,
    PermissionDenied,
    RateLimitExceeded,
    Restarting,
    SessionTimeout,
    TooLarge,
)
from collab.rooms.live.framing import HocuspocusFraming
from collab.rooms.live.room import Room
from collab.rooms.live.session import Session
from collab.rooms.registry import Registry
from collab.server.admission import Admitted
from collab.server.sockets.connection import Client, Connection, SocketProtocol
from collab.server.sockets.documents import DocumentGatekeeper, DocumentPassing, SocketLimits
from collab.server.sockets.passed import PassedDocuments
from collab.tasks import BackgroundTasks
from collab.wire import hocuspocus, yjs
from collab.wire.hocuspocus import split_address
from collab.wire.yjs import AwarenessUpdate
from presence.lib0 import DecodeError

log = logging.getLogger(__name__)

_ASK_AGAIN_SECONDS = 30.0  # before a token expires, ask its provider for the next one
_FIRST_RETRY_SECONDS = 1.0  # delay before a temporarily unavailable document is reopened
_LAST_RETRY_SECONDS = 15.0
_FIND_PAUSE_SECONDS = 0.2
_ENDS = 5  # permanent ends of one document on one socket after which its tokens are refused, with a delay
_PACE_SECONDS = 10.0
_DOUBT_SECONDS = 5.0  # time for a provider to answer after a close that may be another provider's


@dataclass(slots=True)
class _Open:
    """An open document: its session, its admission, and the check of its next token."""

    room: Room
    session: Session
    admitted: Admitted
    token: str
    counted: int = 0  # edits that its provider has counted as unsaved, acknowledged or not
    doubted_until: float = inf  # a provider sent a close; another one must answer until then
    renewal: asyncio.Task[None] | None = None

    @property
    def unsaved(self) -> int:
        """Edits that its provider still counts as unsaved."""
        return self.counted - self.session.outbox.acknowledged

    def latest(self) -> Room:
        """Its room, or the room that replaced it."""
        self.room = self.room.latest
        return self.room


@dataclass(slots=True)
class _Waiting:
    """A document whose token is not checked yet, or that is temporarily unavailable.

    ``left_out`` counts edits beyond the queue's limit; the client is asked for them later. ``again``: it was open on
    this socket and the server is reopening it, without involving its provider. ``doubted``: a provider sent a close.
    """

    messages: list[hocuspocus.Message] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)  # the same as they came, if they may have to be passed on
    task: asyncio.Task[None] | None = None
    verified: bool = False
    again: bool = False
    doubted: bool = False
    left_out: int = 0
    unsaved: int = 0  # edits from before a reopening that the provider still counts


class HocuspocusSocket(SocketProtocol):
    """One client in any number of rooms."""

    __slots__ = (
        "_asked",
        "_connection",
        "_deadline",
        "_ends",
        "_gatekeeper",
        "_limits",
        "_open",
        "_outbox_bytes",
        "_passed",
        "_queued_bytes",
        "_queued_messages",
        "_registry",
        "_tasks",
        "_waiting",
        "_withdrawn",
    )

    def __init__(
        self,
        connection: Connection,
        registry: Registry,
        gatekeeper: DocumentGatekeeper,
        *,
        limits: SocketLimits,
        outbox_bytes: int,
        now: float,
        passing: DocumentPassing | None = None,
    ) -> None:
        self._connection = connection
        self._registry = registry
        self._gatekeeper = gatekeeper
        self._limits = limits
        self._outbox_bytes = outbox_bytes
        self._deadline: float | None = now + limits.token_seconds
        self._waiting: dict[str, _Waiting] = {}
        self._open: dict[str, _Open] = {}
        self._tasks = BackgroundTasks(partial(_task_failed, connection))
        self._passed = PassedDocuments(
            connection,
            gatekeeper,
            passing,
            renew=lambda address: self._tasks.spawn(self._renew_passed(address)),
            ended=self._ended,
        )
        self._ends: dict[str, int] = {}  # number of permanent ends of each document
        self._withdrawn: dict[str, tuple[str, int]] = {}  # closed by a provider: token, edits that are not acknowledged
        self._asked: set[str] = set()  # sessions that were asked for their next token
        self._queued_bytes = 0
        self._queued_messages = 0

    def receive(self, data: bytes, now: float) -> None:
        """Pass one message to its room, or queue it until the room is open."""
        if self._passed and self._passed.take(data):
            return
        try:
            address, message = hocuspocus.decode(data)
        except DecodeError as error:
            address = hocuspocus.address_of(data)
            if address not in self._open:
                raise
            self._end(address, InvalidRequest(str(error)))
            return
        if isinstance(message, hocuspocus.Ping | hocuspocus.Pong):
            if isinstance(message, hocuspocus.Ping):
                self._connection.send(hocuspocus.PONG)
            return
        open_ = self._open.get(address)
        if open_ is not None:
            open_.doubted_until = inf
            self._speak(address, message, now)
            return
        waiting = self._waiting.get(address)
        if waiting is None:
            if address in self._ends and not isinstance(message, hocuspocus.Token):
                return  # its provider keeps sending until the application destroys it
            if len(self._waiting) + len(self._open) + len(self._passed) >= self._limits.documents:
                raise RateLimitExceeded("too many documents on one socket", limit=self._limits.documents)
            withdrawn, passed = self._withdrawn.pop(address, None), self._passed.returned(address)
            goes_on = not isinstance(message, hocuspocus.Token | hocuspocus.Close)
            if withdrawn is not None and goes_on:
                self._open_again(address, *withdrawn)
                self._keep(self._waiting[address], message, data)
                return
            waiting = self._waiting[address] = _Waiting()
            if passed is not None and goes_on:  # to its owner it is a new document, or the one that it doubts
                waiting.task = self._tasks.spawn(self._admit(address, waiting, passed))
        if isinstance(message, hocuspocus.Token) and waiting.task is None:
            waiting.task = self._tasks.spawn(self._admit(address, waiting, message.token))
        elif isinstance(message, hocuspocus.Close):
            if waiting.task is None:
                self._forget(address)
            else:
                waiting.doubted = True
        else:
            self._keep(waiting, message, data)

    def refuse(self, head: bytes, error: TooLarge) -> None:
        """End only the document that an oversized message is about. Oversized awareness is dropped."""
        address, kind = hocuspocus.read_head(head)
        if kind == hocuspocus.AWARENESS:
            return
        if address in self._open:
            self._end(address, error)
        elif address in self._passed:
            self._passed.close(address)
            self._close_document(address, error)
        elif address in self._waiting:
            self._deny(address, error)
        elif address not in self._ends:
            raise error

    def _keep(self, waiting: _Waiting, message: hocuspocus.Message, data: bytes) -> None:
        """Queue a message until its document is open."""
        size = len(data)
        if (
            self._queued_bytes + size > self._limits.queued_bytes
            or self._queued_messages + 1 > self._limits.queued_messages
        ):
            if not waiting.verified:
                raise TooLarge("too many bytes before the token was checked")
            waiting.left_out += isinstance(message, yjs.Update)
            return
        self._queued_bytes += size
        self._queued_messages += 1
        waiting.messages.append(message)
        if self._passed.possible:
            waiting.frames.append(data)

    def _speak(self, address: str, message: hocuspocus.Message, now: float) -> None:
        """Pass a message to its room. Errors end this document only."""
        try:
            self._pass_on(address, self._open[address], message, now)
        except CollabError as error:
            self._end(address, error)
        except DecodeError as error:
            self._end(address, InvalidRequest(str(error)))
        except Exception:
            log.exception("could not handle a message")
            self._end(address, InternalError("could not handle a message"))

    def _pass_on(self, address: str, open_: _Open, message: hocuspocus.Message, now: float) -> None:
        room, session = open_.latest(), open_.session
        match message:
            case hocuspocus.Stateless(payload=payload):
                self._tasks.spawn(self._answer(address, open_.admitted, payload))
            case hocuspocus.BroadcastStateless(payload=payload):
                if session.access >= Access.WRITE:
                    room.broadcast(payload, session)
            case hocuspocus.Token(token=token):
                open_.token = token
                if open_.renewal is not None:
                    open_.renewal.cancel()  # only the newest token counts; one check at a time
                open_.renewal = self._tasks.spawn(self._renew(address, token))
            case hocuspocus.Close():
                # Perhaps from another provider that was destroyed before it got an answer: its close was queued in the
                # client. If any provider continues to send messages for the document, it is reopened.
                self._withdrawn[address] = open_.token, open_.unsaved
                if len(self._withdrawn) > self._limits.documents:
                    del self._withdrawn[next(iter(self._withdrawn))]
                self._leave(address, now)
            case hocuspocus.Ping() | hocuspocus.Pong():
                pass
            case _:
                self._open[address].counted += isinstance(message, yjs.Update)
                room.receive(session, message, now)

    async def _admit(self, address: str, waiting: _Waiting, token: str, delay: float = 0.0) -> None:
        """Open a document. Temporary errors are retried here, because a stock provider does not reopen one document."""
        pause = _FIRST_RETRY_SECONDS
        if delay:
            await asyncio.sleep(delay)
        if self._ends.get(address, 0) >= _ENDS:
            await asyncio.sleep(_PACE_SECONDS)
            self._deny(address, PermissionDenied("this document was closed too often on this connection"))
            return
        while True:
            try:
                admitted = await self._gatekeeper.admit(split_address(address)[0], token)
                waiting.verified = True
                self._deadline = None
                room, admitted = await self._gatekeeper.open(admitted)
                if self._waiting.get(address) is not waiting:
                    return  # the client closed it meanwhile
                self._gatekeeper.enter(admitted)
                break
            except Restarting as error:
                self._connection.close(error)
                return
            except Elsewhere as elsewhere:
                if await self._hand_over(elsewhere.nid, address, waiting, admitted, token):
                    return
                await asyncio.sleep(_FIND_PAUSE_SECONDS)
                continue
            except CollabError as error:
                if self._waiting.get(address) is not waiting:
                    return
                if not error.retryable:
                    self._deny(address, error)
                    return
                self._note(address, None, error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_RETRY_SECONDS)
        session = Session(
            admitted.identity,
            admitted.access,
            HocuspocusFraming(address),
            ready=lambda: self._connection.ready(session),
            close=lambda error: self._end(address, error),
            outbox_bytes=self._outbox_bytes,
        )
        session.returns = waiting.again
        session.throttle = self._connection
        session.who = str(self._connection.meter.payer)
        session.origin = self._connection.origin
        self._connection.trust()
        self._forget(address)
        # A provider counts the opening of a document as unsaved, too. After a reopening by the server it counts on.
        counted = waiting.left_out + (waiting.unsaved if waiting.again else 1)
        self._open[address] = _Open(room, session, admitted, token, counted)
        if waiting.doubted:
            self._open[address].doubted_until = monotonic() + _DOUBT_SECONDS
        scope: hocuspocus.Scope = "read-write" if admitted.access >= Access.WRITE else "readonly"
        session.early = counted - 1  # the answer to our question acknowledges one by itself
        session.outbox.reply(
            hocuspocus.query_awareness(address) if waiting.again else hocuspocus.authenticated(address, scope)
        )
        self._registry.edits.watch(session, room)
        room.join(session)
        if waiting.doubted:
            session.outbox.reply(hocuspocus.query_awareness(address))
        now = monotonic()
        for message in waiting.messages:
            if address in self._open and not (waiting.doubted and isinstance(message, AwarenessUpdate)):
                self._speak(address, message, now)

    async def _hand_over(self, nid: int, address: str, waiting: _Waiting, admitted: Admitted, token: str) -> bool:
        """Have a document served by another node. Returns ``False`` if its owner must be found again."""
        if waiting.again or waiting.left_out:  # its provider tells everything once more when it connects again
            self._connection.close(Restarting("another server has this document"))
            return True
        try:
            done = await self._passed.hand_over(
                nid, address, admitted, token, waiting.frames, lambda: self._waiting.get(address) is waiting
            )
        except CollabError as error:
            if not error.retryable:
                self._deny(address, error)
                return True
            self._note(address, None, error)
            await asyncio.sleep(_FIRST_RETRY_SECONDS)
            return False
        if done and self._waiting.get(address) is waiting:
            self._connection.trust()
            self._forget(address)
            if waiting.doubted:
                self._passed.withdraw(address)
        return done

    async def _answer(self, address: str, admitted: Admitted, payload: str) -> None:
        answer = await self._gatekeeper.stateless(admitted, payload)
        if answer is not None:
            self._connection.send(hocuspocus.stateless(address, answer))

    async def _renew(self, address: str, token: str) -> None:
        """A provider sent another token: from now on its rights and expiry apply."""
        open_ = self._open.get(address)
        if open_ is None:
            return  # the client closed it meanwhile; the same can happen below
        session = open_.session
        try:
            while True:
                check = session.begin_check()
                admitted = await self._gatekeeper.admit(split_address(address)[0], token)
                if admitted.key != open_.admitted.key or admitted.identity.user_id != open_.admitted.identity.user_id:
                    raise PermissionDenied("a session cannot change its user")
                _, admitted = await self._gatekeeper.open(admitted)  # rights may have changed meanwhile
                is_new = session.identity != admitted.identity
                session.identity = admitted.identity
                # a check that began later may have asked for the previous identity
                if session.decide(check, admitted.access) or not is_new:
                    break
        except CollabError as error:
            if self._open.get(address) is open_:
                self._end(address, error)
        else:
            self._registry.edits.watch(session, open_.latest())
            self._asked.discard(address)

    def _end(self, address: str, error: CollabError) -> None:
        """One document's session ends, because of its room or a deadline; the socket and its other documents continue.

        After a temporary error the server reopens the document: its provider only sees a pause.
        """
        open_ = self._open.get(address)
        if open_ is None:
            return
        if isinstance(error, Restarting):
            self._connection.close(error)
            return
        self._note(address, open_.admitted, error)
        if error.retryable:
            self._leave(address, monotonic())
            self._open_again(address, open_.token, open_.unsaved, _FIRST_RETRY_SECONDS)
        else:
            self._leave(address, monotonic())
            self._close_document(address, error)

    def _close_document(self, address: str, error: CollabError) -> None:
        """Tell a provider that its document is closed for good."""
        self._ended(address, 1)
        self._connection.send(hocuspocus.close(address, _reason(error)))
        self._connection.send(hocuspocus.permission_denied(address, _reason(error)))

    def _open_again(self, address: str, token: str, unsaved: int, delay: float = 0.0) -> None:
        """Reopen a document: send all of it to its provider, and ask for the provider's state."""
        waiting = _Waiting([yjs.SyncStep1(b"\0")], verified=True, again=True, unsaved=unsaved)
        self._waiting[address] = waiting
        waiting.task = self._tasks.spawn(self._admit(address, waiting, token, delay))

    def _ended(self, address: str, times: int) -> None:
        self._ends[address] = self._ends.pop(address, 0) + times
        if len(self._ends) > self._limits.documents:
            del self._ends[next(iter(self._ends))]

    def _deny(self, address: str, error: CollabError) -> None:
        """Refuse to open a document."""
        self._forget(address)
        self._ended(address, 0)
        self._note(address, None, error)
        self._connection.send(hocuspocus.permission_denied(address, _reason(error)))

    def _note(self, address: str, admitted: Admitted | None, error: CollabError) -> None:
        place = str(admitted.key) if admitted is not None else split_address(address)[0][:200]
        user = admitted.identity.user_id if admitted is not None else None
        project = admitted.key.project if admitted is not None else self._connection.meter.payer.project
        self._registry.refusals.note("document", place, user, error.message, project)

    def _leave(self, address: str, now: float) -> None:
        open_ = self._open.pop(address)
        open_.renewal = None  # if cancelled, it refers to its own variables, so to `open_`
        room = open_.latest()
        room.leave(open_.session, now)
        open_.session.detach()
        self._registry.released(room)
        self._gatekeeper.leave(open_.admitted)

    def beat(self, now: float, wall: float) -> None:
        """End documents without a valid token."""
        if self._deadline is not None and self._deadline <= now:
            self._connection.close(SessionTimeout("no valid token arrived in time"))
        for address, open_ in list(self._open.items()):
            if open_.doubted_until <= now:
                self._leave(address, now)
                continue
            expires_at = open_.session.identity.expires_at
            if expires_at is None:
                continue
            if expires_at <= wall:
                self._end(address, AuthenticationFailed("the token has expired"))
            elif expires_at - _ASK_AGAIN_SECONDS <= wall and address not in self._asked:
                self._asked.add(address)
                self._connection.send(hocuspocus.token_request(address))

    def admit_again(self) -> None:
        """Rights, or the session's identity, may have changed: check all documents again."""
        for address, open_ in self._open.items():
            if open_.renewal is not None:
                open_.renewal.cancel()
            open_.renewal = self._tasks.spawn(self._renew(address, ""))
        for address in self._passed:
            self._tasks.spawn(self._renew_passed(address))

    async def _renew_passed(self, address: str) -> None:
        try:
            await self._passed.renew(address)
        except CollabError as error:
            self._passed.close(address)
            self._close_document(address, error)

    def clients(self) -> Iterable[Client]:
        """One session for each open document."""
        for open_ in list(self._open.values()):
            session, document = open_.session, open_.admitted.key.name
            yield self._connection.client(session.identity, "hocuspocus", document, session.close)

    def keep_alive(self) -> None:
        """Send an empty awareness update: providers close a connection that is silent."""
        for address in self._open:
            self._connection.send(hocuspocus.heartbeat(address))
            break

    def left(self, now: float) -> None:
        """Remove the client from all its rooms."""
        self._tasks.cancel()
        for address in list(self._waiting):
            self._forget(address)
        for address in list(self._open):
            self._leave(address, now)
        self._passed.left()

    def _forget(self, address: str) -> None:
        waiting = self._waiting.pop(address, None)
        if waiting is None:
            return
        waiting.task = None  # if cancelled, it refers to its own variables, so to `waiting`
        if not self._waiting:
            self._queued_bytes = self._queued_messages = 0


def _task_failed(connection: Connection, error: BaseException) -> None:
    log.error("a background task of a socket failed", exc_info=error)
    connection.close(InternalError("could not handle a message"))


def _reason(error: CollabError) -> str:
    """The protocol has only one kind of refusal, so the reason begins with the error code."""
    return f"{error.code}: {error.message}"
