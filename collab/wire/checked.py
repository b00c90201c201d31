"""What the gate found out about an update that may be applied."""

from __future__ import annotations

from collections.abc import Iterable, KeysView
from dataclasses import dataclass

from collab.wire.history import History
from collab.wire.stage import Stage
from collab.wire.structs import Delete, Struct


@dataclass(slots=True)
class Checked:
    """An update that may be applied, and what it does.

    ``before`` and ``after`` give the clocks of the clients that have *new* structs in it: those are its writers.
    ``structs`` and ``deletes`` are all that it holds, also what the room knows already. ``content`` tells after the
    commit whether anything but entity fields was written or deleted (maybe once more).
    """

    before: dict[int, int]
    after: dict[int, int]
    structs: list[Struct]
    deletes: list[Delete]
    update: bytes
    stage: Stage | None = None
    place: int = 0  # without a stage: of the only struct
    content: bool = False

    @property
    def has_deletes(self) -> bool:
        """Whether anything is deleted, known or not."""
        return bool(self.deletes)

    @property
    def clients(self) -> KeysView[int]:
        """Whose structs are new: these client ids must be the sender's own."""
        return self.before.keys()

    def touches(self, ranges: Iterable[Delete]) -> bool:
        """Whether it newly writes, or deletes, an element of ``(client, clock, length)`` ranges."""
        for client, clock, length in ranges:
            end = clock + length
            if client in self.before and self.before[client] < end and clock < self.after[client]:
                return True
            for other, start, size in self.deletes:
                if other == client and start < end and clock < start + size:
                    return True
        return False

    def commit(self, history: History) -> None:
        """Make it part of the history that it was checked against.

        Raises :class:`ValueError` if that has changed in between.
        """
        state = history.state
        for client, clock in self.before.items():
            if state.get(client, 0) != clock:
                raise ValueError("another update was committed since this one was checked")
            if self.stage is None:
                history.add_run(client, clock, self.place)
                state[client] = self.after[client]
        if self.stage is not None:
            self.stage.commit()
            self._remember(history)
        else:
            for client, clock, length in self.deletes:
                history.delete(client, clock, clock + length)

    def _remember(self, history: History) -> None:
        """Whoever takes part in a small update takes the short cut next time."""
        if len(self.structs) + len(self.deletes) > _FEW:
            return
        clients = {client for client, _, _ in self.deletes}
        for client, _, _, _, origin, right, *_ in self.structs:
            clients.add(client)
            if origin is not None:
                clients.add(origin[0])
            if right is not None:
                clients.add(right[0])
        for client in clients:
            history.remember(client)


_FEW = 8
