"""All subscriptions of one session."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

from collab.errors import CollabError, InternalError, InvalidRequest, RateLimitExceeded
from collab.query.parse_include import has_include
from collab.realtime.matching.entity_index import Seen
from collab.realtime.subscriptions.base import Context, Filters, OpenSubscription
from collab.realtime.subscriptions.entities import OpenedEntities
from collab.realtime.subscriptions.including import OpenedIncluding
from collab.realtime.subscriptions.rows import OpenedAggregate, OpenedRows
from collab.realtime.subscriptions.topics import OpenedAnalytics, OpenedCustom, OpenedPresence, OpenedSystem
from collab.tasks import for_each
from collab.wire.realtime import values as wire
from collab.wire.realtime.messages import Subscription
from collab.wire.realtime.values import Subscribed

log = logging.getLogger(__name__)

_AT_ONCE = 8  # opened, or checked, concurrently


class SessionSubscriptions:
    """Subscriptions by the client's number; at most ``limit`` (0: unlimited)."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._opened: dict[int, OpenSubscription] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._opened)

    async def open(self, context: Context, wanted: Sequence[Subscription]) -> list[Subscribed | CollabError]:
        """Open subscriptions, some at a time. Returns, in order, each confirmation, or the error that refused it.

        Their events wait until :meth:`uncork`.
        """
        filters = Filters(context)
        results: list[Subscribed | CollabError] = []
        for start in range(0, len(wanted), _AT_ONCE):
            batch = wanted[start : start + _AT_ONCE]
            results += await asyncio.gather(*(self._open(context, one, filters) for one in batch))
        return results

    def uncork(self, subs: Iterable[int]) -> None:
        """The confirmations were sent: events may follow."""
        for sub in subs:
            opened = self._opened.get(sub)
            if opened is not None and opened.corked:
                opened.uncork()

    def end(self, sub: int) -> bool:
        """End a subscription. Returns whether it existed."""
        opened = self._opened.pop(sub, None)
        if opened is not None:
            opened.close()
        return opened is not None

    async def recheck(self, context: Context) -> None:
        """Rights may have changed: end subscriptions that are no longer allowed."""
        filters = Filters(context)

        async def check(opened: OpenSubscription) -> None:
            try:
                if not opened.closed and not opened.corked:
                    await opened.recheck(filters)
            except CollabError as error:
                if self._opened.get(opened.sub) is opened:
                    context.ended(opened.sub, error)

        await for_each(list(self._opened.values()), check, at_once=_AT_ONCE)

    def close(self) -> None:
        """End all subscriptions."""
        self._closed = True
        for sub in list(self._opened):
            self.end(sub)

    def entity_event(self, context: Context, subs: tuple[int, ...], seen: Seen) -> None:
        """Send an event once for all of these subscriptions if possible now, else queue it for each."""
        opened = [one for sub in subs if isinstance(one := self._opened.get(sub), OpenedEntities)]
        for one in opened:
            one.saw(seen.event)
        if any(one.corked or one.stream for one in opened) or not context.outbox.event(
            lambda: seen.frame(context.form, context.encode, subs)
        ):
            for one in opened:
                one.deliver(seen)
        else:
            for one in opened:
                one.stream.position = seen.event.position

    async def _open(self, context: Context, wanted: Subscription, filters: Filters) -> Subscribed | CollabError:
        sub = wanted.sub
        if sub in self._opened:
            return InvalidRequest(f"subscription {sub} is open already")
        if self._limit and len(self._opened) >= self._limit:
            return RateLimitExceeded("too many subscriptions", limit=self._limit)
        opened = self._opened[sub] = _new(context, wanted)
        try:
            answer = await opened.open(filters)
        except CollabError as error:
            self._forget(sub, opened)
            return error
        except Exception:
            log.exception("could not open a subscription")
            self._forget(sub, opened)
            return InternalError("could not open the subscription")
        except BaseException:
            self._forget(sub, opened)
            raise
        if self._closed or self._opened.get(sub) is not opened:
            self._forget(sub, opened)
            return InvalidRequest(f"subscription {sub} was ended while it was opened")
        return answer

    def _forget(self, sub: int, opened: OpenSubscription) -> None:
        if self._opened.get(sub) is opened:
            del self._opened[sub]
        opened.close()


def _new(context: Context, wanted: Subscription) -> OpenSubscription:
    match wanted.target:
        case wire.Entities() as target:
            return OpenedEntities(context, wanted.sub, target)
        case wire.Rows() as target if has_include(target.query):
            return OpenedIncluding(context, wanted.sub, target)
        case wire.Rows() as target:
            return OpenedRows(context, wanted.sub, target)
        case wire.Aggregated() as target:
            return OpenedAggregate(context, wanted.sub, target)
        case wire.Custom() as target:
            return OpenedCustom(context, wanted.sub, target)
        case wire.System() as target:
            return OpenedSystem(context, wanted.sub, target)
        case wire.Analytics() as target:
            return OpenedAnalytics(context, wanted.sub, target)
        case wire.Presence() as target:
            return OpenedPresence(context, wanted.sub, target)
