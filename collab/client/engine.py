"""I/O around the client's state: links, tasks and timers."""

from __future__ import annotations

import logging
import random
from contextlib import AbstractAsyncContextManager
from functools import partial
from time import monotonic, time
from typing import Any, Protocol

import anyio
from anyio import CancelScope, Event, create_task_group

from collab.client.background import Background, Signal
from collab.client.callbacks import Callbacks
from collab.client.calls import Call
from collab.client.core.backoff import delay
from collab.client.core.copies import own
from collab.client.core.effects import (
    Answered,
    Confirmed,
    Delayed,
    Delivery,
    DocumentFrame,
    Effect,
    Ended,
    Met,
    Opened,
    Trouble,
)
from collab.client.core.failures import Fault
from collab.client.core.options import WebSocketOptions
from collab.client.core.state import ClientState
from collab.client.core.values import checked
from collab.client.credentials import Credentials, renew_in
from collab.client.documents import Document
from collab.client.link import Link, open_link
from collab.client.open_documents import OpenDocuments
from collab.client.subscription import Subscription
from collab.errors import (
    AuthenticationFailed,
    CollabError,
    ConnectionLost,
    RateLimitExceeded,
    SubscriptionFailed,
)
from collab.wire.realtime import messages as realtime
from collab.wire.realtime import values as wire

log = logging.getLogger(__name__)

MOST_REFUSALS = 4
"""A token function may return the same expired token for a while: retry this often, with growing delays."""


class OpenLink(Protocol):
    """Signature of :func:`collab.client.link.open_link`."""

    def __call__(self, url: str, *, within: float, compression: bool) -> AbstractAsyncContextManager[Link]:
        """Open a WebSocket."""


