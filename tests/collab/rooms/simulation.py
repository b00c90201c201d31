"""A room without waiting: its ring commits and wakes when the test says so, its clients are real documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pycrdt

from collab.access.identity import Access, Identity, Rule
from collab.entities.entity import Intent
from collab.errors import CollabError, Unavailable
from collab.metrics import Metrics
from collab.names import RoomKey
from collab.rooms.blackbox import NoBlackBox
from collab.rooms.framing import Framing, YjsFraming
from collab.rooms.pacing import SendCost
from collab.rooms.ring import RoomOptions
from collab.rooms.room import Room
from collab.rooms.session import Session
from collab.wire import yjs
from collab.wire.fields import Write
from collab.wire.update import Gate

KEY = RoomKey("default", "documents", "d")


@dataclass
class Ring:
    """The waiting side, on demand."""

    log: list[tuple[bytes, str | None]] = field(default_factory=list)
    uncommitted: list[tuple[Room, Callable[[], None] | None]] = field(default_factory=list)
    timers: list[float] = field(default_factory=list)
    broken_by: list[bytes] = field(default_factory=list)
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

    def wake_at(self, room: Room, delay: float) -> None:
        self.timers.append(delay)

    def broken(self, room: Room, update: bytes, error: BaseException) -> None:
        self.broken_by.append(update)

    def commit(self) -> None:
        waiting, self.uncommitted = self.uncommitted, []
        for seq, (room, done) in enumerate(waiting, len(self.log) - len(waiting) + 1):
            room.committed(seq)
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
        """The whole handshake, both ways."""
        self.say(yjs.SyncStep1(self.doc.get_state()), now)
        self.listen(now)

    def say(self, message: yjs.Message, now: float = 0.0) -> None:
        self.room.receive(self.session, message, now)

    def listen(self, now: float = 0.0) -> list[yjs.Message]:
        """Take what waits, as a client would: apply updates, answer first steps."""
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
