"""One identity with subscriptions over one connection: a session, or a stream of server-sent events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from collab.access.identity import Identity
from collab.errors import AuthenticationFailed, CollabError, InternalError
from collab.realtime.hub import Hub
from collab.realtime.listeners import Later, Timer, ignore
from collab.realtime.matching.entity_index import Encode, Seen
from collab.realtime.sending.outbox import SessionOutbox
from collab.realtime.session.jobs import Jobs
from collab.realtime.session.requests import SUBSCRIPTIONS
from collab.realtime.subscriptions.base import Context
from collab.realtime.subscriptions.table import SessionSubscriptions
from collab.realtime.topics.channels import Channels
from collab.records.reads import Caller
from collab.wire.realtime.encoding import Format
from collab.wire.realtime.messages import Subscription
from collab.wire.realtime.values import Subscribed

log = logging.getLogger(__name__)

RECHECK_SECONDS = 0.5
"""Maximum delay before rights are checked again after a change; ``spread`` distributes subscribers within it."""
HOLD_SECONDS = 1.0
"""How long after a change of rights events are still sent without their check."""


class _Check:
    """A check of rights. ``late``: no events are sent until it is done."""

    __slots__ = ("begins", "holds", "late")

    def __init__(self) -> None:
        self.begins: Timer | None = None
        self.holds: Timer | None = None
        self.late = False

    def cancel(self) -> None:
        """Neither begin it, nor wait for it."""
        for timer in (self.begins, self.holds):
            if timer is not None:
                timer.cancel()


class Subscriber:
    """Opens subscriptions, and ends those that its identity loses the right to.

    ``failed`` is called with a subscription that ended and the reason, ``rechecked`` when rights are checked again,
    ``close`` to end the connection. Background work runs in ``jobs``. While a check takes longer than
    :data:`HOLD_SECONDS`, no events are sent.
    """

    def __init__(
        self,
        hub: Hub,
        caller: Caller,
        outbox: SessionOutbox,
        jobs: Jobs,
        *,
        form: Format,
        encode: Encode,
        limit: int,
        later: Later,
        failed: Callable[[int, CollabError], None],
        close: Callable[[CollabError], None],
        rechecked: Callable[[], None] = ignore,
        spread: float = 0.0,
    ) -> None:
        self._hub = hub
        self._jobs = jobs
        self._later = later
        self._failed = failed
        self._close = close
        self._rechecked = rechecked
        self._spread = spread
        self._left = False
        self._outbox = outbox
        self._due: _Check | None = None  # whoever begins it knows all changes until then
        self._checks: list[_Check] = []  # those that are due or under way
        self._subscriptions = SessionSubscriptions(limit)
        self.context = Context(
            hub,
            outbox,
            Channels(caller.identity),
            form,
            encode,
            caller=caller,
            follower=self,
            ended=self.fail,
            run=self._run,
        )
        hub.analytics.entered(caller.identity)
        self._entered = caller.identity
        self._unwatch = hub.system.subscribe(
            caller.identity.project,
            "permissions_changed",
            lambda event: self._recheck_soon(RECHECK_SECONDS * self._spread),
            user_id=caller.identity.user_id,
        )

    @property
    def caller(self) -> Caller:
        """Who subscribes."""
        return self.context.caller

    async def open(self, wanted: Sequence[Subscription]) -> list[Subscribed | CollabError]:
        """Open subscriptions. Returns, in order, each confirmation, or the error that refused it.

        Their events wait until :meth:`uncork`, because the confirmations must be sent first.
        """
        return await self._subscriptions.open(self.context, wanted)

    def uncork(self, answers: Sequence[Subscribed | CollabError]) -> None:
        """The confirmations were sent: events may follow."""
        self._subscriptions.uncork(answer.sub for answer in answers if isinstance(answer, Subscribed))

    def end(self, sub: int) -> None:
        """End a subscription."""
        self._subscriptions.end(sub)

    def fail(self, sub: int, error: CollabError) -> None:
        """End a subscription and report the reason."""
        if self._subscriptions.end(sub):
            self._failed(sub, error)

    def entity_event(self, subs: tuple[int, ...], seen: Seen) -> None:
        """Receive an event for these subscriptions."""
        try:
            self._subscriptions.entity_event(self.context, subs, seen)
        except Exception:
            log.exception("an event could not be sent")
            for sub in subs:  # after an end the client reloads; it would not notice a gap
                self.fail(sub, InternalError("could not send an event"))

    def identify(self, identity: Identity) -> None:
        """The same user has a new credential."""
        self.context.caller = self.caller._replace(identity=identity)
        self.context.channels.identify(identity)
        self._recheck_soon(0.0)

    def check_expiry(self, wall: float) -> None:
        """Raise :class:`AuthenticationFailed` if the credential has expired."""
        expires_at = self.caller.identity.expires_at
        if expires_at is not None and expires_at <= wall:
            raise AuthenticationFailed("the token has expired")

    def leave(self) -> None:
        """End everything. Only the first call has an effect."""
        if self._left:
            return
        self._left = True
        self._unwatch()
        self._subscriptions.close()
        for check in self._checks:
            check.cancel()
        self._checks.clear()
        self._due = None
        self._hub.presence.leave_all(self.caller)
        self._hub.analytics.left(self._entered)
        self.context.detach()
        self._failed = self._close = self._rechecked = ignore

    def _recheck_soon(self, delay: float) -> None:
        if self._due is None and not self._left:
            check = self._due = _Check()
            check.begins = self._later(delay, lambda: self._run(self._check_rights))
            check.holds = self._later(HOLD_SECONDS, lambda: self._is_late(check))
            self._checks.append(check)

    def _is_late(self, check: _Check) -> None:
        check.late = True
        self._outbox.pause(True)

    async def _check_rights(self) -> None:
        check, self._due = self._due, None
        if self._left or check is None:
            return
        self.context.channels.identify(self.caller.identity)
        self._rechecked()
        await asyncio.gather(self._subscriptions.recheck(self.context), self._hub.presence.recheck(self.caller))
        check.cancel()
        if self._left:
            return
        self._checks.remove(check)
        if check.late and not any(other.late for other in self._checks):
            self._outbox.pause(False)

    def _run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run background work, after the subscriptions that are being opened."""

        async def guarded() -> None:
            try:
                await work()
            except CollabError as error:
                self._close(error)
            except Exception:
                log.exception("background work of a subscriber failed")
                self._close(InternalError("the session failed"))

        if not self._left:
            self._jobs.add(guarded, lanes=(SUBSCRIPTIONS,), own=True)
