"""The ring around the state: links, tasks and time."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from time import monotonic, time
from typing import Any, Literal, Protocol

import anyio
from anyio import CancelScope, Event, create_task_group

from collab.client.background import Background, Signal
from collab.client.backoff import delay
from collab.client.calls import Call
from collab.client.credentials import Credentials, renew_in
from collab.client.documents import Document
from collab.client.link import Link, open_link
from collab.client.options import WebSocketOptions
from collab.client.state import ClientState
from collab.client.subscription import Subscription
from collab.client.told import Answered, Confirmed, Delayed, Ended, Frame, Met, Opened, Told, Trouble, Value
from collab.errors import (
    AuthenticationFailed,
    CollabError,
    ConnectionLost,
    InternalError,
    InvalidRequest,
    RateLimitExceeded,
    SubscriptionFailed,
)
from collab.wire import hocuspocus, realtime
from presence.lib0 import DecodeError, read_string

log = logging.getLogger(__name__)

Occasion = Literal["connect", "disconnect", "reconnect", "error", "conflict"]


class OpenLink(Protocol):
    """How to open a WebSocket, see :func:`collab.client.link.open_link`."""

    def __call__(self, url: str, *, within: float, compression: bool) -> AbstractAsyncContextManager[Link]:
        """Open one."""


class Engine:
    """Keeps a :class:`ClientState` connected and hands out what it tells."""

    def __init__(
        self, url: str, options: WebSocketOptions, credentials: Credentials, open_link: OpenLink = open_link
    ) -> None:
        self.url = url
        self.options = options
        self.credentials = credentials
        self.state = ClientState(options)
        self.background = Background()
        self.changed = Signal()
        self._open_link = open_link
        self._calls: dict[int, Call[Any]] = {}
        self._subscriptions: dict[int, Subscription] = {}
        self._documents: dict[str, Document] = {}
        self._addresses: set[str] = set()  # of documents that were opened on this connection
        self._callbacks: dict[Occasion, dict[object, Callable[..., object]]] = {}
        self._wake = Signal()  # what sends
        self._time = Signal()  # what keeps the time
        self._frames: list[bytes] = []
        self._running: Event | None = None  # set at the end
        self._scope: CancelScope | None = None
        self._link_scope: CancelScope | None = None
        self._cut: CollabError | None = None
        self._given_up: CollabError | None = None
        self._renew_at: float | None = None

    # for the API

    def is_connected(self) -> bool:
        """Whether there is a session."""
        return self.state.status == "open"

    @property
    def running(self) -> bool:
        """Whether there is a session, or one is being looked for."""
        return self._running is not None

    def on(self, occasion: Occasion, callback: Callable[..., object]) -> Callable[[], None]:
        """Call back; returns what ends that."""
        key = object()
        self._callbacks.setdefault(occasion, {})[key] = callback

        def remove() -> None:
            self._callbacks[occasion].pop(key, None)

        return remove

    def call(self, call: Call[Any], message: realtime.Asked) -> None:
        """Ask something. Raises :class:`ConnectionLost` and :class:`RateLimitExceeded`."""
        self._check_running()
        self._calls[message.id] = call
        try:
            self.handle(self.state.ask(message, monotonic()))
        except CollabError:
            del self._calls[message.id]
            raise

    def write(self, call: Call[Any], message: Any, at: str) -> None:
        """Write something; as :meth:`call`."""
        self._check_running()
        self._calls[message.id] = call
        try:
            self.handle(self.state.write(message, at))
        except CollabError:
            del self._calls[message.id]
            raise

    def forget(self, ticket: int) -> None:
        """Nobody waits for a request any more."""
        if self._calls.pop(ticket, None) is not None:
            self.state.forget(ticket)

    def subscribe(self, subscription: Subscription, target: realtime.AnyTarget) -> None:
        """Begin a subscription, now or as soon as there is a connection."""
        self._subscriptions[subscription.sub] = subscription
        self.state.subscriptions.add(subscription.sub, target)
        self.wake()

    def unsubscribe(self, sub: int) -> None:
        """End a subscription."""
        if self._subscriptions.pop(sub, None) is not None:
            self.state.subscriptions.remove(sub)
            self.wake()

    def subscription_failed(self, error: CollabError) -> None:
        """Tell of a subscription's error that its owner does not take."""
        if not isinstance(error, SubscriptionFailed | RateLimitExceeded):
            wrapped = SubscriptionFailed(error.message)
            wrapped.details = {**error.details, "cause": error.code}
            error = wrapped
        self.trouble(error)

    def trouble(self, error: CollabError) -> None:
        """Tell of an error that nobody waits for."""
        if not self._callbacks.get("error"):
            log.warning("%s: %s", error.code, error.message)
        self._fire("error", error)

    def address(self, name: str) -> str:
        """What to call a document that is being opened. Raises :class:`InvalidRequest` if it is open."""
        if any(document.name == name for document in self._documents.values()):
            raise InvalidRequest(f"{name} is open already")
        if name not in self._addresses:
            return name
        # the server may still have something to say to those who had it open before on this connection
        return f"{name}\0{self.state.ticket()}"

    def open_document(self, document: Document) -> None:
        """Keep a document in step."""
        self._documents[document.sync.address] = document
        self._addresses.add(document.sync.address)
        if self.is_connected():
            document.sync.opened()
        self.wake()

    def close_document(self, document: Document) -> None:
        """Keep it in step no more."""
        if self._documents.get(document.sync.address) is document:
            del self._documents[document.sync.address]
            if document.sync.state != "ended":
                goodbye = document.sync.close()
                if self.is_connected():
                    self._frames.append(goodbye)
            document.changed.set()
            self.wake()

    def wake(self) -> None:
        """There may be something to send, or another time to wake at."""
        self._wake.set()
        self._time.set()

    def _check_running(self) -> None:
        if not self.running:
            raise ConnectionLost("the client is not connected: call connect() first")

    def _fire(self, occasion: Occasion, *values: Any) -> None:
        for callback in list(self._callbacks.get(occasion, {}).values()):
            self.background.call(callback, *values)

    # what the state tells

    def handle(self, told: list[Told]) -> None:
        """Hand out what the state tells."""
        for each in told:
            self._hand(each)
        self.changed.set()
        self.wake()

    def _hand(self, told: Told) -> None:
        match told:
            case Answered(ticket, result, error):
                call = self._calls.pop(ticket, None)
                if call is not None:
                    call.resolve(result, error)
            case Value(sub, value):
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
                self._fire("conflict", told)
            case Trouble(error):
                self.trouble(error)
            case Frame(data):
                self._document_frame(data)
            case Opened(again):
                for document in self._documents.values():
                    document.sync.opened()
                self._fire("reconnect" if again else "connect")

    def _document_frame(self, data: bytes) -> None:
        try:
            address, pos = read_string(data, 0)
            document = self._documents.get(address)
            if document is None:
                if data[pos : pos + 1] == bytes([hocuspocus.CLOSE]):
                    self._addresses.discard(address)  # that was the last word
                return
            before = document.error
            document.sync.received(data)
        except DecodeError as error:
            self.trouble(InternalError(f"a document's frame: {error}"))
            return
        if document.error is not None and document.error is not before:
            self.trouble(document.error)
        document.changed.set()

    # connecting

    async def start(self) -> None:
        """Begin to connect, in the background."""
        if self._running is None:
            self._running = Event()
            self._given_up = None
            self.background.spawn(self._run)

    async def connected(self) -> None:
        """Return once there is a session. Raises what the first attempt failed with."""
        await self.changed.until(lambda: self.is_connected() or self._given_up is not None or not self.running)
        if self.is_connected():
            return
        error = self._given_up or ConnectionLost("the client was disconnected")
        await self.stop()
        raise error

    async def stop(self) -> None:
        """End the session. What waits for an answer is told that there is none."""
        if self._running is not None:
            running = self._running
            if self._scope is not None:
                self._scope.cancel()
            with CancelScope(shield=True):
                await running.wait()

    async def _run(self) -> None:
        error: CollabError = ConnectionLost("the client was disconnected")
        try:
            async with create_task_group() as tasks:
                self._scope = tasks.cancel_scope
                tasks.start_soon(self._keep_time)
                error = await self._stay_connected()
                tasks.cancel_scope.cancel()
        finally:
            running, self._running, self._scope = self._running, None, None
            self._lost()
            self.handle(self.state.stopped(error))
            if running is not None:
                running.set()
            self.changed.set()

    async def _stay_connected(self) -> CollabError:
        attempt = 0
        while True:
            opened, error = await self._one_link()
            if opened:
                attempt = 0
            if attempt == 0 or not error.retryable:
                self.trouble(error)
            renewable = opened and isinstance(error, AuthenticationFailed) and self.credentials.renewable
            attempt += 1
            wait = delay(self.options, attempt, random.random())  # noqa: S311  # spreads clients, no secret
            if (not error.retryable and not renewable) or wait is None:
                self._given_up = error
                if error.retryable and self.options.on_reconnect_failed is not None:
                    self.background.call(self.options.on_reconnect_failed)
                return error
            if not opened:
                self._given_up = error
                self.changed.set()
            await anyio.sleep(wait)
            self._given_up = None

    async def _one_link(self) -> tuple[bool, CollabError]:
        """Connect and stay so until the link ends: whether there was a session, and why there is none any more."""
        self._cut = None
        opened = False
        try:
            with anyio.fail_after(self.options.connect_timeout / 1000):
                token = await self.credentials.present()
            async with self._open_link(
                self.url, within=self.options.connect_timeout / 1000, compression=self.options.compression
            ) as link:
                self.state.opened(self.credentials.hello(token, self.options), monotonic())
                renew = renew_in(token, time()) if self.credentials.renewable else None
                self._renew_at = None if renew is None else monotonic() + renew
                async with create_task_group() as tasks:
                    self._link_scope = tasks.cancel_scope
                    tasks.start_soon(self._writing, link)
                    await self._reading(link)
                    tasks.cancel_scope.cancel()
        except CollabError as error:
            self._cut = self._cut or error
        except TimeoutError:
            self._cut = ConnectionLost("no token came in time")
        finally:
            self._link_scope = None
            opened = self.is_connected()
            why = _seen(self.state.reason or self._cut or ConnectionLost("the connection ended"))
            self._lost()
        return opened, why

    def _lost(self) -> None:
        opened = self.is_connected()
        self._renew_at = None
        self._frames.clear()
        self._addresses = set(self._documents)
        self.handle(self.state.lost())
        for document in self._documents.values():
            document.sync.lost()
            document.changed.set()
        if opened:
            self._fire("disconnect")

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
            now = monotonic()
            frames += self._frames
            self._frames.clear()
            for document in self._documents.values():
                frames += document.sync.take(now)
        return frames

    async def _keep_time(self) -> None:
        while True:
            called = self._time.event
            due = self._tick(monotonic())
            self._wake.set()
            with anyio.move_on_after(None if due is None else max(0.0, due - monotonic())):
                await called.wait()

    def _tick(self, now: float) -> float | None:
        """Do what time has brought; returns when there is more to do."""
        told = self.state.tick(now)
        if told:
            self.handle(told)
        times = [self.state.next_tick()]
        if self.state.dead and self._link_scope is not None:
            self._cut = ConnectionLost("the server gives no sign of life")
            self._link_scope.cancel()
            times.clear()
        for document in self._documents.values():
            if (at := document.sync.renew_at()) is not None and at <= now:
                document.sync.renew()
            else:
                times.append(at)
        if self._renew_at is not None and self._renew_at <= now:
            self._renew_at = None
            self.background.spawn(self._renew)
        times.append(self._renew_at)
        return min((at for at in times if at is not None), default=None)

    async def _renew(self) -> None:
        """Show the next token."""
        try:
            token = await self.credentials.present()
            if token is not None:
                await self.authenticate(token)
                renew = renew_in(token, time())
                self._renew_at = None if renew is None else monotonic() + max(renew, 1.0)
                self.wake()
        except CollabError as error:
            self.trouble(error)

    async def authenticate(self, token: str) -> None:
        """Show a token of the same user. Raises what the server says of it."""
        message = realtime.Authenticate(id=self.state.ticket(), token=token, user_id=self.credentials.user_id)
        call: Call[Any] = Call(lambda result: result, failed=self.trouble, abandoned=lambda: self.forget(message.id))
        self.call(call, message)
        await call


def _seen(error: CollabError) -> CollabError:
    """The end of a link, as applications are told it: whatever may pass is a lost connection."""
    if not error.retryable or isinstance(error, ConnectionLost | RateLimitExceeded):
        return error
    return ConnectionLost(error.message, cause=error.code)
