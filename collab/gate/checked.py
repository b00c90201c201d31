"""The gate's result for an update that may be applied."""

from __future__ import annotations

from collections.abc import KeysView, Sequence
from dataclasses import dataclass

from collab.gate.document_index import DocumentIndex
from collab.gate.pairs import Cuts
from collab.gate.repeats import Repeats
from collab.gate.revision import Revision
from collab.gate.stage import Stage
from collab.gate.structs import DeletedRange, Neighbours, Struct


@dataclass(slots=True)
class Checked:
    """An update that may be applied, and its effect.

    ``update`` is to be applied, logged and relayed: the original bytes, or the acceptable part of them; ``revision``
    holds the difference, ``None`` if there is none.

    ``before`` and ``after`` are the clocks of the clients with *new* structs: the writers. ``structs`` and ``deletes``
    are all parts of the update, including known ones. ``content``: after the commit, whether anything but entity fields
    was written or deleted (possibly a false positive). ``repeats`` are the structs that the room already knows,
    ``None`` if there are none. ``neighbours`` are the pairs of origins whose order the gate does not know. ``seconds``:
    how long the check took, if somebody has noted it.
    """

    before: dict[int, int]
    after: dict[int, int]
    structs: list[Struct]
    deletes: list[DeletedRange]
    update: bytes
    stage: Stage | None = None
    place: int = 0  # without a stage: place of the only struct
    content: bool = False
    revision: Revision | None = None
    repeats: Repeats | None = None
    neighbours: Sequence[Neighbours] = ()
    seconds: float = 0.0

    @property
    def cuts(self) -> Cuts:
        """Surrogate pairs in the document to replace by two characters each before applying the update."""
        return self.revision.cuts if self.revision is not None else {}

    @property
    def leaves(self) -> bool:
        """Whether a part was left out, which may come again later."""
        return self.revision is not None and self.revision.leaves

    @property
    def parts(self) -> int:
        """Number of structs and deletions."""
        return len(self.structs) + len(self.deletes)

    @property
    def has_deletes(self) -> bool:
        """Whether anything is deleted, known or not."""
        return bool(self.deletes)

    @property
    def clients(self) -> KeysView[int]:
        """The client ids with new structs; they must be the sender's own."""
        return self.before.keys()

    def commit(self, history: DocumentIndex) -> None:
        """Add it to the history that it was checked against.

        Raises :class:`ValueError` if that history has changed in between.
        """
        state = history.state
        for client, clock in self.before.items():
            if state.get(client, 0) != clock:
                raise ValueError("another update was committed since this one was checked")
            if self.stage is None:
                history.add_run(client, clock, self.place)
                history.rights[client] = self.structs[0][5]
                state[client] = self.after[client]
        if self.stage is not None:
            self.stage.commit()
            self._remember(history)
        else:
            for client, clock, length in self.deletes:
                history.delete(client, clock, clock + length)

    def _remember(self, history: DocumentIndex) -> None:
        """Let the participants of a small update take the fast path next time."""
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
