"""Subscriptions as server-sent events: a session of the application protocol, of which only the answers are sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from secrets import token_hex
from time import monotonic, time
from typing import Any

import anyio
import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from collab.access.identity import Identity
from collab.errors import (
    AuthenticationFailed,
    CollabError,
    Conflict,
    InternalError,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    RateLimitExceeded,
    SubscriptionFailed,
    Unavailable,
)
from collab.realtime.listeners import call_later
from collab.realtime.outbox import Frame
from collab.realtime.services import Services
from collab.realtime.session import RealtimeSession, SessionLimits
from collab.wire import realtime
from collab.wire.realtime import AnyTarget, Error, Hello, Subscribe, Subscribed, Subscription

RETRY_SECONDS = 1.0
_BEAT = b":\n\n"
_ERRORS: dict[str, type[CollabError]] = {
    error.code: error
    for error in (
        AuthenticationFailed,
        Conflict,
        InvalidRequest,
        NotFound,
        PermissionDenied,
        RateLimitExceeded,
        SubscriptionFailed,
        Unavailable,
    )
}


class _Head(msgspec.Struct):
    type: str
    cursor: str | None = None
    sub: int | None = None


_head = msgspec.json.Decoder(_Head)
_reply = msgspec.json.Decoder(realtime.Reply | realtime.Failure | realtime.Welcome)
_subscribed = msgspec.json.Decoder(tuple[Subscribed])


class _Doorkeeper:
    """The session's credential was checked with the request."""

    def __init__(self, identity: Identity, enter: Callable[[], None], leave: Callable[[], None]) -> None:
        self._identity = identity
        self._enter = enter
        self._leave = leave

    async def admit(self, hello: Hello) -> Identity:
        return self._identity

    def enter(self, identity: Identity) -> None:
        self._enter()

    def leave(self, identity: Identity) -> None:
        self._leave()


class EventStream(Response):
    """The answer to a subscription: it goes on until the client, the server or the subscription ends.

    ``enter`` counts it and may raise :class:`CollabError`; then ``leave`` follows at its end.
    """

    def __init__(
        self,
        services: Services,
        identity: Identity,
        *,
        limits: SessionLimits,
        stall_seconds: float,
        enter: Callable[[], None],
        leave: Callable[[], None],
    ) -> None:
        super().__init__(media_type="text/event-stream", headers={"cache-control": "no-store"})
        # the length is not known, and proxies must not wait for more of it
        del self.headers["content-length"]
        self.headers["x-accel-buffering"] = "no"
        self._identity = identity
        self._heartbeat = limits.heartbeat_seconds
        self._stall = stall_seconds
        self._wake = asyncio.Event()
        self._error: CollabError | None = None
        self._left = False
        self._first: list[bytes] = []
        self._session = RealtimeSession(
            f"http:{token_hex(8)}",
            services,
            _Doorkeeper(identity, enter, leave),
            form="json",
            limits=limits,
            ready=self._wake.set,
            close=self.end,
            clock=monotonic,
            later=call_later,
        )

    async def open(self, target: AnyTarget) -> None:
        """Subscribe. Raises :class:`CollabError`; else the response must be sent, or :meth:`leave` called."""
        try:
            self._session.receive(Hello(), monotonic())
            self._session.receive(Subscribe(id=0, subscriptions=(Subscription(sub=0, target=target),)), monotonic())
            waiting: list[Frame] = []
            while True:
                while not waiting:
                    if self._error is not None:
                        raise self._error
                    await self._wake.wait()
                    self._wake.clear()
                    waiting = self._session.drain()
                answer = _reply.decode(waiting.pop(0))
                if isinstance(answer, realtime.Failure):
                    raise _as_error(answer.error)
                if isinstance(answer, realtime.Reply):
                    break
            (subscribed,) = _subscribed.decode(msgspec.json.encode(answer.result))
            if subscribed.error is not None:
                raise _as_error(subscribed.error)
            self._first = [_retry(), _sse("subscribed", subscribed.cursor, msgspec.json.encode(subscribed))]
            self._first += map(self._chunk, waiting)
        except BaseException:
            self.leave()
            raise

    def end(self, error: CollabError) -> None:
        """End it, and tell the client why."""
        if self._error is None:
            self._error = error
        self._wake.set()

    def leave(self) -> None:
        """Let go of everything."""
        if not self._left:
            self._left = True
            self._session.left()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what happens until it ends."""
        try:
            async with anyio.create_task_group() as group:

                async def watch() -> None:
                    while (await receive())["type"] != "http.disconnect":
                        pass
                    group.cancel_scope.cancel()

                group.start_soon(watch)
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await self._tell(send)
                group.cancel_scope.cancel()
        finally:
            self.leave()

    async def _tell(self, send: Send) -> None:
        chunks = self._first
        while True:
            if chunks and not await self._send(send, b"".join(chunks), more=True):
                return
            if self._error is not None:
                farewell = _bytes(self._session.farewell(self._error))
                await self._send(send, _sse("failure", None, farewell), more=False)
                return
            if not await self._wait(send):
                return
            chunks = [self._chunk(frame) for frame in self._session.drain()]

    async def _wait(self, send: Send) -> bool:
        """Until something is to be sent; meanwhile a sign of life now and then. Whether the client takes those."""
        while not self._wake.is_set():
            seconds = self._heartbeat
            if self._identity.expires_at is not None:
                seconds = min(seconds, max(0.0, self._identity.expires_at - time()))
            with anyio.move_on_after(seconds) as waited:
                await self._wake.wait()
            if not waited.cancelled_caught:
                continue
            try:
                self._session.beat(monotonic(), time())
            except CollabError as error:
                self.end(error)
            else:
                if not await self._send(send, _BEAT, more=True):
                    return False
        self._wake.clear()
        return True

    async def _send(self, send: Send, body: bytes, *, more: bool) -> bool:
        """Whether the client has taken it in time."""
        with anyio.move_on_after(self._stall) as sending:
            await send({"type": "http.response.body", "body": body, "more_body": more})
        return not sending.cancelled_caught

    def _chunk(self, frame: Frame) -> bytes:
        head = _head.decode(frame)
        if head.type == "failure" and head.sub == 0:
            # the one subscription has ended, and with it all that there is to say
            failure = _reply.decode(frame)
            assert isinstance(failure, realtime.Failure)
            self.end(_as_error(failure.error))
            return b""
        return _sse(head.type, head.cursor, _bytes(frame))


def _sse(kind: str, cursor: str | None, data: bytes) -> bytes:
    """One event. JSON has no line ends of its own."""
    name = b"" if cursor is None else b"id: " + cursor.encode() + b"\n"
    return b"event: " + kind.encode() + b"\n" + name + b"data: " + data + b"\n\n"


def _retry() -> bytes:
    return f"retry: {RETRY_SECONDS * 1000:.0f}\n\n".encode()


def _bytes(frame: Frame) -> bytes:
    return frame.encode() if isinstance(frame, str) else frame


def _as_error(error: Error) -> CollabError:
    details: dict[str, Any] = error.details
    raised = _ERRORS.get(error.code, InternalError)(error.message)
    raised.details = details
    return raised
