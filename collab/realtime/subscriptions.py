"""All subscriptions of one session."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

from collab.errors import CollabError, InternalError, InvalidRequest, RateLimitExceeded
from collab.realtime.entity_subscriptions import Seen
from collab.realtime.subscribed_entities import OpenedEntities
from collab.realtime.subscribed_events import OpenedAnalytics, OpenedCustom, OpenedPresence, OpenedSystem
from collab.realtime.subscribed_rows import OpenedRows
from collab.realtime.subscription import Context, Filters, Opened
from collab.wire import realtime
from collab.wire.realtime import Error, Failure, Subscribed, Subscription

log = logging.getLogger(__name__)

_AT_ONCE = 8  # of one batch


class Subscriptions:
    """By the client's number; ``limit`` at most (0: any)."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._opened: dict[int, Opened] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._opened)

    async def open(self, context: Context, wanted: Sequence[Subscription]) -> list[Subscribed]:
        """Open them all, some at a time, and say what became of each. What they send waits until :meth:`uncork`."""
        filters = Filters(context)
        results: list[Subscribed] = []
        for start in range(0, len(wanted), _AT_ONCE):
            batch = wanted[start : start + _AT_ONCE]
            results += await asyncio.gather(*(self._open(context, one, filters) for one in batch))
        return results

    def uncork(self, subs: Iterable[int]) -> None:
        """They are confirmed: what they send may follow."""
        for sub in subs:
            opened = self._opened.get(sub)
            if opened is not None and opened.corked:
                opened.uncork()

    def end(self, sub: int) -> bool:
        """Nothing is sent for it any more. Returns whether it was there."""
        opened = self._opened.pop(sub, None)
        if opened is not None:
            opened.close()
        return opened is not None

    def fail(self, context: Context, sub: int, error: CollabError) -> None:
        """End one, and say why."""
        if self.end(sub):
            context.outbox.say(context.encode(Failure(error=Error.of(error), sub=sub)))

    async def recheck(self, context: Context) -> None:
        """Rights may have changed: end what is not allowed any more."""
        filters = Filters(context)
        for sub, opened in list(self._opened.items()):
            try:
                if not opened.closed and not opened.corked:
                    await opened.recheck(filters)
            except CollabError as error:
                if self._opened.get(sub) is opened:
                    self.fail(context, sub, error)

    def close(self) -> None:
        """End them all."""
        self._closed = True
        for sub in list(self._opened):
            self.end(sub)

    def entity_event(self, context: Context, subs: tuple[int, ...], seen: Seen) -> None:
        """Send an event once for all of these if it may go at once, else keep it for each."""
        opened = [one for sub in subs if isinstance(one := self._opened.get(sub), OpenedEntities)]
        if any(one.corked or one.stream for one in opened) or not context.outbox.event(
            lambda: seen.frame(context.form, subs)
        ):
            for one in opened:
                one.deliver(seen)
        else:
            for one in opened:
                one.stream.position = seen.event.position

    async def _open(self, context: Context, wanted: Subscription, filters: Filters) -> Subscribed:
        sub = wanted.sub
        if sub in self._opened:
            return _refused(sub, InvalidRequest(f"subscription {sub} is open already"))
        if self._limit and len(self._opened) >= self._limit:
            return _refused(sub, RateLimitExceeded("too many subscriptions", limit=self._limit))
        opened = self._opened[sub] = _new(context, wanted)
        try:
            answer = await opened.open(filters)
        except CollabError as error:
            self._forget(sub, opened)
            return _refused(sub, error)
        except Exception:
            log.exception("a subscription could not be opened")
            self._forget(sub, opened)
            return _refused(sub, InternalError("the subscription could not be opened"))
        except BaseException:
            self._forget(sub, opened)
            raise
        if self._closed or self._opened.get(sub) is not opened:
            self._forget(sub, opened)
            return _refused(sub, InvalidRequest(f"subscription {sub} was ended while it was opened"))
        return answer

    def _forget(self, sub: int, opened: Opened) -> None:
        if self._opened.get(sub) is opened:
            del self._opened[sub]
        opened.close()


def _new(context: Context, wanted: Subscription) -> Opened:
    match wanted.target:
        case realtime.Entities() as target:
            return OpenedEntities(context, wanted.sub, target)
        case realtime.Rows() as target:
            return OpenedRows(context, wanted.sub, target)
        case realtime.Custom() as target:
            return OpenedCustom(context, wanted.sub, target)
        case realtime.System() as target:
            return OpenedSystem(context, wanted.sub, target)
        case realtime.Analytics() as target:
            return OpenedAnalytics(context, wanted.sub, target)
        case realtime.Presence() as target:
            return OpenedPresence(context, wanted.sub, target)


def _refused(sub: int, error: CollabError) -> Subscribed:
    return Subscribed(sub=sub, error=Error.of(error))
