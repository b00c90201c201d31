"""How often an update may make the CRDT library go through a whole document.

A struct may split a block in two, which copies what follows in it, or be compared with all that others have written at
its place; a deletion may split, too. One of them takes up to 25 ns for each byte of the document. Most structs of a new
document do neither: they follow another new one, or begin something.
"""

from __future__ import annotations

from collections.abc import Mapping

from collab.gate.structs import Id, Struct


class Scans:
    """Counts for the structs of an update that is applied in one transaction. ``state``: the clocks that are known.

    Free is what cannot reach far:

    * What is known already, and garbage, which has no place.
    * The first behind the end of a struct that is new, too: no block goes on there, and what the document has behind it
      was written without knowledge of it. If it has a right origin, the first that does may split the block that begins
      there; the others need not.
    * The first of this update at a place, which is an entry of a map or the beginning of a type. It is compared with
      what is there; but no element of a document is at two places, so all places together count once.
    """

    __slots__ = ("_ends", "_places", "_rights", "_state", "count")

    def __init__(self, state: Mapping[int, int]) -> None:
        self.count = 0
        self._state = state
        self._ends: set[Id] = set()
        self._places: set[tuple[Id | str, str | None]] = set()
        self._rights: set[Id] = set()

    def add(self, struct: Struct) -> int:
        """Count one more struct. Returns how many passes through the document all of them may take."""
        client, clock, length, _, origin, right, parent, key, _, _ = struct
        end, known = clock + length, self._state.get(client, 0)
        if end <= known:
            return self.count
        if clock < known:  # what is new of it follows what is known
            self.count += 1
        elif parent is not None:
            place = parent, key
            if place in self._places or not self._places:
                self.count += 1
            self._places.add(place)
        elif origin is not None and origin in self._ends:
            self._ends.discard(origin)
            if right is not None and right not in self._rights:
                self._rights.add(right)
                self.count += 1
        elif origin is not None or right is not None:
            self.count += 1
        self._ends.add((client, end - 1))
        return self.count
