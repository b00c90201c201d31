"""Recognition of edits that crashed a worker, however a client wraps them when it sends them again."""

from __future__ import annotations

from collections.abc import Iterable

from collab.gate.checked import Checked
from collab.gate.struct_content import Malformed
from collab.gate.structs import decode

ENDED_A_WORKER = "ended a worker"  # the reason of such an entry in storage begins with this


class Quarantine:
    """The structs and deletions of quarantined updates.

    A reconnecting client merges its edits into other bytes. So not the bytes are compared but the clock ranges that
    they write; an update that only deletes is recognised by exactly what it deletes.
    """

    def __init__(self, updates: Iterable[bytes]) -> None:
        self._written: list[tuple[int, int, int]] = []
        self._deleted: set[tuple[tuple[int, int, int], ...]] = set()
        for update in updates:
            try:
                structs, deletes = decode(update)
            except Malformed:
                continue  # the gate refuses it anyway
            if structs:
                self._written.extend((struct[0], struct[1], struct[1] + struct[2]) for struct in structs)
            elif deletes:
                self._deleted.add(tuple(sorted(deletes)))

    def __bool__(self) -> bool:
        return bool(self._written or self._deleted)

    def holds(self, checked: Checked) -> bool:
        """Whether an update contains any quarantined struct or deletion."""
        for client, start, end in self._written:
            before = checked.before.get(client)
            if before is not None and before < end and checked.after[client] > start:
                return True
        return not checked.before and tuple(sorted(checked.deletes)) in self._deleted
