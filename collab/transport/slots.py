"""How much each caller may hold at once, and all of them together."""

from __future__ import annotations

from collections.abc import Hashable


class Budget:
    """Limits the amount held at once by each caller, and by all together. 0 is no limit."""

    __slots__ = ("_each", "_held", "_sum", "_total")

    def __init__(self, each: int, total: int) -> None:
        self._each = each
        self._total = total
        self._held: dict[Hashable, int] = {}
        self._sum = 0

    def take(self, who: Hashable, size: int) -> bool:
        """Hold ``size`` more for ``who``. Returns whether there was room; if so, call :meth:`give_back` later."""
        held = self._held.get(who, 0) + size
        if (self._each and held > self._each) or (self._total and self._sum + size > self._total):
            return False
        self._held[who] = held
        self._sum += size
        return True

    @property
    def held(self) -> int:
        """What all hold together."""
        return self._sum

    def give_back(self, who: Hashable, size: int) -> None:
        """Release some of it."""
        if size:
            self._sum -= size
            left = self._held[who] - size
            if left:
                self._held[who] = left
            else:
                del self._held[who]

    def __len__(self) -> int:
        return len(self._held)


class Slots:
    """Limits how many slots each caller holds at once; 0 is no limit."""

    __slots__ = ("_limit", "_taken")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._taken: dict[Hashable, int] = {}

    def take(self, who: Hashable) -> bool:
        """Take a slot for ``who``. Returns whether one was free; if so, call :meth:`give_back` later."""
        taken = self._taken.get(who, 0)
        if self._limit and taken >= self._limit:
            return False
        self._taken[who] = taken + 1
        return True

    def give_back(self, who: Hashable) -> None:
        """Release a slot."""
        left = self._taken[who] - 1
        if left:
            self._taken[who] = left
        else:
            del self._taken[who]

    def __len__(self) -> int:
        return len(self._taken)
