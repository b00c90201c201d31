"""One client in one room: its identity, access, state and send queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from collab.access.identity import Identity
from collab.access.rules import Access
from collab.errors import CollabError
from collab.rooms.live.framing import Framing
from collab.rooms.live.outbox import RoomOutbox
from collab.tracing import Trace
from collab.wire.yjs import Message


class Throttle(Protocol):
    """The source of a session's messages, and who pays for them."""

    def hold(self) -> None:
        """Stop reading messages, until :meth:`release` was called as often."""

    def release(self) -> None:
        """Undo one :meth:`hold`."""

    def charge(self, seconds: float) -> float:
        """Charge for work. Returns the seconds to pause before doing more of it."""

    def is_busy(self) -> bool:
        """Whether the payer has recently used noticeably more than their share."""


class _Unthrottled:
    def hold(self) -> None:
        pass

    def release(self) -> None:
        pass

    def charge(self, seconds: float) -> float:
        return 0.0

    def is_busy(self) -> bool:
        return False


class Session:
    """The membership of one connection in one room.

    ``close`` belongs to the connection: it ends the membership with the reason for the peer, and a room may call it at
    any time. ``ready`` is called when :attr:`outbox` has something to drain.
    """

    __slots__ = (
        "access",
        "asked",
        "begun",
        "close",
        "compares",
        "contradicts",
        "decided",
        "early",
        "framing",
        "guard",
        "identity",
        "introduced",
        "missed",
        "origin",
        "outbox",
        "returns",
        "setbacks",
        "source",
        "suspensions",
        "synced",
        "throttle",
        "unanswered",
        "waiting",
        "who",
        "yjs_id",
    )

    def __init__(
        self,
        identity: Identity,
        access: Access,
        framing: Framing,
        *,
        ready: Callable[[], None],
        close: Callable[[CollabError], None],
        outbox_bytes: int,
    ) -> None:
        self.identity = identity
        self.access = access
        self.framing = framing
        self.close = close
        self.outbox = RoomOutbox(ready, outbox_bytes)
        self.guard: Callable[[Message], bool] | None = None  # whether a message must wait; set if rights depend on rows
        self.who = ""  # for the black box
        self.origin: Trace | None = None  # the span in which it connected
        self.throttle: Throttle = _Unthrottled()
        self.waiting: list[Message] | None = None  # behind a large edit that is being applied
        self.source: Callable[[Session], list[bytes]] = _nothing  # ``Room.drain`` of the room that it joins
        self.introduced = False  # has sent awareness
        self.yjs_id: int | None = None  # its Yjs client id, if its first awareness message held only one
        self.returns = False  # its client was here before, and may have written in the meantime
        self.unanswered = False  # sent SyncStep1, and waits for the answer
        self.synced = False  # was sent the document, and gets its updates since
        self.asked: list[bool] = []  # our unanswered SyncStep1s; whether the client counts its answer as unsaved
        self.compares = False  # the answer to our counted SyncStep1 repeats known content, to be compared
        self.early = 0  # updates to acknowledge together with the answer to our first counted SyncStep1
        self.missed = 0  # updates not applied because earlier ones are missing; a resync brings them
        self.setbacks = 0  # edits that could not be recorded
        self.contradicts = False  # its document holds other content than the room's, under the same Yjs client id
        self.suspensions = 0  # checks of its rights that take long
        self.begun = 0  # checks of its rights
        self.decided = 0  # the number of the newest check that has ended

    def acks_for(self, *, live: bool, counted: bool, leaves: bool) -> int:
        """How many updates that the client counts as unsaved are saved once this one is.

        ``live``: not an answer to our SyncStep1; ``counted``: the client counts it; ``leaves``: only a part of it was
        applied. The rest of a live update is missing, so the update counts along with the answer that brings the rest.
        An answer may leave out only elements that its sender is itself waiting for (Yjs encodes its pending structs
        too) and does not show.
        """
        if live:
            if leaves:
                self.missed += 1
            elif self.unanswered or True in self.asked:
                # A new provider counts from 1 again, but sends what was written before: if we acknowledged one by one,
                # the first acknowledgement would count for all.
                self.early += 1
            else:
                return 1
            return 0
        acks = int(counted) + self.missed
        self.missed = 0
        if counted:
            acks += self.early
            self.early = 0
        return acks

    def acknowledge(self, acks: int) -> None:
        """Tell the client that ``acks`` of the edits that it counts as unsaved are committed."""
        frame = self.framing.saved(True)
        if frame is not None:
            for _ in range(acks):
                self.outbox.acknowledge(frame)

    def refuse_edit(self) -> None:
        """Tell the client that an edit will not be saved."""
        frame = self.framing.saved(False)
        if frame is not None:
            self.outbox.reply(frame)

    def hold(self) -> None:
        """Keep further messages in :attr:`waiting`, and do not read from the socket if possible."""
        self.waiting = []
        self.throttle.hold()

    def release(self) -> list[Message]:
        """Undo :meth:`hold`; returns the messages that came meanwhile."""
        waiting, self.waiting = self.waiting or [], None
        self.throttle.release()
        return waiting

    def begin_check(self) -> int:
        """A check of its rights begins. Returns its number for :meth:`decide`."""
        self.begun += 1
        return self.begun

    def decide(self, check: int, access: Access) -> bool:
        """A check has ended. Returns whether it counts: one that began later, and has ended already, knows more."""
        if check < self.decided:
            return False
        self.decided = check
        self.access = access
        return True

    def suspend(self) -> None:
        """Send nothing, and read nothing if possible, until :meth:`resume` was called as often."""
        self.suspensions += 1
        if self.suspensions == 1:
            self.throttle.hold()

    def resume(self) -> None:
        """Undo one :meth:`suspend`."""
        self.suspensions -= 1
        if not self.suspensions:
            self.throttle.release()
            self.outbox.wake()

    def drain(self) -> list[bytes]:
        """Remove and return everything for the socket, in order."""
        return [] if self.suspensions else self.source(self)

    def detach(self) -> None:
        """The connection is gone. Cut the references to it, so that neither has to wait for the garbage collector."""
        self.source = _nothing
        self.guard = None
        self.close = _ignore
        self.outbox.clear()
        self.outbox.detach()


def _nothing(session: Session) -> list[bytes]:
    return []


def _ignore(error: CollabError) -> None: ...
