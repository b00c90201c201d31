"""A room whose edits are traced: what clients send, and how the gate checks it."""

from __future__ import annotations

from typing import Any

from collab.gate.checked import Checked
from collab.gate.limits import StepLimit
from collab.gate.pieces import UpdatePiece
from collab.rooms.live.room import Room
from collab.rooms.live.session import Session
from collab.tracing import Tracer, about
from collab.wire import yjs

_NOTHING = 2  # bytes of an update without content, the usual answer of a client that joins


class TracedRoom(Room):
    """The arguments are those of :class:`Room`, after the tracer."""

    def __init__(self, tracer: Tracer, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._tracer = tracer

    def take(self, session: Session, message: yjs.Message, now: float) -> None:
        """A span for each edit. It links to the one in which the client connected."""
        if (
            not isinstance(message, yjs.Update | yjs.SyncStep2)
            or len(message.update) <= _NOTHING
            or session.waiting is not None
        ):
            super().take(session, message, now)
            return
        attributes = {**about(self.key), "collab.bytes": len(message.update)}
        links = () if session.origin is None else (session.origin,)
        with self._tracer.work("collab.edit", attributes, kind="server", links=links):
            super().take(session, message, now)

    def check_theirs(self, session: Session, update: bytes, *, busy: bool) -> Checked:
        """A span in that of the edit."""
        with self._tracer.step("collab.gate", about(self.key)):
            return super().check_theirs(session, update, busy=busy)

    def check_own(self, update: bytes | UpdatePiece, limit: StepLimit | None = None) -> Checked:
        """A span in that of the request."""
        with self._tracer.step("collab.gate", about(self.key)):
            return super().check_own(update, limit)
