"""One client of the application protocol: takes its messages, and decides what it is sent and when.

It knows no socket. What waits is work on behalf of a request, of which so much is under way at once.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from collab.access.identity import Identity
from collab.access.limits import TokenBucket
from collab.errors import (
    AuthenticationFailed,
    CollabError,
    InternalError,
    InvalidRequest,
    RateLimitExceeded,
    SessionTimeout,
)
from collab.names import RoomKey
from collab.realtime.channels import Channels
from collab.realtime.entity_subscriptions import Seen
from collab.realtime.jobs import Jobs
from collab.realtime.listeners import Later, Timer
from collab.realtime.outbox import Frame, Outbox
from collab.realtime.reads import Caller
from collab.realtime.requests import SUBSCRIPTIONS, Writes, answer, lane_of
from collab.realtime.services import Close, Services
from collab.realtime.subscription import Context
from collab.realtime.subscriptions import Subscriptions
from collab.wire import realtime
from collab.wire.realtime import Asked, ClientMessage, Error, Failure, Format, Hello, Misunderstood, Reply, Welcome

log = logging.getLogger(__name__)

MOST_REFUSED = 1000
"""Requests in a row over the limits, after which the session ends."""
RECHECK_SECONDS = 1.0
"""Within which rights are checked anew after they have changed; sessions spread over it."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What one session may do. Rates are a second, 0 is no limit."""

    subscriptions: int = 1000
    events_per_second: int = 1000
    writes_per_second: float = 500.0
    messages_per_second: float = 2000.0
    bytes_per_second: float = 16.0 * 1024 * 1024
    message_bytes: int = 16 * 1024 * 1024
    outbox_bytes: int = 1024 * 1024
    requests_at_once: int = 16
    requests_waiting: int = 1000
    hello_seconds: float = 10.0
    heartbeat_seconds: float = 15.0


class Gatekeeper(Protocol):
    """Checks credentials on behalf of a session."""

    async def admit(self, hello: Hello) -> Identity:
        """Whose credential this is. Raises :class:`CollabError`."""

    def enter(self, identity: Identity) -> None:
        """The session begins: count it. Raises :class:`CollabError`; else :meth:`leave` follows."""

    def leave(self, identity: Identity) -> None:
        """It has ended."""


