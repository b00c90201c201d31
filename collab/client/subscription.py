"""A subscription."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Generic, Self

from typing_extensions import TypeVar

from collab.client.background import Background, Signal, called
from collab.client.core.copies import own
from collab.errors import CollabError, InvalidRequest, SubscriptionFailed

log = logging.getLogger(__name__)

ToldT = TypeVar("ToldT", default=Any)


class Subscription(Generic[ToldT]):
    """Call it to unsubscribe. ``await ready()`` waits for its confirmation.

    Without a callback, iterate it with ``async for``. If a new value replaces the previous one (rows, presence,
    metrics), the iterator yields only the newest; otherwise (events) it yields all. ``async with`` unsubscribes at the
    end of the block. ``recovered`` is false once events were missed during a disconnect.

    The callback gets one value at a time: while it is async and still runs, values wait, as for a slow iterator.

    When the client gives up connecting or disconnects, ``ready`` and iterators raise the reason; ``on_error`` receives
    the error of the last attempt. The subscription resumes with the next ``connect``.
    """

    def __init__(
        self,
        sub: int,
        callback: Callable[[Any], object] | None,
        *,
        background: Background,
        unsubscribe: Callable[[int], None],
        failed: Callable[[CollabError], None],
        over: Callable[[], CollabError | None],
        newest: bool,
        buffered: int,
        condition: Callable[[], object] | None = None,
        on_error: Callable[[CollabError], object] | None = None,
        on_resync: Callable[[], object] | None = None,
        read: Callable[[Any], ToldT] = own,
    ) -> None:
        self.sub = sub
        self.active = True
        self.recovered = True
        self._error: CollabError | None = None
        self._background = background
        self._unsubscribe = unsubscribe
        self._failed = failed
        self._over = over
        self._callback = callback
        self._newest = newest
        self._buffered = buffered
        self._condition = condition
        self._on_error = on_error
        self._on_resync = on_resync
        self._read = read
        self._values: deque[Any] = deque()
        self._busy = False
        self._confirmed = False
        self._signal = Signal()

    def __call__(self) -> None:
        """Unsubscribe."""
        if self.active:
            self.active = False
            self._values.clear()
            self._unsubscribe(self.sub)
            self._signal.set()

    @property
    def error(self) -> CollabError | None:
        """Why the server ended or refused it."""
        return own(self._error)

    async def ready(self) -> None:
        """Wait until it is active: no event after that is missed.

        Raises the server's refusal, or why the client stopped connecting.
        """
        await self._signal.until(lambda: self._confirmed or not self.active or self._over())
        if self._error is not None:
            raise own(self._error)
        if self.active and (over := self._over()) is not None:
            raise own(over)

    async def __aenter__(self) -> Self:
        try:
            await self.ready()
        except BaseException:
            self()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self()

    def __aiter__(self) -> AsyncIterator[ToldT]:
        return self

    async def __anext__(self) -> ToldT:
        """Return the next value. Raises the error that ended the subscription or the connection.

        Raises :class:`InvalidRequest` if the subscription has a callback, which gets the values.
        """
        if self._callback is not None:
            raise InvalidRequest("this subscription has a callback, so it cannot be iterated")
        await self._signal.until(lambda: self._values or not self.active or self._over())
        if self._values:
            try:
                return self._read(self._values.popleft())
            except CollabError as error:
                self._end(error)
        if self._error is not None:
            raise own(self._error)
        if self.active and (over := self._over()) is not None:
            raise own(over)
        raise StopAsyncIteration

    # called by the client

    def confirmed(self, recovered: bool) -> None:
        """The server has confirmed it."""
        self._confirmed = True
        if not recovered:
            self.recovered = False
            if self._on_resync is not None:
                self._background.call(self._on_resync)
        self._signal.set()

    def ended(self, error: CollabError) -> None:
        """The server has ended or refused it."""
        self.active = False
        self._error = error
        self._signal.set()
        self.delayed(error)

    def delayed(self, error: CollabError) -> None:
        """It is not active now and will be retried."""
        if self._on_error is not None:
            self._background.call(self._on_error, own(error))
        else:
            self._failed(error)

    def stopped(self, error: CollabError, wanted: bool) -> None:
        """The client stopped connecting. Without ``on_error`` the client's error callback has already been called."""
        self._confirmed = False
        self._signal.set()
        if not wanted and self._on_error is not None:
            self._background.call(self._on_error, own(error))

    def tell(self, value: Any) -> None:
        """Deliver a value."""
        if not self.active or not self._wanted():
            return
        if self._callback is not None and not self._busy:
            self._call(self._callback, value)
            return
        if self._newest:
            self._values.clear()
        self._values.append(value)
        if len(self._values) > self._buffered:
            self._end(SubscriptionFailed(f"{self._buffered} values are waiting to be read", limit=self._buffered))
        self._signal.set()

    def _end(self, error: CollabError) -> None:
        self._unsubscribe(self.sub)
        self.ended(error)

    def _wanted(self) -> bool:
        if self._condition is None:
            return True
        try:
            return bool(self._condition()) and self.active  # the condition may unsubscribe
        except (Exception, asyncio.CancelledError):  # nothing is awaited here: the application raised it
            log.exception("the condition of a subscription failed")
            return False

    def _call(self, callback: Callable[[Any], object], value: Any) -> None:
        try:
            mine = self._read(value)
        except CollabError as error:
            self._values.clear()
            self._end(error)
            return
        work = called(lambda: callback(mine))
        if work is not None:
            self._busy = True  # one callback at a time, in order
            self._background.spawn(lambda: self._finish(callback, work))

    async def _finish(self, callback: Callable[[Any], object], work: Awaitable[Any]) -> None:
        try:
            await work
        finally:
            self._busy = False
            self._background.tell(lambda: self._call_waiting(callback))

    def _call_waiting(self, callback: Callable[[Any], object]) -> None:
        while self._values and not self._busy:
            self._call(callback, self._values.popleft())
