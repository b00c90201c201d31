"""Preparation of logged updates so that the CRDT library can apply them in order."""

from __future__ import annotations

from collections.abc import Iterable

from collab.gate.checked import Checked
from collab.gate.pairs import mend


class Replay:
    """Collects updates that were committed to a gate, in order; a later one may split pairs of earlier ones."""

    __slots__ = ("_cuts", "_updates")

    def __init__(self, updates: Iterable[bytes] = ()) -> None:
        self._updates = list(updates)
        self._cuts: dict[int, set[int]] = {}

    def add(self, checked: Checked) -> None:
        """Append an update that was just committed."""
        self._updates.append(checked.update)
        for client, clocks in checked.cuts.items():
            self._cuts.setdefault(client, set()).update(clocks)

    def updates(self) -> list[bytes]:
        """All updates. Surrogate pairs that a later update splits are already replaced by two U+FFFD each."""
        return [mend(update, self._cuts) for update in self._updates] if self._cuts else self._updates
