"""Live metrics of a project."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from collab.access.identity import Identity
from collab.bus.base import Bus
from collab.errors import SubscriptionFailed
from collab.realtime.listeners import Gathered, Later, Listeners, call_later
from collab.realtime.topics.cluster_users import ClusterUsers, ConnectedUsers, hash_user

ACTIVE_USERS: Final = "active_users"
METRICS: Final = frozenset({ACTIVE_USERS})

_SECONDS = 1.0

MetricListener = Callable[[int | float], None]


class ActiveUsers:
    """ConnectedUsers users per project: a verified user counts once, each unverified connection counts as one."""

    def __init__(self) -> None:
        self._users: dict[str, Counter[bytes]] = {}  # by project, users by hash
        self._unverified: Counter[str] = Counter()

    def entered(self, identity: Identity) -> None:
        """A session has opened."""
        if identity.verified and identity.user_id is not None:
            self._users.setdefault(identity.project, Counter())[hash_user(identity.user_id)] += 1
        else:
            self._unverified[identity.project] += 1

    def left(self, identity: Identity) -> None:
        """A session with an equal identity has ended."""
        project = identity.project
        if identity.verified and identity.user_id is not None:
            users, user = self._users[project], hash_user(identity.user_id)
            users[user] -= 1
            if not users[user]:
                del users[user]
            if not users:
                del self._users[project]
        else:
            self._unverified[project] -= 1
            if not self._unverified[project]:
                del self._unverified[project]

    def connected(self, project: str) -> ConnectedUsers:
        """Who is connected. It changes when that does."""
        users = self._users.get(project)
        return ConnectedUsers(users.keys() if users is not None else frozenset(), self._unverified[project])

    def count(self, project: str) -> int:
        """Number of connected users."""
        return len(self._users.get(project, ())) + self._unverified[project]


class AnalyticsMetrics:
    """Sends metrics: the value immediately, then after changes, at most once a second.

    With a ``bus`` they are those of its cluster, and :meth:`run` must be running. Those of other nodes come about a
    second later.
    """

    def __init__(self, bus: Bus | None = None, *, later: Later = call_later) -> None:
        self._later = later
        self._active = ActiveUsers()
        self._cluster = ClusterUsers(bus, self._active.connected, self._changed) if bus is not None else None
        self._watched: dict[str, _Watched] = {}

    def entered(self, identity: Identity) -> None:
        """A session of an editor or an application has opened."""
        self._active.entered(identity)
        self._changed(identity.project)

    def left(self, identity: Identity) -> None:
        """A session that :meth:`entered` with an equal identity has ended."""
        self._active.left(identity)
        self._changed(identity.project)

    def active_users(self, project: str) -> int:
        """Number of verified users, and of unverified connections; in a cluster, while somebody watches it here."""
        return self._active.count(project) if self._cluster is None else self._cluster.count(project)

    async def run(self) -> None:
        """Count with other nodes, if there are any, until cancelled."""
        if self._cluster is not None:
            await self._cluster.run()

    def subscribe(self, project: str, metric: str, listener: MetricListener) -> Callable[[], None]:
        """Call ``listener`` with the value: before this returns, and after each change. Returns a function to end it.

        Raises :class:`SubscriptionFailed` for an unknown metric.
        """
        if metric not in METRICS:
            raise SubscriptionFailed("no such metric", metric=metric[:128], metrics=sorted(METRICS))
        watched = self._watched.get(project)
        if watched is None:
            if self._cluster is not None:
                self._cluster.watch(project)
            watched = self._watched[project] = _Watched(
                lambda: self.active_users(project), self._later, lambda: self._unwatch(project)
            )
        remove = watched.listeners.add(listener)
        listener(watched.told)
        return remove

    def _unwatch(self, project: str) -> None:
        del self._watched[project]
        if self._cluster is not None:
            self._cluster.unwatch(project)

    def _changed(self, project: str) -> None:
        watched = self._watched.get(project)
        if watched is not None:
            watched.gathered.happened()


class _Watched:
    """One metric, and the value that all listeners received last."""

    def __init__(self, value: Callable[[], int], later: Later, unwatched: Callable[[], object]) -> None:
        self.listeners: Listeners[int | float] = Listeners(self._emptied)
        self.gathered = Gathered(_SECONDS, self._tell, later)
        self.told = value()
        self._value = value
        self._unwatched = unwatched

    def _emptied(self) -> None:
        self.gathered.cancel()
        self._unwatched()

    def _tell(self) -> None:
        value = self._value()
        if value != self.told:
            self.told = value
            self.listeners.tell(value)
