"""HTTP connections whose sender has shown no credential, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

COST = 40 * 1024
"""Bytes of memory that such a connection takes at most: its head and what is read of a body at once included."""
_TRUST = "collab.trust"
_YOUNG = 1.0  # seconds: a handshake is over by then


class Unproven:
    """The connections that count, oldest first.

    Beyond a budget the oldest are dropped, and none is refused: whoever comes to say who they are is served, however
    many others are silent.
    """

    def __init__(self) -> None:
        self._since: dict[Callable[[], object], float] = {}

    def add(self, drop: Callable[[], object], now: float) -> None:
        """Count a connection, until :meth:`discard`; ``drop`` ends it."""
        self._since[drop] = now

    def discard(self, drop: Callable[[], object]) -> None:
        """Count it no longer: it is trusted, or gone, or a WebSocket."""
        self._since.pop(drop, None)

    def drop_beyond(self, most: int, now: float) -> None:
        """Drop the oldest connections, down to ``most`` and those of the last second."""
        for drop, since in list(self._since.items())[: max(0, len(self) - most)]:
            if now - since < _YOUNG:
                break
            self.discard(drop)
            drop()

    def __len__(self) -> int:
        return len(self._since)


def trusting(trust: Callable[[], object], state: MutableMapping[str, Any]) -> dict[str, Any]:
    """The ``state`` of a connection's requests, with which the application can :func:`trust` their sender."""
    return {**state, _TRUST: trust}


def trust(scope: MutableMapping[str, Any]) -> None:
    """Tell the server of an HTTP request that its sender is known. Under another server it does nothing."""
    found = scope.get("state", {}).get(_TRUST)
    if found is not None:
        found()