class RealtimeSession:
    """``ready`` is called when :meth:`drain` would give something, ``close`` to end the connection.

    ``name`` is unlike that of any other session. ``clock`` is monotonic; ``spread`` is a number from 0 to 1 that
    tells sessions apart.
    """

    def __init__(
        self,
        name: str,
        services: Services,
        gatekeeper: Gatekeeper,
        *,
        form: Format,
        limits: SessionLimits,
        ready: Callable[[], None],
        close: Callable[[CollabError], None],
        clock: Callable[[], float],
        later: Later,
        spread: float = 0.0,
    ) -> None:
        self.name = name
        self.form: Format = form
        self.identity: Identity | None = None
        self._services = services
        self._gatekeeper = gatekeeper
        self._limits = limits
        self._close = close
        self._later = later
        self._spread = spread
        self._deadline: float | None = clock() + limits.hello_seconds
        self._greeted = False
        self._ended = False
        self._entered: Identity | None = None
        self._outbox = Outbox(ready, clock=clock, later=later, limit=limits.outbox_bytes)
        self._jobs = Jobs(limits.requests_at_once, limits.requests_waiting, max(limits.message_bytes, 1024 * 1024))
        self._jobs.pause(True)  # until the client is welcome
        self._messages = TokenBucket(limits.messages_per_second, limits.bytes_per_second)
        self._writes = TokenBucket(limits.writes_per_second, 0)
        self._refused = 0
        self._subscriptions = Subscriptions(limits.subscriptions)
        self._context: Context | None = None
        self._closers: list[Close] = []
        self._recheck: Timer | None = None
        self.rechecked: Callable[[], None] = _nothing
        """Called when rights were checked anew, for what else is open on the connection."""
        self.welcomed: Callable[[], None] = _nothing
        """Called when the session has begun."""

    # what comes in

    def receive(self, message: ClientMessage, now: float, size: int = 0) -> None:
        """Take one message of ``size`` bytes. Raises :class:`CollabError` to end the session."""
        if self._ended:
            return
        if isinstance(message, Hello):
            self._greet(message)
            return
        if not self._greeted:
            raise InvalidRequest("a session begins with hello")
        if not self._messages.take(size, now):
            self._refuse(message, self._messages)
        elif isinstance(message, realtime.Ping):
            self._outbox.reply(self._encode(realtime.Pong()))
        elif isinstance(message, Writes) and not self._writes.take(0, now):
            self._refuse(message, self._writes)
        elif isinstance(message, Asked):
            self._refused = 0
            self._ask(message, size)

    def misunderstood(self, error: Misunderstood, now: float, size: int = 0) -> None:
        """The client has sent something that is no message. Raises ``error`` if it is no request either."""
        if error.id is None or not self._greeted:
            raise error
        self.count(size, now)
        self._fail(error.id, error)

    def count(self, size: int, now: float) -> None:
        """Count a message that another protocol on this connection takes. Raises :class:`RateLimitExceeded`."""
        if not self._messages.take(size, now):
            raise RateLimitExceeded("too many messages")

    def follow(self, key: RoomKey) -> None:
        """A document is open on this connection: its channels are listened to, until :meth:`unfollow`."""
        if self._context is not None:
            self._context.channels.follow(key)

    def unfollow(self, key: RoomKey) -> None:
        """It is closed."""
        if self._context is not None:
            self._context.channels.unfollow(key)

    def _greet(self, hello: Hello) -> None:
        if self._greeted:
            raise InvalidRequest("hello was said already")
        if hello.protocol != realtime.VERSION:
            raise InvalidRequest("this version of the protocol is not spoken here", versions=[realtime.VERSION])
        self._greeted = True
        hellos = Jobs(at_once=1)
        hellos.add(lambda: self._welcome(hello))
        self._closers.append(hellos.stop)

    async def _welcome(self, hello: Hello) -> None:
        try:
            identity = await self._gatekeeper.admit(hello)
            if self._ended:
                return
            self._gatekeeper.enter(identity)
        except CollabError as error:
            self._close(error)
            return
        except Exception:
            log.exception("a session could not be checked")
            self._close(InternalError("the session could not be checked"))
            return
        self.identity = self._entered = identity
        self._deadline = None
        limits = self._limits
        events = _least(limits.events_per_second, hello.max_events_per_second)
        subscriptions = _least(limits.subscriptions, hello.max_subscriptions)
        self._outbox.limit_rate(events)
        self._subscriptions = Subscriptions(subscriptions)
        services = self._services
        self._context = Context(
            services,
            self._outbox,
            Channels(identity),
            self.form,
            caller=self._caller,
            follower=self,
            ended=self._subscription_ended,
            run=lambda work: self._run(work),
        )
        services.analytics.entered(identity)
        self._closers.append(
            services.system.subscribe(
                identity.project, "permissions_changed", self._permissions_changed, user_id=identity.user_id
            )
        )
        self._outbox.reply(
            self._encode(
                Welcome(
                    protocol=realtime.VERSION,
                    project_id=identity.project,
                    user_id=identity.user_id,
                    session=self.name,
                    cursor=services.entities.feed.cursor(services.entities.feed.position),
                    heartbeat_seconds=limits.heartbeat_seconds,
                    limits=realtime.Limits(
                        max_subscriptions=subscriptions,
                        max_events_per_second=events,
                        max_message_bytes=limits.message_bytes,
                    ),
                )
            )
        )
        self._jobs.pause(False)
        self.welcomed()

    def _refuse(self, message: ClientMessage, bucket: TokenBucket) -> None:
        self._refused += 1
        if not isinstance(message, Asked) or self._refused > MOST_REFUSED:
            raise RateLimitExceeded("too many messages")
        wait = round(bucket.wait, 3)
        self._fail(message.id, RateLimitExceeded("too many requests", retryAfter=max(wait, 0.001)))

    # requests

    def _ask(self, message: Asked, size: int) -> None:
        try:
            write = isinstance(message, Writes)
            # what is subscribed to before a write is told of it
            after = SUBSCRIPTIONS if write else None
            self._jobs.add(lambda: self._answer(message), lane=lane_of(message), after=after, size=size, finish=write)
        except RateLimitExceeded as error:
            error.details["retryAfter"] = 1.0
            self._fail(message.id, error)

    async def _answer(self, message: Asked) -> None:
        context = self._context
        assert context is not None
        try:
            result: Any
            match message:
                case realtime.Subscribe(subscriptions=wanted):
                    answers = await self._subscriptions.open(context, wanted)
                    self._reply(message.id, answers)
                    self._subscriptions.uncork(answer.sub for answer in answers if answer.error is None)
                    return
                case realtime.Unsubscribe(subs=subs):
                    for sub in subs:
                        self._subscriptions.end(sub)
                    result = None
                case realtime.Authenticate():
                    await self._renew(message)
                    result = None
                case _:
                    result = await answer(message, context)
            self._reply(message.id, result)
        except CollabError as error:
            self._fail(message.id, error)
        except Exception:
            log.exception("a request could not be answered")
            self._fail(message.id, InternalError("the request could not be answered"))

    async def _renew(self, message: realtime.Authenticate) -> None:
        known = self.identity
        assert known is not None
        assert self._context is not None
        hello = Hello(project_id=known.project, user_id=message.user_id, token=message.token)
        identity = await self._gatekeeper.admit(hello)
        if (identity.project, identity.user_id) != (known.project, known.user_id):
            raise AuthenticationFailed("a session cannot change its user")
        self.identity = identity
        self._context.channels.identify(identity)
        self._recheck_soon(0.0)

    def _reply(self, id_: int, result: Any) -> None:
        self._answered(lambda: self._encode(Reply(id=id_, result=result)), id_)

    def _fail(self, id_: int, error: CollabError) -> None:
        self._answered(lambda: self._encode(Failure(error=Error.of(error), id=id_)), id_)

    def _answered(self, make: Callable[[], Frame], id_: int) -> None:
        if self._ended:
            return
        try:
            frame = make()
        except (TypeError, ValueError, OverflowError, RecursionError):
            log.exception("an answer could not be encoded")
            frame = self._encode(
                Failure(error=Error.of(InternalError("the answer cannot be told in this form")), id=id_)
            )
        try:
            self._outbox.reply(frame)
        except RateLimitExceeded as error:
            self._close(error)
        if self._outbox.reply_bytes > self._limits.outbox_bytes:
            self._jobs.pause(True)  # whoever does not read what was asked for is not asked for more

    # what goes out

    def drain(self) -> list[Frame]:
        """Everything that is to be sent now."""
        frames = self._outbox.drain()
        if self._context is not None and not self._ended:
            self._jobs.pause(False)
        return frames

    def farewell(self, error: CollabError) -> Frame:
        """The last message of a session that ends for this reason."""
        return self._encode(Failure(error=Error.of(error)))

    def entity_event(self, subs: tuple[int, ...], seen: Seen) -> None:
        """Take an event for these subscriptions."""
        if self._context is None:
            return
        try:
            self._subscriptions.entity_event(self._context, subs, seen)
        except Exception:
            log.exception("an event could not be told")
            for sub in subs:  # rather an end than a gap
                self._subscription_ended(sub, InternalError("an event could not be told"))

    def keep_alive(self) -> None:
        """Nothing was sent for a while: a sound, from which the client knows that the connection lives."""
        if self._context is not None:
            self._outbox.say(self._encode(realtime.Pong()))

    # time and rights

    def beat(self, now: float, wall: float) -> None:
        """Called about once a second, with a monotonic clock and that on the wall. Raises to end the session."""
        if self._deadline is not None and self._deadline <= now:
            raise SessionTimeout("no valid hello came in time")
        if self.identity is not None and self.identity.expires_at is not None and self.identity.expires_at <= wall:
            raise AuthenticationFailed("the token has expired")

    async def recheck(self) -> None:
        """Rights may have changed: end what is not allowed any more."""
        context = self._context
        if context is None or self._ended:
            return
        context.channels.identify(self._caller().identity)
        await self._subscriptions.recheck(context)
        await self._services.presence.recheck(self._caller())
        self.rechecked()

    def left(self) -> None:
        """The connection is gone: let go of everything. Writes that have begun are brought to their end."""
        self._ended = True
        self._jobs.stop()
        self._subscriptions.close()
        self._outbox.close()
        closers, self._closers = self._closers, []
        for close in closers:
            close()
        if self._recheck is not None:
            self._recheck.cancel()
        if self._entered is not None:
            self._services.presence.leave_all(self._caller())
            self._services.analytics.left(self._entered)
            self._gatekeeper.leave(self._entered)
            self._entered = None

    def _permissions_changed(self, event: dict[str, Any]) -> None:
        self._recheck_soon(RECHECK_SECONDS * self._spread)

    def _recheck_soon(self, delay: float) -> None:
        if self._recheck is None and not self._ended:
            self._recheck = self._later(delay, self._recheck_now)

    def _recheck_now(self) -> None:
        self._recheck = None
        self._run(self.recheck)

    def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run work of our own, after the subscriptions that are being opened."""

        async def guarded() -> None:
            try:
                await work()
            except CollabError as error:
                self._close(error)
            except Exception:
                log.exception("a session's work failed")
                self._close(InternalError("the session could not go on"))

        if not self._ended:
            self._jobs.add(guarded, lane=SUBSCRIPTIONS, own=True)

    def _subscription_ended(self, sub: int, error: CollabError) -> None:
        assert self._context is not None
        self._subscriptions.fail(self._context, sub, error)

    def _caller(self) -> Caller:
        assert self.identity is not None
        return Caller(self.identity, self.name)

    def _encode(self, message: realtime.ServerMessage) -> Frame:
        return realtime.encode(message, self.form)


def _least(ours: int, theirs: int | None) -> int:
    """The lower one of two limits, of which 0 is none."""
    return min((limit for limit in (ours, theirs or 0) if limit), default=0)


def _nothing() -> None:
    """Nobody wants to know."""
