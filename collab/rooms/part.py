"""Writes to several documents, all in one commit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import monotonic, time
from typing import NamedTuple, TypeAlias

from collab.entities.entity import EntityOp, EntityState, Intent
from collab.gate.checked import Checked
from collab.gate.fields import Write
from collab.rooms.live.room import Room
from collab.rooms.live.together import JointEdit, accept_together, let_out
from collab.storage.base import Append

JointChange: TypeAlias = tuple[Append | None, Callable[[int | None], None], Sequence[EntityOp]]
"""A log row, what to call after its commit, and its effect on entities, as the recorder takes them."""


class RoomPart(NamedTuple):
    """What :meth:`Registry.write_together` writes in one room: a checked update, and changes without one.

    ``intents`` are those of the entities that the update writes. ``deletes``: the notes delete the document.
    """

    room: Room
    checked: Checked | None
    intents: Mapping[EntityState, Intent]
    notes: Sequence[EntityOp]
    deletes: bool = False

    def intended(self, ops: Sequence[EntityOp], user_id: str | None, at: float) -> Sequence[EntityOp]:
        """The operations of the update, with their intents. The author of each write learns of it, whatever it did."""
        met = {op.entity for op in ops}
        rest = [
            EntityOp("write", entity, user_id, at, intent=intent)
            for entity, intent in self.intents.items()
            if entity not in met
        ]
        return [op._replace(intent=self.intents.get(op.entity)) for op in ops] + rest


def write_together(
    parts: Sequence[RoomPart],
    user_id: str | None,
    append: Callable[[Sequence[JointChange]], None],
    committed: Callable[[Room, Append, Callable[[], None] | None, bool, int | None], None],
) -> None:
    """Accept the updates and notes of all rooms, or none. ``append`` records them in one commit.

    After it, each room gives its update to others, or sends them away if its document was deleted, then ``committed``
    is called. Raises :class:`collab.errors.CollabError`.
    """
    edits = [JointEdit(part.room, part.checked) for part in parts if part.checked is not None]
    edited = [part for part in parts if part.checked is not None]
    noted = [part for part in parts if part.notes]

    def released(edit: JointEdit, row: Append, seq: int | None) -> None:
        edit.release(user_id, monotonic())
        committed(edit.room, row, None, edit.checked.content, seq)

    def told(part: RoomPart, seq: int | None) -> None:
        part.room.commits.committed(seq)
        if part.deletes:
            if part.room.deleted:
                part.room.delete()
            let_out(part.room, monotonic())

    def record(writes: Sequence[Sequence[Write]]) -> None:
        at = time()
        changes: list[JointChange] = []
        for part, edit, written in zip(edited, edits, writes, strict=True):
            room, checked = edit
            ops = room.bridge.ops(written, user_id, at, room.read_field, content=checked.content)
            row = Append(room.key, checked.update, user_id, at)
            changes.append((row, partial(released, edit, row), part.intended(ops, user_id, at)))
        changes += ((None, partial(told, part), part.notes) for part in noted)
        append(changes)

    accept_together(edits, user_id, record)
    for part in noted:
        part.room.commits.recorded()
        part.room.bridge.noted()
        if part.deletes:
            part.room.deleted = True
            part.room.joining.withheld.begin()
