"""One client of the application protocol: processes its messages, and decides what to send and when.

It knows no socket. Requests that must wait run as jobs, a limited number at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from time import time
from typing import Any, Protocol

import msgspec

from collab.access.identity import Identity
from collab.access.limits import TokenBucket
from collab.access.price import Meter
from collab.dates import iso
from collab.errors import (
    AuthenticationFailed,
    CollabError,
    InternalError,
    InvalidRequest,
    RateLimitExceeded,
    SessionTimeout,
)
from collab.names import RoomKey
from collab.realtime.hub import Hub
from collab.realtime.listeners import Later, ignore
from collab.realtime.sending.outbox import SessionOutbox
from collab.realtime.session.jobs import Jobs
from collab.realtime.session.requests import SUBSCRIPTIONS, WRITES, answer, attributes_of, lanes_of, writes_in
from collab.realtime.session.subscriber import Subscriber
from collab.records.reads import Caller
from collab.tracing import Trace, Tracer
from collab.wire.realtime import encoding
from collab.wire.realtime import messages as realtime
from collab.wire.realtime import values as wire
from collab.wire.realtime.encoding import Format, Frame, Misunderstood, encode_json, encode_msgpack
from collab.wire.realtime.messages import Asked, ClientMessage, Failure, Hello, Reply, Subscription, Welcome
from collab.wire.realtime.values import Error, Subscribed

log = logging.getLogger(__name__)

MOST_REFUSED = 1000
"""Consecutive requests over the limits after which the session ends."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Limits of one session. Rates are per second; 0 is no limit."""

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


class SessionGatekeeper(Protocol):
    """Checks credentials for a session."""

    async def admit(self, hello: Hello) -> Identity:
        """Return the identity of the credential. Raises :class:`CollabError`."""

    def enter(self, identity: Identity) -> None:
        """The session begins: count it. Raises :class:`CollabError`; else call :meth:`leave` later."""

    def leave(self, identity: Identity) -> None:
        """The session has ended."""


