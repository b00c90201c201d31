"""Connects a Hocuspocus socket to the server's checks and rooms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from collab.access.identity import Identity
from collab.access.price import Meter
from collab.cluster.passes import NoPass, Pass
from collab.errors import PermissionDenied, Restarting
from collab.hooks import Hooks, Request
from collab.realtime.topics.analytics import AnalyticsMetrics
from collab.rooms.live.room import Room
from collab.server.admission import Admission, Admitted
from collab.server.rights import Rights

_MOST_PASSED = 1000


class CollabGatekeeper:
    """The server's checks, for a Hocuspocus socket. Calls ``enter`` and ``leave`` for each client in a room.

    Without a verified user, all documents of a socket count as one active user; with ``counts=False`` as none, because
    the session that they belong to already counts.
    """

    __slots__ = (
        "_admission",
        "_analytics",
        "_check_pass",
        "_counts",
        "_enter",
        "_hooks",
        "_leave",
        "_meter",
        "_passed",
        "_request",
        "_rights",
        "_unverified",
    )

    def __init__(
        self,
        request: Request,
        meter: Meter,
        *,
        counts: bool,
        admission: Admission,
        rights: Rights,
        hooks: Hooks,
        analytics: AnalyticsMetrics,
        enter: Callable[[Admitted], None],
        leave: Callable[[Admitted], None],
        check_pass: Callable[[str], Pass] | None = None,
    ) -> None:
        self._check_pass = check_pass
        self._passed: dict[str, Identity] = {}
        self._meter = meter
        self._request = request
        self._counts = counts
        self._admission = admission
        self._rights = rights
        self._hooks = hooks
        self._analytics = analytics
        self._enter = enter
        self._leave = leave
        self._unverified: Counter[str] = Counter()  # documents of each project

    async def admit(self, name: str, token: str | None) -> Admitted:
        """Identify the holder of ``token``, and look up its rights on a document."""
        identity = self._named_by(token) if token else None
        if identity is not None:
            return await self._admission.admit_identity(identity, name)
        return await self._admission.admit_token(self._request, token, name)

    def _named_by(self, token: str) -> Identity | None:
        """The identity in a pass. It outlives the pass, for as long as the identity itself is valid.

        No pass is taken for a client's token, which an application's hook gets to see.
        """
        if self._check_pass is None:
            return None
        if token not in self._passed:
            try:
                identity = self._check_pass(token).identity
            except NoPass:
                return None  # it is the client's own token
            except PermissionDenied as error:  # it may have waited for too long on its way: the next one will not
                raise Restarting(error.message) from error
            if identity is None:
                raise PermissionDenied("this pass names nobody")
            self._passed[token] = identity
            if len(self._passed) > _MOST_PASSED:
                del self._passed[next(iter(self._passed))]
        return self._passed[token]

    async def open(self, admitted: Admitted) -> tuple[Room, Admitted]:
        """Open the room, and return the current rights."""
        return await self._rights.open(admitted)

    async def stateless(self, admitted: Admitted, payload: str) -> str | None:
        """Return the application's answer."""
        return await self._hooks.stateless(admitted.identity, admitted.key, payload)

    def enter(self, admitted: Admitted) -> None:
        """A client is about to join, and pays from now on. Raises :class:`collab.errors.CollabError`."""
        identity = admitted.identity
        self._meter.payer = self._admission.payer(self._request, identity)
        if self._check_pass is not None:
            return
        self._enter(admitted)
        if not identity.is_somebody:
            self._unverified[identity.project] += 1
            if not self._counts or self._unverified[identity.project] > 1:
                return
        self._analytics.entered(identity)

    def leave(self, admitted: Admitted) -> None:
        """A client that entered has left."""
        if self._check_pass is not None:
            return
        self._leave(admitted)
        identity = admitted.identity
        if not identity.is_somebody:
            self._unverified[identity.project] -= 1
            if not self._counts or self._unverified[identity.project]:
                return
        self._analytics.left(identity)
