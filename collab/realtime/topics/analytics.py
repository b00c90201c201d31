"""Live metrics of a project."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from collab.access.identity import Identity
from collab.errors import SubscriptionFailed
from collab.realtime.listeners import Gathered, Later, Listeners, call_later

ACTIVE_USERS: Final = "active_users"
METRICS: Final = frozenset({ACTIVE_USERS})

_SECONDS = 1.0

MetricListener = Callable[[int | float], None]


class ActiveUsers:
    """Connected users per project: a verified user counts once, each unverified connection counts as one."""

    def __init__(self) -> None:
        self._users: dict[str, Counter[str]] = {}
        self._unverified: Counter[str] = Counter()

    def entered(self, identity: Identity) -> None:
        """A session has opened."""
        if identity.verified and identity.user_id is not None:
            self._users.setdefault(identity.project, Counter())[identity.user_id] += 1
        else:
            self._unverified[identity.project] += 1

    def left(self, identity: Identity) -> None:
        """A session with an equal identity has ended."""
        project = identity.project
        if identity.verified and identity.user_id is not None:
            users = self._users[project]
            users[identity.user_id] -= 1
            if not users[identity.user_id]:
                del users[identity.user_id]
            if not users:
                del self._users[project]
        else:
            self._unverified[project] -= 1
            if not self._unverified[project]:
                del self._unverified[project]

    def count(self, project: str) -> int:
        """Number of connected users."""
        return len(self._users.get(project, ())) + self._unverified[project]


class AnalyticsMetrics:
    """Sends metrics: the value immediately, then after changes, at most once a second."""

    def __init__(self, *, later: Later = call_later) -> None:
        self._later = later
        self._active = ActiveUsers()
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
        """Number of verified users, and of unverified connections."""
        return self._active.count(project)

    def subscribe(self, project: str, metric: str, listener: MetricListener) -> Callable[[], None]:
        """Call ``listener`` with the value: before this returns, and after each change. Returns a function to end it.

        Raises :class:`SubscriptionFailed` for an unknown metric.
        """
        if metric not in METRICS:
            raise SubscriptionFailed("no such metric", metric=metric[:128], metrics=sorted(METRICS))
        watched = self._watched.get(project)
        if watched is None:
            watched = self._watched[project] = _Watched(
                lambda: self._active.count(project), self._later, lambda: self._watched.pop(project)
            )
        remove = watched.listeners.add(listener)
        listener(watched.told)
        return remove

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
