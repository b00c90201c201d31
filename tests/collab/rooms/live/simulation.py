"""A room without waiting: its ring commits and wakes when the test says so; its clients are real documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pycrdt

from collab.access.identity import Identity
from collab.access.rules import Access, Rule
from collab.entities.entity import Intent
from collab.errors import CollabError, Unavailable
from collab.gate.fields import Write
from collab.gate.gate import Gate
from collab.gate.limits import StepLimit
from collab.gate.pieces import Pieces
from collab.metrics import Metrics
from collab.names import RoomKey
from collab.rooms.blackbox import NoBlackBox
from collab.rooms.live.framing import Framing, YjsFraming
from collab.rooms.live.pacing import SendCost
from collab.rooms.live.ring import RoomOptions
from collab.rooms.live.room import Room
from collab.rooms.live.session import Session
from collab.wire import yjs
from presence.state import null_entry

KEY = RoomKey("default", "documents", "d")


@dataclass
class Ring:
    """The async side, on demand."""

    log: list[tuple[bytes, str | None]] = field(default_factory=list)
    uncommitted: list[tuple[Room, Callable[[], None] | None]] = field(default_factory=list)
    timers: list[float] = field(default_factory=list)
    broken_by: list[bytes | None] = field(default_factory=list)
    full: bool = False

    def admit(self, size: int) -> None:
        if self.full:
            raise Unavailable("full")

    def record(
        self,
        room: Room,
        update: bytes,
        user_id: str | None,
        done: Callable[[], None] | None,
        writes: Sequence[Write] = (),
        content: bool = True,
        intent: Intent | None = None,
    ) -> None:
        self.log.append((update, user_id))
        self.uncommitted.append((room, done))

    def take_apart(self, room: Room, session: Session, update: bytes, *, live: bool, counted: bool) -> None:
        try:
            pieces = Pieces(update)
            while pieces:
                checked = room.gate.check(pieces.take(StepLimit(16, 16), room.gate.state))
                pieces.sum_up(checked)
                room.take_in(session, checked, 0.0, live=live, counted=None if pieces else counted)
        finally:
            for message in session.release():
                room.receive(session, message, 0.0)

    def wake_at(self, room: Room, delay: float) -> None:
        self.timers.append(delay)

    def broken(self, room: Room, error: BaseException, culprit: bytes | None) -> None:
        self.broken_by.append(culprit)

    def commit(self) -> None:
        waiting, self.uncommitted = self.uncommitted, []
        for seq, (room, done) in enumerate(waiting, len(self.log) - len(waiting) + 1):
            room.commits.committed(seq)
            if done is not None:
                done()


def room_of(ring: Ring, updates: list[bytes] | None = None, options: RoomOptions | None = None) -> Room:
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    gate = Gate()
    for update in updates or ():
        gate.commit(gate.check(update))
        doc.apply_update(update)
    return Room(
        KEY,
        doc,
        gate,
        ring,
        options=options or RoomOptions(),
        metrics=Metrics(),
        blackbox=NoBlackBox(),
        send_cost=SendCost(),
    )


class Client:
    """A y-websocket client with a real document, attached to a room by hand."""

    def __init__(
        self,
        room: Room,
        user: str | None = None,
        access: Access = Access.WRITE,
        framing: Framing | None = None,
        client_id: int | None = None,
        outbox_bytes: int = 1 << 20,
    ) -> None:
        self.doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc() if client_id is None else pycrdt.Doc(client_id=client_id)
        self.text = self.doc.get("t", type=pycrdt.Text)
        self.closed: CollabError | None = None
        self.received: list[yjs.Message] = []
        identity = Identity("default", user, rules=(Rule("*/*", access),))
        self.session = Session(
            identity,
            access,
            framing or YjsFraming(),
            ready=lambda: None,
            close=self._close,
            outbox_bytes=outbox_bytes,
        )
        self.room = room
        room.join(self.session)

    def _close(self, error: CollabError) -> None:
        self.closed = error

    def sync(self, now: float = 0.0) -> None:
        """The whole handshake, both ways. A returning client reveals its own client id, as stock clients do."""
        has = self.doc.get_state()
        self.say(yjs.SyncStep1(has), now)
        if has != b"\0":
            self.introduce(now)
        self.listen(now)

    def introduce(self, now: float = 0.0) -> None:
        """Reveal its own Yjs client id, with an empty state."""
        self.say(yjs.AwarenessUpdate(b"\x01" + null_entry(self.doc.client_id, 0)), now)

    def say(self, message: yjs.Message, now: float = 0.0) -> None:
        self.room.receive(self.session, message, now)

    def listen(self, now: float = 0.0) -> list[yjs.Message]:
        """Handle pending messages like a client: apply updates, answer SyncStep1."""
        frames = self.room.drain(self.session)
        messages = [yjs.decode(frame) for frame in frames]
        for message in messages:
            match message:
                case yjs.SyncStep2(update=update) | yjs.Update(update=update):
                    self.doc.apply_update(update)
                case yjs.SyncStep1(state_vector=state_vector):
                    self.say(yjs.SyncStep2(self.doc.get_update(state_vector)), now)
                case _:
                    pass
        self.received += messages
        return messages

    def type(self, text: str, now: float = 0.0, *, send: bool = True) -> bytes:
        """Append to the text; returns the update."""
        before = self.doc.get_state()
        self.text += text
        update = self.doc.get_update(before)
        if send:
            self.say(yjs.Update(update), now)
        return update

    def __str__(self) -> str:
        return str(self.text)
