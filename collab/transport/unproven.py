"""HTTP connections whose sender has shown no credential, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from heapq import heapify, heappop, heappush
from typing import Any

COST = 40 * 1024
"""Bytes of memory that such a connection takes at most: its head and what is read of a body at once included."""
_TRUST = "collab.trust"
_YOUNG = 1.0  # seconds: a handshake is over by then


class Unproven:
    """The connections that count, by address, the oldest of each first.

    Beyond a budget some are dropped, and none is refused: whoever comes to say who they are is served, however many
    others are silent. The address with the most connections loses its oldest, so that one cannot end those of others.
    """

    def __init__(self) -> None:
        self._since: dict[str, dict[Callable[[], object], float]] = {}
        self._count = 0

    def add(self, address: str, drop: Callable[[], object], now: float) -> None:
        """Count a connection, until :meth:`discard`; ``drop`` ends it."""
        self._since.setdefault(address, {})[drop] = now
        self._count += 1

    def discard(self, address: str, drop: Callable[[], object]) -> None:
        """Count it no longer: it is trusted, or gone, or a WebSocket."""
        own = self._since.get(address, {})
        if own.pop(drop, None) is not None:
            self._count -= 1
            if not own:
                del self._since[address]

    def drop_beyond(self, most: int, now: float) -> None:
        """Drop connections, down to ``most`` and those of the last second."""
        heaviest = [(-len(own), address) for address, own in self._since.items()]
        heapify(heaviest)
        while self._count > most and heaviest:
            size, address = heappop(heaviest)
            drop, since = next(iter(self._since[address].items()))
            if now - since >= _YOUNG:
                self.discard(address, drop)
                drop()
                if size < -1:
                    heappush(heaviest, (size + 1, address))

    def __len__(self) -> int:
        return self._count


def trusting(trust: Callable[[], object], state: MutableMapping[str, Any]) -> dict[str, Any]:
    """The ``state`` of a connection's requests, with which the application can :func:`trust` their sender."""
    return {**state, _TRUST: trust}


def trust(scope: MutableMapping[str, Any]) -> None:
    """Tell the server of an HTTP request that its sender is known. Under another server it does nothing."""
    found = scope.get("state", {}).get(_TRUST)
    if found is not None:
        found()
