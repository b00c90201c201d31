"""A document behind a gate, as in a room."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from pycrdt import Doc, Text

from collab.gate.checked import Checked
from collab.gate.document_index import TYPE_SHIFT
from collab.gate.gate import Gap, Gate
from collab.gate.limits import MAX_PARTS, StepLimit
from collab.gate.pieces import Pieces
from collab.gate.replay import Replay
from collab.gate.struct_content import Malformed
from collab.gate.structs import decode_state_vector
from collab.rooms.live.faults import take_in
from collab.rooms.live.neighbours import are_inverted


class Replica:
    """Applies updates. ``log`` contains the applied ones."""

    def __init__(self, updates: Iterable[bytes] = (), mapped: Collection[str] = ()) -> None:
        self.gate = Gate(mapped)
        self.doc: Doc[Any] = Doc()
        self.log: list[bytes] = []
        for update in updates:
            self.take_all(update)

    def check(self, update: bytes, limit: int = MAX_PARTS) -> Checked:
        """Return the acceptable part of an update. Raises :class:`Malformed`."""
        checked = self.gate.check(update, limit)
        if are_inverted(self.doc, checked.neighbours):
            raise Malformed("the left and right origins of an element are in reverse order")
        return checked

    def take(self, update: bytes, limit: int = MAX_PARTS) -> Checked:
        """Apply the acceptable part of an update."""
        checked = self.check(update, limit)
        self.doc, _ = take_in(self.doc, self.gate, checked, live=False)
        self.log.append(checked.update)
        return checked

    def take_apart(self, update: bytes, parts: int) -> Checked:
        """Apply an update in pieces. Returns the last one, which reports everything that was left out."""
        pieces = Pieces(update)
        while True:
            checked = self.gate.check(pieces.take(StepLimit(parts, parts), self.gate.state))
            pieces.sum_up(checked)
            self.doc, _ = take_in(self.doc, self.gate, checked, live=False)
            self.log.append(checked.update)
            if not pieces:
                return checked

    def shape(self, gate: Gate | None = None) -> dict[str, object]:
        """The knowledge of a gate (by default this one's), independent of its numbering of types."""
        history = (gate or self.gate)._history
        names: dict[int, object] = {0: None}
        names.update((number, name) for name, number in history.roots.items())
        for client, (clocks, types) in history.types.items():
            names.update((number, (client, clock)) for clock, number in zip(clocks, types, strict=True))
        flags = (1 << TYPE_SHIFT) - 1
        return {
            "state": history.state,
            "types": {names[n]: (history.kinds[n], history.depths[n]) for n in names},
            "places": {
                client: [(at, names[place >> TYPE_SHIFT], place & flags) for at, place in zip(*runs, strict=True)]
                for client, runs in history.runs.items()
            },
            "pairs": {client: list(clocks) for client, clocks in history.pairs.items() if clocks},
        }

    def take_all(self, update: bytes) -> Checked:
        """Apply an update completely or not at all. Raises :class:`Gap`."""
        if self.gate.check(update).leaves:
            raise Gap
        return self.take(update)

    def replayed(self, gate: Gate | None = None) -> Doc[Any]:
        """Build another document from the log, with its ``gate``."""
        gate = gate or Gate()
        replay = Replay()
        for update in self.log:
            checked = gate.check_all(update, limit=len(update))
            gate.commit(checked)
            replay.add(checked)
        doc: Doc[Any] = Doc()
        for update in replay.updates():
            doc.apply_update(update)
        return doc

    def text(self, root: str) -> str:
        """A root as text."""
        return str(self.doc.get(root, type=Text))

    def assert_loads_again(self) -> None:
        again = Replica([self.doc.get_update()])
        assert again.gate.state == self.gate.state
        assert decode_state_vector(again.doc.get_state()) == self.gate.state