class RealtimeSession:
    """``ready`` is called when :meth:`drain` has messages, ``close`` to end the connection.

    ``name`` is unique among sessions. ``clock`` is monotonic; ``spread``, a number from 0 to 1, differs between
    sessions. ``address`` is the client's address. The session's CPU time is charged to ``meter``.
    ``origin`` is the span in which the client connected.
    """

    def __init__(
        self,
        name: str,
        hub: Hub,
        gatekeeper: SessionGatekeeper,
        *,
        form: Format,
        limits: SessionLimits,
        ready: Callable[[], None],
        close: Callable[[CollabError], None],
        clock: Callable[[], float],
        later: Later,
        spread: float = 0.0,
        meter: Meter | None = None,
        address: str | None = None,
        tracer: Tracer | None = None,
        origin: Trace | None = None,
    ) -> None:
        self.name = name
        self.form: Format = form
        self._hub = hub
        self._gatekeeper = gatekeeper
        self._limits = limits
        self._close = close
        self._later = later
        self._spread = spread
        self._address = address
        self._tracer = tracer
        self._origin = origin
        self._deadline: float | None = clock() + limits.hello_seconds
        self._greeted = False
        self._ended = False
        self._entered: Identity | None = None
        self._unfollow: Callable[[], None] = ignore
        self._subscriber: Subscriber | None = None
        self._outbox = SessionOutbox(ready, clock=clock, later=later, limit=limits.outbox_bytes)
        self._jobs = Jobs(
            limits.requests_at_once, limits.requests_waiting, max(limits.message_bytes, 1024 * 1024), meter
        )
        self._jobs.pause(True)  # until the welcome
        self._messages = TokenBucket(limits.messages_per_second, limits.bytes_per_second)
        self._writes = TokenBucket(limits.writes_per_second, 0)
        self._refused = 0
        self._hellos = Jobs(at_once=1)
        self.rechecked: Callable[[], None] = ignore
        """Called when rights are checked again, for other protocols on the connection."""
        self.welcomed: Callable[[], None] = ignore
        """Called when the session has begun."""

    @property
    def identity(self) -> Identity | None:
        """The session's identity; ``None`` before the welcome."""
        return None if self._subscriber is None else self._subscriber.caller.identity

    # incoming

    def receive(self, message: ClientMessage, now: float, size: int = 0) -> None:
        """Process a message of ``size`` bytes. Raises :class:`CollabError` to end the session."""
        if self._ended:
            return
        if isinstance(message, Hello):
            self._greet(message)
            return
        if not self._greeted:
            raise InvalidRequest("a session must begin with hello")
        if not self._messages.take(size, now):
            self._refuse(message, self._messages)
        elif isinstance(message, realtime.Ping):
            self._outbox.reply(self._encode(realtime.Pong()))
        elif isinstance(message, WRITES) and not self._writes.take(0, now, writes_in(message)):
            self._refuse(message, self._writes)
        elif isinstance(message, Asked):
            self._refused = 0
            self._ask(message, size)

    def misunderstood(self, error: Misunderstood, now: float, size: int = 0) -> None:
        """The client sent an invalid message. Raises ``error`` if no request can be answered with it."""
        if error.id is None or not self._greeted:
            raise error
        self.count(size, now)
        self._fail(error.id, error)

    def count(self, size: int, now: float) -> None:
        """Count a message of another protocol on this connection. Raises :class:`RateLimitExceeded`."""
        if not self._messages.take(size, now):
            raise RateLimitExceeded("too many messages")

    def follow(self, key: RoomKey) -> None:
        """A document was opened on this connection: receive its channels until :meth:`unfollow`."""
        if self._subscriber is not None:
            self._subscriber.context.channels.follow(key)

    def unfollow(self, key: RoomKey) -> None:
        """The document was closed."""
        if self._subscriber is not None:
            self._subscriber.context.channels.unfollow(key)

    def _greet(self, hello: Hello) -> None:
        if self._greeted:
            raise InvalidRequest("hello was already sent")
        if hello.protocol != realtime.VERSION:
            raise InvalidRequest("unsupported protocol version", versions=[realtime.VERSION])
        self._greeted = True
        self._hellos.add(lambda: self._welcome(hello))

    async def _welcome(self, hello: Hello) -> None:
        try:
            identity = await self._gatekeeper.admit(hello)
            if self._ended:
                return
            unfollow = await self._hub.feed.follow(identity.project)
            if self._ended:
                unfollow()
                return
            self._unfollow = unfollow
            self._gatekeeper.enter(identity)
        except CollabError as error:
            self._close(error)
            return
        except Exception:
            log.exception("could not check a session")
            self._close(InternalError("could not check the session"))
            return
        self._entered = identity
        self._deadline = None
        limits, hub = self._limits, self._hub
        events = _least(limits.events_per_second, hello.max_events_per_second)
        subscriptions = _least(limits.subscriptions, hello.max_subscriptions)
        self._outbox.limit_rate(events)
        self._subscriber = Subscriber(
            hub,
            Caller(identity, self.name, self._address),
            self._outbox,
            self._jobs,
            form=self.form,
            encode=encode_json if self.form == "json" else encode_msgpack,
            limit=subscriptions,
            later=self._later,
            failed=self._subscription_failed,
            close=self._close,
            rechecked=lambda: self.rechecked(),
            spread=self._spread,
        )
        feed = hub.entities.feed
        self._outbox.reply(
            self._encode(
                Welcome(
                    protocol=realtime.VERSION,
                    project_id=identity.project,
                    user_id=identity.user_id,
                    session=self.name,
                    cursor=feed.cursor(feed.position(identity.project)),
                    heartbeat_seconds=limits.heartbeat_seconds,
                    limits=wire.Limits(
                        max_subscriptions=subscriptions,
                        max_events_per_second=events,
                        max_message_bytes=limits.message_bytes,
                    ),
                    at=iso(time()),
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
            write = isinstance(message, WRITES)
            # A write runs after earlier subscribes, so they receive its event.
            after = SUBSCRIPTIONS if write else None
            traceparent = message.traceparent
            if traceparent is not None:  # it is no part of what is asked, and older nodes do not know it
                message = msgspec.structs.replace(message, traceparent=None)
            work = partial(self._answer, message)
            if self._tracer is not None:
                work = partial(self._traced, self._tracer, message, traceparent)
            self._jobs.add(work, lanes=lanes_of(message), after=after, size=size, finish=write)
        except RateLimitExceeded as error:
            error.details["retryAfter"] = 1.0
            self._fail(message.id, error)

    async def _traced(self, tracer: Tracer, message: Asked, traceparent: str | None) -> None:
        """As :meth:`_answer`, in a span that goes on with the one that the client names."""
        identity = self.identity
        with tracer.work(
            f"realtime {message.__struct_config__.tag}",
            attributes_of(message, identity.project if identity is not None else ""),
            kind="server",
            parent=tracer.told(traceparent),
            links=() if self._origin is None else (self._origin,),
        ):
            await self._answer(message)

    async def _answer(self, message: Asked) -> None:
        subscriber = self._subscriber
        assert subscriber is not None
        try:
            result: Any
            match message:
                case realtime.Subscribe(subscriptions=wanted):
                    answers = await subscriber.open(wanted)
                    self._reply(message.id, [_told(one, answer) for one, answer in zip(wanted, answers, strict=True)])
                    subscriber.uncork(answers)
                    return
                case realtime.Unsubscribe(subs=subs):
                    for sub in subs:
                        subscriber.end(sub)
                    result = None
                case realtime.Authenticate():
                    await self._renew(subscriber, message)
                    result = None
                case _:
                    result = await answer(message, subscriber.context)
            self._reply(message.id, result)
        except CollabError as error:
            self._answer_failed(message.id, error)
        except Exception:
            log.exception("could not answer a request")
            self._answer_failed(message.id, InternalError("could not answer the request"))

    def _answer_failed(self, id_: int, error: CollabError) -> None:
        if self._tracer is not None:
            self._tracer.failed(error)
        self._fail(id_, error)

    async def _renew(self, subscriber: Subscriber, message: realtime.Authenticate) -> None:
        known = subscriber.caller.identity
        hello = Hello(project_id=known.project, user_id=message.user_id, token=message.token)
        identity = await self._gatekeeper.admit(hello)
        if (identity.project, identity.user_id) != (known.project, known.user_id):
            raise AuthenticationFailed("a session cannot change its user")
        subscriber.identify(identity)

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
            log.exception("could not encode an answer")
            frame = self._encode(Failure(error=Error.of(InternalError("could not encode the answer")), id=id_))
        try:
            self._outbox.reply(frame)
        except RateLimitExceeded as error:
            self._close(error)
        if self._outbox.reply_bytes > self._limits.outbox_bytes:
            self._jobs.pause(True)  # until the client has read its replies

    # outgoing

    def drain(self) -> list[Frame]:
        """Return the messages to send now."""
        frames = self._outbox.drain()
        if self._subscriber is not None and not self._ended:
            self._jobs.pause(False)
        return frames

    def farewell(self, error: CollabError) -> Frame:
        """Return the last message of a session that ends for this reason."""
        return self._encode(Failure(error=Error.of(error)))

    def keep_alive(self) -> None:
        """Nothing was sent for a while: send a heartbeat, so that the client knows the connection is alive."""
        if self._subscriber is not None:
            self._outbox.say(self._encode(realtime.Pong()))

    # time

    def beat(self, now: float, wall: float) -> None:
        """Called about once a second, with a monotonic clock and wall time. Raises to end the session."""
        if self._deadline is not None and self._deadline <= now:
            raise SessionTimeout("no valid hello arrived in time")
        if self._subscriber is not None:
            self._subscriber.check_expiry(wall)

    def left(self) -> None:
        """The connection has closed: release everything. Writes in progress still finish."""
        self._ended = True
        self._jobs.stop()
        self._hellos.stop()
        self._outbox.close()
        if self._subscriber is not None:
            self._subscriber.leave()
        self._unfollow()
        if self._entered is not None:
            self._gatekeeper.leave(self._entered)
            self._entered = None
        self.rechecked = self.welcomed = ignore

    def _subscription_failed(self, sub: int, error: CollabError) -> None:
        self._outbox.say(self._encode(Failure(error=Error.of(error), sub=sub)))

    def _encode(self, message: realtime.ServerMessage) -> Frame:
        return encoding.encode(message, self.form)


def _least(ours: int, theirs: int | None) -> int:
    """Return the lower of two limits; 0 is no limit."""
    return min((limit for limit in (ours, theirs or 0) if limit), default=0)


def _told(wanted: Subscription, answer: Subscribed | CollabError) -> Subscribed:
    return answer if isinstance(answer, Subscribed) else Subscribed(sub=wanted.sub, error=Error.of(answer))
