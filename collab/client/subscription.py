"""A subscription as an application holds it."""

from __future__ import annotations

import inspect
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from collab.client.background import Background, Signal
from collab.errors import CollabError, SubscriptionFailed

log = logging.getLogger(__name__)


class Unsubscriber(Protocol):
    """What a subscription needs of its client."""

    background: Background

    def unsubscribe(self, sub: int) -> None:
        """Nothing more is told of it."""

    def subscription_failed(self, error: CollabError) -> None:
        """Nobody else takes this error."""


class Subscription:
    """Call it to end it. ``await ready()`` for its confirmation.

    Without a callback it is an asynchronous iterator: of the newest value where values replace each other (rows,
    people, numbers), of every one where they do not (events). ``async with`` ends it at the end of the block.
    ``recovered`` is false once events were missed while there was no connection.
    """

    def __init__(
        self,
        client: Unsubscriber,
        sub: int,
        callback: Callable[[Any], object] | None,
        *,
        newest: bool,
        buffered: int,
        condition: Callable[[], object] | None = None,
        on_error: Callable[[CollabError], object] | None = None,
        on_resync: Callable[[], object] | None = None,
    ) -> None:
        self.sub = sub
        self.active = True
        self.recovered = True
        self.error: CollabError | None = None
        self._client = client
        self._callback = callback
        self._newest = newest
        self._buffered = buffered
        self._condition = condition
        self._on_error = on_error
        self._on_resync = on_resync
        self._values: deque[Any] = deque()
        self._busy = False
        self._confirmed = False
        self._signal = Signal()

    def __call__(self) -> None:
        """End it: nothing is told any more."""
        if self.active:
            self.active = False
            self._values.clear()
            self._client.unsubscribe(self.sub)
            self._signal.set()

    async def ready(self) -> None:
        """Return once it is in force: nothing is missed from then on. Raises what the server refused it with."""
        await self._signal.until(lambda: self._confirmed or not self.active)
        if self.error is not None:
            raise self.error

    async def __aenter__(self) -> Subscription:
        await self.ready()
        return self

    async def __aexit__(self, *_: object) -> None:
        self()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        """The next value. Raises the error that ended the subscription."""
        await self._signal.until(lambda: self._values or not self.active)
        if self._values:
            return self._values.popleft()
        if self.error is not None:
            raise self.error
        raise StopAsyncIteration

    # from the client

    def confirmed(self, recovered: bool) -> None:
        """The server has said that it is in force."""
        self._confirmed = True
        if not recovered:
            self.recovered = False
            if self._on_resync is not None:
                self._client.background.call(self._on_resync)
        self._signal.set()

    def ended(self, error: CollabError) -> None:
        """The server has ended it, or it was never in force."""
        self.active = False
        self.error = error
        self._signal.set()
        self.delayed(error)

    def delayed(self, error: CollabError) -> None:
        """It is not in force now, and will be asked for again."""
        if self._on_error is not None:
            self._client.background.call(self._on_error, error)
        else:
            self._client.subscription_failed(error)

    def tell(self, value: Any) -> None:
        """Something has come."""
        if not self.active or not self._wanted():
            return
        if self._callback is not None and not self._busy:
            self._call(value)
            return
        if self._newest:
            self._values.clear()
        self._values.append(value)
        if len(self._values) > self._buffered:
            self._client.unsubscribe(self.sub)
            self.ended(SubscriptionFailed(f"{self._buffered} values wait to be taken", limit=self._buffered))
        self._signal.set()

    def _wanted(self) -> bool:
        if self._condition is None:
            return True
        try:
            return bool(self._condition())
        except Exception:
            log.exception("the condition of a subscription failed")
            return False

    def _call(self, value: Any) -> None:
        assert self._callback is not None
        try:
            result = self._callback(value)
        except Exception:
            log.exception("the callback of a subscription failed")
            return
        if inspect.isawaitable(result):
            self._busy = True  # one after the other, in order
            awaited = result

            async def finish() -> None:
                try:
                    await awaited
                except Exception:
                    log.exception("the callback of a subscription failed")
                finally:
                    self._busy = False
                    while self._values and self.active and not self._busy:
                        self._call(self._values.popleft())

            self._client.background.spawn(finish)
