"""System events: the state of the server, and what an administrator has changed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from time import time
from typing import Any, Final, NamedTuple

from collab.dates import iso
from collab.errors import InvalidRequest, SubscriptionFailed
from collab.realtime.listeners import Later, Listeners, Timer, call_later

HEALTH: Final = "health"
SCHEMA_UPDATED: Final = "schema_updated"
ANNOUNCED: Final = frozenset({SCHEMA_UPDATED, "permissions_changed"})
SYSTEM_EVENTS: Final = ANNOUNCED | {HEALTH}
"""The types of system events. Custom events cannot have them."""

_CURSOR = re.compile(r"[A-Za-z0-9_.:-]+=[0-9]{1,9}(,[A-Za-z0-9_.:-]+=[0-9]{1,9})*", re.ASCII)
_LOOK_SECONDS = 1.0
_LOOKS = 10  # after so many the same is told again

SystemListener = Callable[[dict[str, Any]], None]


class Health(NamedTuple):
    """How a server does, as far as it concerns one project. ``reasons`` say what is wrong, in words."""

    connections: int
    rooms: int
    pending_bytes: int  # accepted and not yet committed
    reasons: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """``ok`` or ``degraded``."""
        return "degraded" if self.reasons else "ok"

    def event(self, at: float) -> dict[str, Any]:
        """The system event that tells it, at ``at`` (seconds since the epoch)."""
        return {
            "type": HEALTH,
            "state": self.state,
            "reasons": list(self.reasons),
            "connections": self.connections,
            "rooms": self.rooms,
            "pendingBytes": self.pending_bytes,
            "at": iso(at),
        }


class System:
    """Tells system events. ``probe`` says how the server does for a project; it is asked once a second at most."""

    def __init__(
        self,
        probe: Callable[[str], Health],
        *,
        clock: Callable[[], float] = time,
        later: Later = call_later,
    ) -> None:
        self._probe = probe
        self._clock = clock
        self._later = later
        self._announced: dict[tuple[str, str], Listeners[str | None, dict[str, Any]]] = {}
        self._health: dict[str, _Watched] = {}
        self._timer: Timer | None = None

    def subscribe(
        self, project: str, event: str, listener: SystemListener, *, user_id: str | None = None
    ) -> Callable[[], None]:
        """Tell ``listener`` system events of a type. Returns what ends that.

        ``user_id`` is who listens: what is addressed to somebody else is kept from them. ``health`` is told before
        this returns, then every 10 s, and within a second when its state changes. Raises
        :class:`SubscriptionFailed` for a type that there is not.
        """
        if event == HEALTH:
            return self._subscribe_health(project, listener)
        if event not in ANNOUNCED:
            raise SubscriptionFailed("no such system event", event=event[:128], events=sorted(SYSTEM_EVENTS))

        def addressed(to: str | None, what: dict[str, Any]) -> None:
            if to is None or to == user_id:
                listener(what)

        key = (project, event)
        listeners = self._announced.setdefault(key, Listeners())
        remove = listeners.add(addressed)

        def close() -> None:
            remove()
            if not listeners and self._announced.get(key) is listeners:
                del self._announced[key]

        return close

    def announce(self, project: str, event: Mapping[str, Any], *, user_id: str | None = None) -> dict[str, Any]:
        """Tell everybody in a project, or one user, that something has changed.

        ``event`` is ``{"type": "schema_updated" | "permissions_changed", …}``; what was told is returned. Raises
        :class:`InvalidRequest` for other types.
        """
        kind = event.get("type")
        if not isinstance(kind, str) or kind not in ANNOUNCED:
            raise InvalidRequest(f"the type of an announcement is one of {', '.join(sorted(ANNOUNCED))}")
        told = {**event, "at": iso(self._clock())}
        listeners = self._announced.get((project, kind))
        if listeners is not None:
            listeners.tell(user_id, told)
        return told

    def announce_to_all(self, event: Mapping[str, Any]) -> None:
        """Tell everybody in every project. Raises :class:`InvalidRequest` as :meth:`announce`."""
        for project in [project for project, kind in self._announced if kind == event.get("type")]:
            self.announce(project, event)

    def schema_updated(self, project: str, collection: str, version: int) -> None:
        """The declaration of a collection is another one now."""
        self.announce(project, self.schema_event(collection, version))

    def schema_event(self, collection: str, version: int) -> dict[str, Any]:
        """What is told of the declaration of a collection."""
        return {"type": SCHEMA_UPDATED, "entityName": collection, "version": version, "at": iso(self._clock())}

    def permissions_changed(self, project: str, resource: str | None = None, *, user_id: str | None = None) -> None:
        """Rights have changed: on ``resource`` (``collection/id``; ``None``: on anything), of one user or of all."""
        event = {"type": "permissions_changed", "resourceId": resource, "userId": user_id}
        self.announce(project, event, user_id=user_id)

    def look(self) -> None:
        """Look how the server does, and tell where that is news. Call it when something is known to have changed."""
        for project, watched in list(self._health.items()):
            watched.look(self._probe(project), self._clock())

    def _subscribe_health(self, project: str, listener: SystemListener) -> Callable[[], None]:
        health = self._probe(project)
        watched = self._health.get(project)
        if watched is None:
            watched = self._health[project] = _Watched(health)
        remove = watched.listeners.add(listener)
        if self._timer is None:
            self._timer = self._later(_LOOK_SECONDS, self._tick)
        listener(health.event(self._clock()))

        def close() -> None:
            remove()
            if not watched.listeners and self._health.get(project) is watched:
                del self._health[project]
            if not self._health and self._timer is not None:
                self._timer.cancel()
                self._timer = None

        return close

    def _tick(self) -> None:
        self._timer = self._later(_LOOK_SECONDS, self._tick)
        for watched in self._health.values():
            watched.looks += 1
        self.look()


def write_versions(versions: Mapping[str, int]) -> str:
    """A cursor that says which declarations are known."""
    return ",".join(f"{name}={version}" for name, version in sorted(versions.items()))


def read_versions(cursor: str) -> dict[str, int] | None:
    """What :func:`write_versions` was given, ``None`` if this is no such cursor."""
    if not cursor:
        return {}
    if not _CURSOR.fullmatch(cursor):
        return None
    return {name: int(version) for name, version in (one.split("=") for one in cursor.split(","))}


class _Watched:
    """The health of one project, as it was told last."""

    def __init__(self, health: Health) -> None:
        self.listeners: Listeners[dict[str, Any]] = Listeners()
        self.looks = 0  # since it was told
        self._told = (health.state, health.reasons)

    def look(self, health: Health, at: float) -> None:
        """Tell it if it is time, or news."""
        if self.looks >= _LOOKS or (health.state, health.reasons) != self._told:
            self.looks = 0
            self._told = (health.state, health.reasons)
            self.listeners.tell(health.event(at))
