"""The last writer of each entry of some maps, in the order on which all replicas agree.

Each write of an entry names as its origin the write that its writer saw. So the writes of one entry form a tree, which
Yjs reads depth first, the children of a write by rising client id; the last one is the *head*, which gives the entry
its value. It is the end of the path that takes the last child at each step. Children are only ever added, so a write
that is not on this path never returns to it: only the order on the path has to be stored, and each write enters and
leaves it at most once.

Consecutive writes of one client, each replacing the one before, are stored as one *run*.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import TypeAlias

from collab.gate.structs import Id

EntriesDump: TypeAlias = tuple[list[int], list[str], bytes, list[bytes], list[tuple[bytes, bytes]]]
"""The content of :class:`Entries`: client ids, keys and deleted heads by slot, columns, runs by client."""

_COLUMNS = ("_client", "_clock", "_length", "_slot", "_next", "_on", "_heads", "_firsts", "_type")


class Entries:
    """The writes of all entries. An entry of one type is a *slot*, numbered from 0; runs are numbered from 1."""

    __slots__ = (*_COLUMNS, "_clients", "_numbers", "_where", "deleted", "keys", "slots")

    def __init__(self) -> None:
        self.slots: dict[int, dict[str, int]] = {}  # type -> key -> slot
        self.keys: list[str] = []  # by slot
        self.deleted = bytearray()  # by slot: whether the head is deleted
        self._type = array("I")  # by slot
        self._heads = array("I")  # by slot: the run at the end of the path
        self._firsts = array("I")  # by slot: the run at its beginning
        # by run
        self._client = array("I", (0,))
        self._clock = array("I", (0,))
        self._length = array("I", (0,))
        self._slot = array("I", (0,))
        self._next = array("I", (0,))  # on the path
        self._on = array("B", (0,))  # whether it is on the path
        self._clients: list[int] = []
        self._numbers: dict[int, int] = {}  # client id -> index in _clients
        self._where: dict[
            int, tuple[array[int], array[int]]
        ] = {}  # client id -> clocks, rising, where runs start; runs

    def slot(self, number: int, key: str) -> int:
        """The slot of an entry, created if it is new."""
        of_type = self.slots.setdefault(number, {})
        slot = of_type.get(key)
        if slot is None:
            slot = of_type[key] = len(self.keys)
            self.keys.append(key)
            self.deleted.append(0)
            self._type.append(number)
            self._heads.append(0)
            self._firsts.append(0)
        return slot

    def type_of(self, slot: int) -> int:
        """The type that contains the entry of a slot."""
        return self._type[slot]

    def knows(self, client: int) -> bool:
        """Whether a client ever wrote an entry."""
        return client in self._where

    def slot_at(self, client: int, clock: int) -> int:
        """The slot that an element wrote to; -1 if it is no such write."""
        run = self._find(client, clock)
        return self._slot[run] if run else -1

    def head(self, slot: int) -> Id:
        """The newest element of an entry."""
        run = self._heads[slot]
        return self._clients[self._client[run]], self._clock[run] + self._length[run] - 1

    def is_head(self, slot: int, element: Id) -> bool:
        """Whether ``element`` is the newest of an entry."""
        return self.head(slot) == element

    def between(self, client: int, clock: int, end: int) -> Iterator[tuple[int, Id]]:
        """For each run with elements from ``clock`` to ``end``: its slot, and the last of these elements."""
        clocks, runs = self._where.get(client, _NOTHING)
        for i in range(max(0, bisect_right(clocks, clock) - 1), bisect_left(clocks, end)):
            run = runs[i]
            last = min(end, clocks[i] + self._length[run]) - 1
            if last >= clock:
                yield self._slot[run], (client, last)

    def add(self, slot: int, client: int, clock: int, length: int, origin: Id | None) -> bool:
        """Add elements: the first replaced ``origin``, each other its predecessor.

        ``origin`` is an element of the same slot. Returns whether it was the head.
        """
        head = self._heads[slot]
        before = 0
        if origin is None:
            if not head:
                self._firsts[slot] = self._heads[slot] = self._append(slot, client, clock, length, on=True)
                return True
            rival = self._firsts[slot]
        else:
            before = self._find(*origin)
            at_end = self._clock[before] + self._length[before] - 1 == origin[1]
            if before == head and at_end:
                self.replace_head(slot, client, clock, length)
                return True
            rival = 0 if not self._on[before] else self._next[before] if at_end else before
        if rival and self._clients[self._client[rival]] < client:
            self._leave(rival if rival != before else self._split(before, origin))
            run = self._append(slot, client, clock, length, on=True)
            if before:
                self._next[before] = run
            else:
                self._firsts[slot] = run
            self._heads[slot] = run
        else:
            self._append(slot, client, clock, length, on=False)
        return False

    def replace_head(self, slot: int, client: int, clock: int, length: int = 1) -> None:
        """Add elements: the first replaced the head, each other its predecessor."""
        head = self._heads[slot]
        if self.head(slot) == (client, clock - 1):
            self._length[head] += length
        else:
            self._next[head] = self._heads[slot] = self._append(slot, client, clock, length, on=True)

    def _find(self, client: int, clock: int) -> int:
        found = self._where.get(client)
        if found is None:
            return 0
        clocks, runs = found
        i = bisect_right(clocks, clock) - 1
        if i < 0:
            return 0
        run = runs[i]
        return run if clock < clocks[i] + self._length[run] else 0

    def _append(self, slot: int, client: int, clock: int, length: int, *, on: bool) -> int:
        own = self._where.get(client)
        if own is None:
            own = self._where[client] = (array("I"), array("I"))
            self._numbers[client] = len(self._clients)
            self._clients.append(client)
        clocks, runs = own
        if runs and not on:
            last = runs[-1]
            if not self._on[last] and self._slot[last] == slot and clocks[-1] + self._length[last] == clock:
                self._length[last] += length
                return last
        run = self._new(slot, self._numbers[client], clock, length, on=on)
        clocks.append(clock)
        runs.append(run)
        return run

    def _new(self, slot: int, client: int, clock: int, length: int, *, on: bool) -> int:
        self._client.append(client)
        self._clock.append(clock)
        self._length.append(length)
        self._slot.append(slot)
        self._next.append(0)
        self._on.append(on)
        return len(self._on) - 1

    def _split(self, run: int, last: Id | None) -> int:
        """End a run with ``last``. Returns a run of the rest, which replaces it on the path for now."""
        assert last is not None
        client, clock = last
        length = clock + 1 - self._clock[run]
        rest = self._new(self._slot[run], self._client[run], clock + 1, self._length[run] - length, on=True)
        self._length[run] = length
        self._next[rest] = self._next[run]
        clocks, runs = self._where[client]
        i = bisect_right(clocks, clock)
        clocks.insert(i, clock + 1)
        runs.insert(i, rest)
        return rest

    def _leave(self, run: int) -> None:
        """Remove a run and everything behind it from the path."""
        while run:
            self._on[run] = 0
            run = self._next[run]

    def dump(self) -> EntriesDump:
        """Everything, for :meth:`load`."""
        columns = [getattr(self, name).tobytes() for name in _COLUMNS]
        where = [(clocks.tobytes(), runs.tobytes()) for clocks, runs in self._where.values()]
        return list(self._where), self.keys, bytes(self.deleted), columns, where

    @classmethod
    def load(cls, dump: EntriesDump) -> Entries:
        """The inverse of :meth:`dump`. Raises :class:`ValueError` if ``dump`` is inconsistent."""
        entries = cls()
        clients, entries.keys, deleted, columns, where = dump
        entries.deleted = bytearray(deleted)
        for name, column in zip(_COLUMNS, columns, strict=True):
            setattr(entries, name, array(getattr(entries, name).typecode, column))
        for slot, (number, key) in enumerate(zip(entries._type, entries.keys, strict=True)):
            entries.slots.setdefault(number, {})[key] = slot
        for client, (clocks, runs) in zip(clients, where, strict=True):
            entries._numbers[client] = len(entries._clients)
            entries._clients.append(client)
            entries._where[client] = (array("I", clocks), array("I", runs))
        return entries


_NOTHING = (array("I"), array("I"))