class Engine:
    """Keeps a :class:`ClientState` connected and dispatches its effects."""

    def __init__(
        self, url: str, options: WebSocketOptions, credentials: Credentials, open_link: OpenLink = open_link
    ) -> None:
        self.url = url
        self.options = options
        self.credentials = credentials
        self.state = ClientState(options)
        self.background = Background()
        self.callbacks = Callbacks(self.background)
        self.changed = Signal()
        self._open_link = open_link
        self._calls: dict[int, Call[Any]] = {}
        self._subscriptions: dict[int, Subscription] = {}
        self._documents = OpenDocuments()
        self._wake = Signal()  # wakes the sender
        self._time = Signal()  # wakes the timer
        self._running: Event | None = None  # set when the client has stopped
        self._ending = False  # it will stop, or has
        self._scope: CancelScope | None = None
        self._link_scope: CancelScope | None = None
        self._cut: CollabError | None = None
        self._given_up: CollabError | None = None
        self.over: CollabError | None = None
        """Why the client stopped connecting."""
        self._stopping: CollabError | None = None
        self._token: str | None = None  # sent last
        self._renew_at: float | None = None

    # for the public classes

    def is_connected(self) -> bool:
        """Whether a session is open."""
        return self.state.status == "open"

    @property
    def running(self) -> bool:
        """Whether a session is open or being opened."""
        return self._running is not None

    def call(self, call: Call[Any], message: realtime.Asked) -> None:
        """Send a read. Raises the error that ended the session, :class:`ConnectionLost`, :class:`RateLimitExceeded`."""
        self._check_running()
        self._calls[message.id] = call
        try:
            told = self.state.ask(message, monotonic())
        except CollabError:
            del self._calls[message.id]
            raise
        self.wake()
        if told:
            self.background.spawn(partial(self._answer, told))  # the caller awaits the call by then

    async def _answer(self, told: list[Effect]) -> None:
        self.handle(told)

    def write(self, call: Call[Any], message: Any, at: str) -> None:
        """Send a write; errors as for :meth:`call`."""
        self._check_running()
        self._calls[message.id] = call
        try:
            told = self.state.write(message, at)
        except CollabError:
            del self._calls[message.id]
            raise
        self.handle(told)

    def forget(self, ticket: int) -> None:
        """Drop a request that nobody awaits any more; who asks for its result later is told so."""
        call = self._calls.pop(ticket, None)
        if call is not None:
            self.state.forget(ticket)
            call.cancel(ConnectionLost("the request was cancelled"))

    def subscribe(self, subscription: Subscription, target: wire.AnyTarget) -> None:
        """Start a subscription, now or once connected."""
        self._subscriptions[subscription.sub] = subscription
        self.state.subscriptions.add(subscription.sub, target)
        if self._given_up is not None and self._given_up is self.over:
            self.background.spawn(partial(self._tell_over, subscription))  # the caller holds it by then
        self.wake()

    async def _tell_over(self, subscription: Subscription) -> None:
        if self.over is not None and subscription.sub in self._subscriptions:
            subscription.stopped(self.over, wanted=False)

    def unsubscribe(self, sub: int) -> None:
        """End a subscription."""
        if self._subscriptions.pop(sub, None) is not None:
            self.state.subscriptions.remove(sub)
            self.wake()

    def subscription_failed(self, error: CollabError) -> None:
        """Report an error that the subscription's owner does not handle."""
        if not isinstance(error, SubscriptionFailed | RateLimitExceeded):
            wrapped = SubscriptionFailed(error.message)
            wrapped.details = {**error.details, "cause": error.code}
            error = wrapped
        self.callbacks.trouble(error)

    def address(self, name: str) -> str:
        """Return the wire address for a document that is being opened. Raises :class:`InvalidRequest` if it is open."""
        return self._documents.address(name, self.state.ticket)

    def open_document(self, document: Document) -> None:
        """Start syncing a document."""
        self._documents.add(document, connected=self.is_connected())
        self.wake()

    def close_document(self, document: Document) -> None:
        """Stop syncing a document."""
        if self._documents.remove(document, connected=self.is_connected()):
            self.wake()

    def wake(self) -> None:
        """Wake the sender and the timer."""
        self._wake.set()
        self._time.set()

    def _check_running(self) -> None:
        if not self.running:
            raise own(self.over) or ConnectionLost("the client is not connected: call connect() first")

    # effects of the state

    def handle(self, told: list[Effect]) -> None:
        """Dispatch effects, now or after those that are being dispatched."""
        self.changed.set()  # it wakes nobody before this returns
        self.wake()
        self.background.tell(*(partial(self._hand, each) for each in told))

    def _hand(self, told: Effect) -> None:
        match told:
            case Answered(ticket, result, error):
                call = self._calls.pop(ticket, None)
                if call is not None:
                    call.resolve(result, error)
            case Delivery(sub, value):
                if (subscription := self._subscriptions.get(sub)) is not None:
                    subscription.tell(value)
            case Confirmed(sub, recovered):
                if (subscription := self._subscriptions.get(sub)) is not None:
                    subscription.confirmed(recovered)
            case Delayed(sub, error):
                if (subscription := self._subscriptions.get(sub)) is not None:
                    subscription.delayed(error)
            case Ended(sub, error):
                if (subscription := self._subscriptions.pop(sub, None)) is not None:
                    subscription.ended(error)
            case Met():
                self.callbacks.tell("conflict", told)
            case Trouble(error):
                self.callbacks.trouble(error)
            case DocumentFrame(data):
                if (wrong := self._documents.received(data)) is not None:
                    self.callbacks.trouble(wrong)
            case Opened(again):
                self._renew_later(0.0)
                self._documents.opened()
                self.callbacks.tell("reconnect" if again else "connect")

    # connecting

    async def start(self) -> bool:
        """Start connecting in the background. Returns whether nobody had started it before."""
        while self._running is not None and self._ending:
            await self._running.wait()
        if self._running is not None:
            return False
        self._running = Event()
        self._scope = CancelScope()
        self._ending = False
        self._given_up = self.over = self._stopping = None
        self.background.spawn(partial(self._run, self._scope))
        return True

    async def connected(self) -> None:
        """Wait for a session. Raises the error of the first attempt."""
        await self.changed.until(lambda: self.is_connected() or self._given_up is not None or not self.running)
        if not self.is_connected():
            raise own(self._given_up) or ConnectionLost("the client was disconnected")

    async def stop(self, error: CollabError | None = None) -> None:
        """Close the session. Its dependants receive ``error``, or that the application disconnected."""
        if self._running is not None:
            running = self._running
            self._ending = True
            self._stopping = self._stopping or error
            if self._scope is not None:
                self._scope.cancel()
            with CancelScope(shield=True):
                await running.wait()

    async def _run(self, scope: CancelScope) -> None:
        ended: CollabError | None = None
        try:
            with scope:
                async with create_task_group() as tasks:
                    tasks.start_soon(self._keep_time)
                    ended = await self._stay_connected()
                    tasks.cancel_scope.cancel()
        except Exception as fault:
            log.exception("the client ended by a fault")
            ended = Fault(f"the client ended by a fault: {fault!r}")
        finally:
            running, self._running, self._scope = self._running, None, None
            exhausted = ended is not None and ended.retryable
            self._given_up = ended = ended or self._stopping
            self.over = ended or ConnectionLost("the client was disconnected")
            self._lost()
            self.handle(self.state.stopped(self.over))
            for call in list(self._calls.values()):  # whatever the state knows of it: nobody waits forever
                call.resolve(None, self.over)
            self._calls.clear()
            stopped = [partial(each.stopped, self.over, ended is None) for each in self._subscriptions.values()]
            self.background.tell(*stopped)
            if running is not None:
                running.set()
            self.changed.set()
            if exhausted and self.options.on_reconnect_failed is not None:
                self.background.call(self.options.on_reconnect_failed)  # last, because it may call connect()

    async def _stay_connected(self) -> CollabError:
        attempt = refusals = 0
        while True:
            opened, error = await self._one_link()
            if opened:
                attempt = refusals = 0
            first = attempt == 0
            late = isinstance(error, AuthenticationFailed) and self.credentials.renewable
            worthwhile = error.retryable or (late and refusals < MOST_REFUSALS)
            refusals += late
            attempt += 1
            wait = delay(self.options, attempt, random.random())  # noqa: S311  # jitter, not a secret
            if not worthwhile or wait is None:
                self._given_up, self._ending = error, True
                self.callbacks.trouble(error)
                return error
            if first:
                self.callbacks.trouble(error)
            if not opened and error.retryable:
                self._given_up = error
                self.changed.set()
            await anyio.sleep(wait)
            self._given_up = None

    async def _one_link(self) -> tuple[bool, CollabError]:
        """Connect and run until the link ends. Returns whether a session was open, and why it ended."""
        self._cut = None
        opened = False
        try:
            within = self.options.connect_timeout / 1000
            token = await self.credentials.present(self.background, within)
            hello = checked(self.credentials.hello(token, self.options))
            async with self._open_link(self.url, within=within, compression=self.options.compression) as link:
                self.state.opened(hello, monotonic())
                self._time.set()  # the server may never answer
                self._token = token
                async with create_task_group() as tasks:
                    self._link_scope = tasks.cancel_scope
                    tasks.start_soon(self._writing, link)
                    await self._reading(link)
                    tasks.cancel_scope.cancel()
        except CollabError as error:
            self._cut = self._cut or error
        except Exception as fault:  # everybody is told this too, and nobody waits forever
            log.exception("the connection ended by a fault")
            self._cut = Fault(f"the connection ended by a fault: {fault!r}")
        finally:
            self._link_scope = None
            opened = self.is_connected()
            why = _seen(self.state.reason or self._cut or ConnectionLost("the connection ended"))
            self._lost()
        return opened, why

    def _lost(self) -> None:
        opened = self.is_connected()
        self._renew_at = None
        self.handle(self.state.lost())
        self._documents.lost()
        if opened:
            self.callbacks.tell("disconnect")

    async def _reading(self, link: Link) -> None:
        try:
            while True:
                frame = await link.receive()
                self.handle(self.state.received(frame, monotonic()))
        except CollabError as error:
            self._cut = self._cut or error

    async def _writing(self, link: Link) -> None:
        try:
            while True:
                wake = self._wake.event
                for frame in self._outgoing():
                    await link.send(frame)
                await wake.wait()
        except CollabError as error:
            self._cut = self._cut or error
            if self._link_scope is not None:
                self._link_scope.cancel()

    def _outgoing(self) -> list[str | bytes]:
        frames, refused = self.state.take()
        if refused:
            self.handle(refused)
        if self.is_connected():
            frames += self._documents.take(monotonic(), self.state.limit)
        return frames

    async def _keep_time(self) -> None:
        while True:
            called = self._time.event
            due = self._tick(monotonic())
            self._wake.set()
            with anyio.move_on_after(None if due is None else max(0.0, due - monotonic())):
                await called.wait()

    def _tick(self, now: float) -> float | None:
        """Run due timers; returns when the next one is due."""
        told = self.state.tick(now)
        if told:
            self.handle(told)
        times = [self.state.next_tick()]
        if self.state.dead and self._link_scope is not None:
            self._cut = ConnectionLost("the server does not respond")
            self._link_scope.cancel()
            times.clear()
        times.append(self._documents.renew(now))
        if self._renew_at is not None and self._renew_at <= now:
            self._renew_at = None
            self.background.spawn(self._renew)
        times.append(self._renew_at)
        return min((at for at in times if at is not None), default=None)

    async def _renew(self) -> None:
        """Send the next token. After a failure, this is tried again as long as the last token is valid."""
        try:
            token = await self.credentials.present(self.background, self.options.connect_timeout / 1000)
            if token is not None and self.is_connected():
                await self.authenticate(token)
                self._token = token
        except CollabError as error:
            if self.is_connected():  # the next connection gets a token of its own
                self.callbacks.trouble(error)
        if self.is_connected():
            self._renew_later(1.0)
            self.wake()

    def _renew_later(self, least: float) -> None:
        renew = renew_in(self._token, time()) if self.credentials.renewable else None
        self._renew_at = None if renew is None else monotonic() + max(renew, least)

    async def authenticate(self, token: str) -> None:
        """Send a token of the same user. Raises the server's refusal."""
        message = checked(realtime.Authenticate(id=self.state.ticket(), token=token, user_id=self.credentials.user_id))
        call: Call[Any] = Call(
            lambda result: result, failed=self.callbacks.trouble, abandoned=lambda: self.forget(message.id)
        )
        self.call(call, message)
        await call


def _seen(error: CollabError) -> CollabError:
    """The error that applications see when a link ends: any retryable one becomes a lost connection."""
    if not error.retryable or isinstance(error, ConnectionLost | RateLimitExceeded):
        return error
    return ConnectionLost(error.message, cause=error.code)
