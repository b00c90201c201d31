"""HTTP connections whose sender has shown no credential, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

IDLE = 22 * 1024
"""Bytes of memory that such a connection takes before its first byte has come."""
COST = 44 * 1024
"""Bytes that it takes afterwards, besides its head: what serves a request, and what is read of a body at once."""
_COPIES = 3  # of a head: as it came, its headers, and those as the application gets them
_TRUST = "collab.trust"


class Unproven:
    """The connections that count, by address, the oldest of each first; ``held`` are the bytes that they take.

    Beyond a budget some are dropped, and none is refused: whoever comes to say who they are is served, however many
    others are silent. The address with the most connections loses its oldest, so that one cannot end those of others.
    All of it takes the same time however many there are.
    """

    def __init__(self) -> None:
        self.held = 0
        self._sizes: dict[str, dict[Callable[[], object], int]] = {}
        self._levels: list[dict[str, None]] = [{}]
        """At each index the addresses with so many connections, those that came to it first at the front."""

    def add(self, address: str, drop: Callable[[], object]) -> None:
        """Count a connection, until :meth:`discard`; ``drop`` ends it."""
        own = self._sizes.setdefault(address, {})
        own[drop] = IDLE
        self.held += IDLE
        self._move(address, len(own) - 1, len(own))

    def grow(self, address: str, drop: Callable[[], object], head: int) -> None:
        """Count it in full from now on, if it counts: ``head`` bytes of a request's head have come."""
        own = self._sizes.get(address, {})
        if drop in own:
            size = max(own[drop], COST + _COPIES * head)
            self.held += size - own[drop]
            own[drop] = size

    def discard(self, address: str, drop: Callable[[], object]) -> None:
        """Count it no longer: it is trusted, or gone, or a WebSocket."""
        own = self._sizes.get(address, {})
        size = own.pop(drop, None)
        if size is not None:
            self.held -= size
            self._move(address, len(own) + 1, len(own))
            if not own:
                del self._sizes[address]

    def drop_beyond(self, most: int) -> None:
        """Drop connections, down to ``most`` bytes."""
        while self.held > most and self._sizes:
            address = next(iter(self._levels[-1]))
            drop = next(iter(self._sizes[address]))
            self.discard(address, drop)
            drop()

    def _move(self, address: str, old: int, new: int) -> None:
        levels = self._levels
        levels[old].pop(address, None)
        if new == len(levels):
            levels.append({})
        if new:
            levels[new][address] = None
        while len(levels) > 1 and not levels[-1]:
            levels.pop()

    def __len__(self) -> int:
        return sum(map(len, self._sizes.values()))


def trusting(trust: Callable[[], object], state: MutableMapping[str, Any]) -> dict[str, Any]:
    """The ``state`` of a connection's requests, with which the application can :func:`trust` their sender."""
    return {**state, _TRUST: trust}


def trust(scope: MutableMapping[str, Any]) -> None:
    """Tell the server of an HTTP request that its sender is known. Under another server it does nothing."""
    found = scope.get("state", {}).get(_TRUST)
    if found is not None:
        found()
