"""Edits that ended a worker, recognised however a client wraps them when it sends them again."""

from __future__ import annotations

from collections.abc import Iterable

from collab.wire.update import Checked, Malformed, decode

ENDED_A_WORKER = "ended a worker"  # how the reason of such an entry in storage begins


class Quarantine:
    """The structs and deletions of quarantined updates.

    A reconnecting client merges what it has into other bytes, so not bytes but the ranges of clocks that they
    write are compared; an update that only deletes is known by exactly what it deletes.
    """

    def __init__(self, updates: Iterable[bytes]) -> None:
        self._written: list[tuple[int, int, int]] = []
        self._deleted: set[tuple[tuple[int, int, int], ...]] = set()
        for update in updates:
            try:
                structs, deletes = decode(update)
            except Malformed:
                continue  # the gate refuses it by itself
            if structs:
                self._written.extend((struct[0], struct[1], struct[1] + struct[2]) for struct in structs)
            elif deletes:
                self._deleted.add(tuple(sorted(deletes)))

    def __bool__(self) -> bool:
        return bool(self._written or self._deleted)

    def holds(self, checked: Checked) -> bool:
        """Whether an update brings something of what is quarantined here."""
        for client, start, end in self._written:
            before = checked.before.get(client)
            if before is not None and before < end and checked.after[client] > start:
                return True
        return not checked.before and tuple(sorted(checked.deletes)) in self._deleted
