"""Updates of several documents that are accepted together, or not at all. Nothing here waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from collab.gate.checked import Checked
from collab.gate.fields import Write
from collab.rooms.live.applying import Taken
from collab.rooms.live.faults import NotApplied, NotRecorded
from collab.rooms.live.room import Room


class JointEdit(NamedTuple):
    """One document's update, as :meth:`Room.check_own` has checked it in this turn of the event loop."""

    room: Room
    checked: Checked

    def withhold(self, taken: Taken) -> None:
        """The update was recorded. Nobody gets it before :meth:`release`, nor a state that holds it."""
        self.room.accepted(self.checked, taken)
        self.room.joining.withheld.begin()

    def release(self, user_id: str | None, now: float) -> None:
        """The update is committed."""
        self.room.pass_on(None, self.checked, user_id, now)
        let_out(self.room, now)


def let_out(room: Room, now: float) -> None:
    """What was withheld first is committed: pass on what follows it, and if nothing is withheld, answer who waits."""
    for followup in room.joining.withheld.end():
        room.pass_on(None, followup.checked, followup.user_id, now)
    if not room.joining.withheld:
        room.answer_when_due(now)
        for session in list(room.sessions):
            session.outbox.wake()


def accept_together(
    edits: Sequence[JointEdit], user_id: str | None, record: Callable[[Sequence[Sequence[Write]]], None]
) -> None:
    """Apply and record updates of different documents; ``record`` gets the fields that each of them wrote.

    Nobody gets them before :meth:`JointEdit.release` of each: editors that had got one would bring it back after a
    crash that has lost the others. If one cannot be applied, or they cannot be recorded, all documents to which some
    were applied are rebuilt without them. Raises :class:`collab.errors.CollabError`.
    """
    for edit in edits:
        edit.room.admit(edit.checked)
    taken: list[Taken] = []
    try:
        for edit in edits:
            taken.append(edit.room.apply(edit.checked, user_id))  # noqa: PERF401 - one may fail
        try:
            record([one.writes for one in taken])
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            raise NotRecorded("the updates could not be recorded; the documents are unchanged") from error
    except (NotApplied, NotRecorded) as error:
        for number, edit in enumerate(edits[: len(taken) + 1]):
            edit.room.fail(error, edit.checked.update if number == len(taken) else None)
        raise
    for edit, one in zip(edits, taken, strict=True):
        edit.withhold(one)
