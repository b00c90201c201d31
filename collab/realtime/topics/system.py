"""System events: the health of the server, and changes made by an administrator."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from time import time
from typing import Any, Final, NamedTuple

from collab.dates import iso
from collab.errors import InvalidRequest, SubscriptionFailed
from collab.realtime.listeners import KeyedListeners, Later, Listeners, Timer, call_later

HEALTH: Final = "health"
SCHEMA_UPDATED: Final = "schema_updated"
PERMISSIONS_CHANGED: Final = "permissions_changed"
ANNOUNCED: Final = frozenset({SCHEMA_UPDATED, PERMISSIONS_CHANGED})
SYSTEM_EVENTS: Final = ANNOUNCED | {HEALTH}
"""Types of system events. Custom events cannot have them."""

_CURSOR = re.compile(r"[A-Za-z0-9_.:-]+=[0-9]{1,9}(,[A-Za-z0-9_.:-]+=[0-9]{1,9})*", re.ASCII)
_LOOK_SECONDS = 1.0
_LOOKS = 10  # checks after which an unchanged state is sent again

SystemListener = Callable[[dict[str, Any]], None]


class ProjectHealth(NamedTuple):
    """Health of the server, as far as it concerns one project. ``reasons`` describe the problems."""

    connections: int
    rooms: int
    pending_bytes: int  # accepted and not yet committed
    reasons: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """``ok`` or ``degraded``."""
        return "degraded" if self.reasons else "ok"

    def event(self, at: float) -> dict[str, Any]:
        """Build the system event at ``at`` (seconds since the epoch)."""
        return {
            "type": HEALTH,
            "state": self.state,
            "reasons": list(self.reasons),
            "connections": self.connections,
            "rooms": self.rooms,
            "pendingBytes": self.pending_bytes,
            "at": iso(at),
        }


class SystemEvents:
    """Sends system events. ``probe`` returns the health for a project; it is called at most once a second."""

    def __init__(
        self,
        probe: Callable[[str], ProjectHealth],
        *,
        clock: Callable[[], float] = time,
        later: Later = call_later,
    ) -> None:
        self._probe = probe
        self._clock = clock
        self._later = later
        self._announced: KeyedListeners[str | None, dict[str, Any]] = KeyedListeners()
        self._health: dict[str, _Watched] = {}
        self._timer: Timer | None = None

    def subscribe(
        self, project: str, event: str, listener: SystemListener, *, user_id: str | None = None
    ) -> Callable[[], None]:
        """Send ``listener`` system events of a type. Returns a function that ends it.

        ``user_id`` is the listener's user; events for other users are not delivered. ``health`` is sent before this
        returns, then every 10 s, and within a second of a change. Raises :class:`SubscriptionFailed` for an unknown
        type.
        """
        if event == HEALTH:
            return self._subscribe_health(project, listener)
        if event not in ANNOUNCED:
            raise SubscriptionFailed("no such system event", event=event[:128], events=sorted(SYSTEM_EVENTS))

        def addressed(to: str | None, what: dict[str, Any]) -> None:
            if to is None or to == user_id:
                listener(what)

        return self._announced.add((project, event), addressed)

    def announce(self, project: str, event: Mapping[str, Any], *, user_id: str | None = None) -> dict[str, Any]:
        """Send an event to everybody in a project, or to one user.

        ``event`` is ``{"type": "schema_updated" | "permissions_changed", …}``. Returns the event as sent. Raises
        :class:`InvalidRequest` for other types.
        """
        kind = event.get("type")
        if not isinstance(kind, str) or kind not in ANNOUNCED:
            raise InvalidRequest(f"the type of an announcement must be one of {', '.join(sorted(ANNOUNCED))}")
        told = {**event, "at": iso(self._clock())}
        self._announced.tell((project, kind), user_id, told)
        return told

    def announce_to_all(self, event: Mapping[str, Any]) -> None:
        """Send an event to everybody in every project. Raises :class:`InvalidRequest` as :meth:`announce`."""
        for project in [project for project, kind in self._announced if kind == event.get("type")]:
            self.announce(project, event)

    def schema_event(self, collection: str, version: int) -> dict[str, Any]:
        """Build the event for a changed declaration."""
        return {"type": SCHEMA_UPDATED, "entityName": collection, "version": version, "at": iso(self._clock())}

    def permissions_changed(self, project: str, resource: str | None = None, *, user_id: str | None = None) -> None:
        """Rights have changed: on ``resource`` (``collection/id``; ``None``: any), for one user or for all."""
        event = {"type": PERMISSIONS_CHANGED, "resourceId": resource, "userId": user_id}
        self.announce(project, event, user_id=user_id)

    def look(self) -> None:
        """Check the health and send changes. Call it after a change that may affect the health."""
        for project, watched in list(self._health.items()):
            watched.look(self._probe(project), self._clock())

    def _subscribe_health(self, project: str, listener: SystemListener) -> Callable[[], None]:
        health = self._probe(project)
        watched = self._health.get(project)
        if watched is None:
            watched = self._health[project] = _Watched(health, lambda: self._unwatch_health(project))
        remove = watched.listeners.add(listener)
        if self._timer is None:
            self._timer = self._later(_LOOK_SECONDS, self._tick)
        listener(health.event(self._clock()))
        return remove

    def _unwatch_health(self, project: str) -> None:
        del self._health[project]
        if not self._health and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = self._later(_LOOK_SECONDS, self._tick)
        for watched in self._health.values():
            watched.looks += 1
        self.look()


def write_versions(versions: Mapping[str, int]) -> str:
    """A cursor that lists the declarations' versions that a client has received."""
    return ",".join(f"{name}={version}" for name, version in sorted(versions.items()))


def read_versions(cursor: str) -> dict[str, int] | None:
    """Parse a cursor of :func:`write_versions`; ``None`` if it is invalid."""
    if not cursor:
        return {}
    if not _CURSOR.fullmatch(cursor):
        return None
    return {name: int(version) for name, version in (one.split("=") for one in cursor.split(","))}


class _Watched:
    """The health of one project, as sent last."""

    def __init__(self, health: ProjectHealth, emptied: Callable[[], None]) -> None:
        self.listeners: Listeners[dict[str, Any]] = Listeners(emptied)
        self.looks = 0  # since it was sent
        self._told = (health.state, health.reasons)

    def look(self, health: ProjectHealth, at: float) -> None:
        """Send the health if it changed, or if it is time to repeat it."""
        if self.looks >= _LOOKS or (health.state, health.reasons) != self._told:
            self.looks = 0
            self._told = (health.state, health.reasons)
            self.listeners.tell(health.event(at))
