"""Subscriptions as server-sent events, with the same messages that a session receives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from secrets import token_hex
from time import monotonic, time
from typing import cast

import anyio
import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from collab.access.identity import Identity
from collab.errors import CollabError
from collab.realtime.hub import Hub
from collab.realtime.listeners import call_later
from collab.realtime.sending.outbox import SessionOutbox
from collab.realtime.session.jobs import Jobs
from collab.realtime.session.session import SessionLimits
from collab.realtime.session.subscriber import Subscriber
from collab.records.reads import Caller
from collab.wire.realtime.messages import Failure, ServerMessage, Subscription
from collab.wire.realtime.values import AnyTarget, Error

RETRY_SECONDS = 1.0
_BEAT = b":\n\n"


class EventStream(Response):
    """The response to a subscription. It ends when the client, the server or the subscription ends.

    ``enter`` counts it and may raise :class:`CollabError`; otherwise ``leave`` is called at its end.
    """

    def __init__(
        self,
        hub: Hub,
        identity: Identity,
        *,
        limits: SessionLimits,
        stall_seconds: float,
        enter: Callable[[], None],
        leave: Callable[[], None],
    ) -> None:
        super().__init__(media_type="text/event-stream", headers={"cache-control": "no-store"})
        # the length is unknown, and proxies must not buffer the response
        del self.headers["content-length"]
        self.headers["x-accel-buffering"] = "no"
        self.identity = identity
        self.name = token_hex(8)
        self.since = time()
        self._stall = stall_seconds
        self._hub = hub
        self._limits = limits
        self._enter = enter
        self._leave = leave
        self._wake = asyncio.Event()
        self._error: CollabError | None = None
        self._opening = anyio.CancelScope()
        self._first: list[bytes] = []
        self._jobs = Jobs()
        self._jobs.pause(True)  # until the subscription is open
        self._outbox = SessionOutbox(
            self._wake.set,
            clock=monotonic,
            later=call_later,
            limit=limits.outbox_bytes,
            rate=limits.events_per_second,
        )
        self._subscriber: Subscriber | None = None
        self._unfollow: Callable[[], None] | None = None

    async def open(self, target: AnyTarget) -> None:
        """Subscribe. Raises :class:`CollabError`; otherwise send the response, or call :meth:`leave`."""
        self._enter()
        subscriber = self._subscriber = Subscriber(
            self._hub,
            Caller(self.identity, f"http:{self.name}"),
            self._outbox,
            self._jobs,
            form="json",
            encode=_encode,
            limit=1,
            later=call_later,
            failed=lambda sub, error: self.end(error),
            close=self.end,
        )
        try:
            with self._opening:
                self._unfollow = await self._hub.feed.follow(self.identity.project)
                answers = await subscriber.open((Subscription(sub=0, target=target),))
            if self._error is not None:
                raise self._error
            (answer,) = answers
            if isinstance(answer, CollabError):
                raise answer
            self._first = [_RETRY, _event("subscribed", answer.cursor, msgspec.json.encode(answer))]
            subscriber.uncork(answers)
            self._jobs.pause(False)
        except BaseException:
            self.leave()
            raise

    def end(self, error: CollabError) -> None:
        """End the stream, and send the reason."""
        if self._error is None:
            self._error = error
        self._opening.cancel()
        self._wake.set()

    def leave(self) -> None:
        """Release everything. Only the first call has an effect."""
        subscriber, self._subscriber = self._subscriber, None
        if subscriber is not None:
            self._jobs.stop()
            subscriber.leave()
            self._outbox.close()
            if self._unfollow is not None:
                self._unfollow()
            self._leave()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send events until the stream ends."""
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
        chunks = [*self._first, *self._drain()]
        while True:
            if self._has_expired():  # also if it is never quiet
                chunks = []
            if chunks and not await self._send(send, b"".join(chunks), more=True):
                return
            if self._error is not None:
                await self._send(send, _encode(Failure(error=Error.of(self._error))), more=False)
                return
            if not await self._wait(send):
                return
            chunks = self._drain()

    def _drain(self) -> list[bytes]:
        return cast("list[bytes]", self._outbox.drain())  # made by _encode

    async def _wait(self, send: Send) -> bool:
        """Wait for messages; send heartbeats meanwhile. Returns false if the client does not read those."""
        while not self._wake.is_set():
            seconds = self._limits.heartbeat_seconds
            if self.identity.expires_at is not None:
                seconds = min(seconds, max(0.0, self.identity.expires_at - time()))
            with anyio.move_on_after(seconds) as waited:
                await self._wake.wait()
            if not waited.cancelled_caught:
                continue
            if not self._has_expired() and not await self._send(send, _BEAT, more=True):
                return False
        self._wake.clear()
        return True

    def _has_expired(self) -> bool:
        """End the stream if its credential has expired. Returns whether it has."""
        assert self._subscriber is not None
        try:
            self._subscriber.check_expiry(time())
        except CollabError as error:
            self.end(error)
            return True
        return False

    async def _send(self, send: Send, body: bytes, *, more: bool) -> bool:
        """Send a chunk. Returns whether the client read it in time."""
        with anyio.move_on_after(self._stall) as sending:
            await send({"type": "http.response.body", "body": body, "more_body": more})
        return not sending.cancelled_caught


def _event(kind: str, cursor: str | None, data: bytes) -> bytes:
    """Format one event. JSON contains no line breaks."""
    name = b"" if cursor is None else b"id: " + cursor.encode() + b"\n"
    return b"event: " + kind.encode() + b"\n" + name + b"data: " + data + b"\n\n"


def _encode(message: ServerMessage) -> bytes:
    """Format a message of the application protocol as an event."""
    return _event(str(message.__struct_config__.tag), getattr(message, "cursor", None), msgspec.json.encode(message))


_RETRY = f"retry: {RETRY_SECONDS * 1000:.0f}\n\n".encode()
