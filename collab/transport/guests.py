"""The connections of a server, in the limits for each address and for those without a credential."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from collab.transport.addresses import is_within
from collab.transport.slots import Budget, Slots
from collab.transport.unproven import Unproven

_RESERVED = 16  # part of the budget


class Guests:
    """Counts connections: at most ``most``, half of them from one address, ``plain`` of one without a WebSocket.

    0 means no limit. Neither limit of an address applies to ``proxies``. Connections without a credential and without a
    WebSocket may hold ``unproven`` bytes less what WebSockets hold of ``budget``.
    """

    def __init__(self, *, most: int, plain: int, proxies: Sequence[str], unproven: int, budget: Budget) -> None:
        self._most = most
        self._proxies = proxies
        self._limit = unproven
        self._budget = budget
        self._count = 0
        self._open = Slots(max(1, most // 2) if most else 0)
        self._plain = Slots(plain)
        self._unproven = Unproven()

    def enter(self, address: str | None, drop: Callable[[], object]) -> Guest | None:
        """Count a connection, until :meth:`Guest.leave`; ``drop`` ends it. ``None`` if there is no room for it."""
        if self._most and self._count >= self._most:
            return None
        if address is not None and is_within(address, self._proxies):
            address = None
        if address is not None:
            if not self._open.take(address):
                return None
            if not self._plain.take(address):
                self._open.give_back(address)
                return None
            self._unproven.add(address, drop)
            self._drop_some()
        self._count += 1
        return Guest(self, address, drop)

    def hear(self, address: str, drop: Callable[[], object], size: int) -> None:
        """So many bytes of the head of a request have come."""
        self._unproven.grow(address, drop, size)
        self._drop_some()

    def trust(self, address: str, drop: Callable[[], object]) -> None:
        """Count a connection no longer as one without a credential."""
        self._unproven.discard(address, drop)

    def upgrade(self, address: str) -> None:
        """Count a connection no longer as one without a WebSocket."""
        self._plain.give_back(address)

    def leave(self, address: str | None) -> None:
        """A connection is gone."""
        self._count -= 1
        if address is not None:
            self._open.give_back(address)

    def _drop_some(self) -> None:
        """Drop connections beyond the budget."""
        if self._limit:
            # WebSockets may have it all: a part remains, or nobody could come in over HTTP
            self._unproven.drop_beyond(max(self._limit - self._budget.held, self._limit // _RESERVED))


class Guest:
    """One connection; ``address`` is ``None`` if no limits of an address apply to it."""

    __slots__ = ("_address", "_drop", "_guests", "_upgraded")

    def __init__(self, guests: Guests, address: str | None, drop: Callable[[], object]) -> None:
        self._guests = guests
        self._address = address
        self._drop = drop
        self._upgraded = False

    def heard(self, size: int) -> None:
        """So many bytes of the head of a request have come. It may be dropped for them."""
        if self._address is not None:
            self._guests.hear(self._address, self._drop, size)

    def trusted(self) -> None:
        """Its sender has shown a credential."""
        if self._address is not None:
            self._guests.trust(self._address, self._drop)

    def upgraded(self) -> None:
        """It is a WebSocket from now on."""
        if not self._upgraded:
            self._upgraded = True
            self.trusted()
            if self._address is not None:
                self._guests.upgrade(self._address)

    def leave(self) -> None:
        """It is gone. Call this once."""
        self.upgraded()
        self._drop = _nothing
        self._guests.leave(self._address)


def _nothing() -> None: ...
