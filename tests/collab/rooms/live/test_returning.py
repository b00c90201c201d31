"""A returning client is asked for its own elements, and gets no acknowledgement if the document has other ones."""

from __future__ import annotations

from collections.abc import Callable

import pycrdt
import pytest

from collab.access.rules import Access
from collab.gate.gate import Gate
from collab.gate.repeats import MOST_COMPARED
from collab.gate.structs import decode_state_vector
from collab.rooms.live.framing import HocuspocusFraming
from collab.rooms.live.joining import INTRODUCTION_SECONDS
from collab.rooms.live.room import Room
from collab.wire import hocuspocus, yjs
from tests.collab.rooms.live.simulation import Client, Ring, room_of
from tests.fuzz.encode import DELETED, GC, STRING, block, filler, frame, item, string, uint

VICTIM = 7
SAVED, REFUSED = hocuspocus.sync_status("d", True), hocuspocus.sync_status("d", False)


class Page(Client):
    """A Hocuspocus client whose document outlives its connections. ``statuses`` are the acknowledgements it got."""

    def __init__(self, room: Room, client_id: int = VICTIM, access: Access = Access.WRITE) -> None:
        super().__init__(room, "victim", access, HocuspocusFraming("d"), client_id)
        self.statuses: list[bytes] = []
        self.asked: list[dict[int, int]] = []

    def come_back(self, room: Room, access: Access = Access.WRITE) -> Page:
        """The same document on another connection."""
        page = Page(room, self.doc.client_id, access)
        page.doc, page.text = self.doc, self.text
        return page

    def ask(self, now: float) -> None:
        self.say(yjs.SyncStep1(self.doc.get_state()), now)

    def take(self, now: float) -> None:
        """Read the pending messages, and answer."""
        for frame_ in self.room.drain(self.session):
            message = hocuspocus.decode(frame_)[1] if frame_ not in (SAVED, REFUSED) else None
            match message:
                case None:
                    self.statuses.append(frame_)
                case yjs.SyncStep1(state_vector=state_vector):
                    self.asked.append(decode_state_vector(state_vector))
                    self.say(yjs.SyncStep2(self.doc.get_update(state_vector)), now)
                case yjs.SyncStep2(update=update) | yjs.Update(update=update):
                    self.doc.apply_update(update)

    def handshake(self, now: float) -> None:
        self.ask(now)
        self.introduce(now)
        self.take(now)


def written_before(room: Room, ring: Ring, text: str = "before ") -> Page:
    """A page that wrote, got an acknowledgement, and lost its connection."""
    page = Page(room)
    page.handshake(1.0)
    page.type(text, now=1.0)
    ring.commit()
    page.take(1.0)
    assert page.statuses == [SAVED, SAVED]
    room.leave(page.session, 2.0)
    return page


def text_under(clock: int, text: str) -> bytes:
    """Text at the end of the victim's text, under its client id."""
    where = {"origin": (VICTIM, clock - 1)} if clock else {"parent": "t"}
    return frame([block(VICTIM, clock, [item(STRING, string(text), **where)])])


def garbage_under(clock: int, text: str) -> bytes:
    return frame([block(VICTIM, clock, [filler(GC, len(text))])])


def deleted_under(clock: int, text: str) -> bytes:
    return frame([block(VICTIM, clock, [item(DELETED, uint(len(text)), origin=(VICTIM, clock - 1))])])


def reloaded(room: Room) -> Room:
    """The room after a restart of the server."""
    again = room_of(Ring(), [room.diff()])
    again.gate = Gate.from_index(room.gate.index())
    again.joining._gate = again.gate
    return again


@pytest.mark.parametrize("theft", [text_under, garbage_under, deleted_under])
@pytest.mark.parametrize("size", [5, 20, 60])
@pytest.mark.parametrize("restart", [False, True], ids=["", "after a restart"])
def test_e20_a_returning_client_gets_no_acknowledgement_if_its_elements_differ(
    theft: Callable[[int, str], bytes], size: int, restart: bool
) -> None:
    ring = Ring()
    room = room_of(ring)
    page = written_before(room, ring)
    Client(room, "mallory").say(yjs.Update(theft(len("before "), "Z" * size)), 3.0)
    ring.commit()
    page.type("what I wrote offline", send=False)
    room = reloaded(room) if restart else room
    page = page.come_back(room)
    page.handshake(4.0)
    page.type("!", now=5.0)
    ring.commit()
    page.take(5.0)
    assert page.statuses
    assert SAVED not in page.statuses
    assert page.closed is None
    assert page.asked[0] == {}


@pytest.mark.parametrize("deleted", [False, True])
def test_e20_a_returning_client_with_the_same_elements_gets_an_acknowledgement(deleted: bool) -> None:
    ring = Ring()
    room = room_of(ring)
    page = written_before(room, ring)
    other = Client(room, "other")
    other.sync(3.0)
    if deleted:
        before = other.doc.get_state()
        del other.text[2:4]
        assert before == other.doc.get_state()
        other.say(yjs.Update(other.doc.get_update(before)), 3.0)
    page.type("offline", send=False)
    page = page.come_back(room)
    page.handshake(4.0)
    assert page.statuses == []
    ring.commit()
    page.take(4.0)
    assert page.statuses == [SAVED]
    page.type("!", now=5.0)
    ring.commit()
    page.take(5.0)
    assert page.statuses == [SAVED, SAVED]


def test_e20_elements_of_a_pages_earlier_client_id_are_compared_too() -> None:
    ring = Ring()
    room = room_of(ring)
    page = written_before(room, ring)
    Client(room, "mallory").say(yjs.Update(text_under(len("before "), "Z" * 60)), 3.0)
    page.type("what I wrote offline", send=False)
    again = Page(room, client_id=VICTIM + 1)  # loaded again, from what the browser has kept
    again.doc.apply_update(page.doc.get_update())
    again.handshake(4.0)
    ring.commit()
    again.take(4.0)
    assert SAVED not in again.statuses
    assert REFUSED in again.statuses


def test_e20_a_returning_client_that_sends_no_awareness_is_answered_a_moment_later() -> None:
    ring = Ring()
    room = room_of(ring)
    page = written_before(room, ring)
    Client(room, "mallory").say(yjs.Update(text_under(len("before "), "Z" * 60)), 3.0)
    page.type("what I wrote offline", send=False)
    page = page.come_back(room)
    page.ask(10.0)
    page.take(10.0)
    assert page.asked == []
    assert ring.timers[-1] == pytest.approx(INTRODUCTION_SECONDS)
    room.wake(10.0 + INTRODUCTION_SECONDS)
    page.take(11.0)
    ring.commit()
    page.take(11.0)
    assert page.asked == [{}]
    assert page.statuses == [REFUSED]


def test_a_new_client_is_answered_at_once_and_not_asked_for_known_elements() -> None:
    ring = Ring()
    room = room_of(ring)
    written_before(room, ring)
    new = Page(room, client_id=8)
    new.ask(3.0)
    new.take(3.0)
    assert new.asked == [room.gate.state]


def test_a_returning_reader_is_answered_at_once_and_not_asked_for_known_elements() -> None:
    ring = Ring()
    room = room_of(ring)
    reader = written_before(room, ring).come_back(room, Access.READ)
    reader.ask(3.0)
    reader.take(3.0)
    assert reader.asked == [room.gate.state]


def test_updates_sent_before_the_clients_answer_are_acknowledged_with_it() -> None:
    ring = Ring()
    room = room_of(ring)
    page = written_before(room, ring).come_back(room)
    page.ask(3.0)
    page.type("offline", now=3.0)
    ring.commit()
    page.take(3.0)
    assert page.statuses == []
    page.introduce(3.0)
    page.take(3.0)
    ring.commit()
    page.take(3.0)
    assert page.statuses == [SAVED, SAVED]


def test_a_client_that_leaves_before_it_is_answered_is_forgotten() -> None:
    ring = Ring()
    room = room_of(ring)
    page = written_before(room, ring).come_back(room)
    page.ask(3.0)
    room.leave(page.session, 3.1)
    room.wake(4.0)
    assert room.joining.due(4.0) is None
    assert page.asked == []


@pytest.mark.parametrize("theft", ["newest", "none"])
def test_only_the_newest_elements_are_compared_also_in_pieces(theft: str) -> None:
    ring = Ring()
    room = room_of(ring)
    page = Page(room)
    page.handshake(1.0)
    with page.doc.transaction():
        for _ in range(2 * MOST_COMPARED):
            page.text.insert(0, "x")  # each is a struct of its own
    page.say(yjs.Update(page.doc.get_update()), 1.0)
    room.leave(page.session, 2.0)
    clock = room.gate.state[VICTIM]
    assert clock == 2 * MOST_COMPARED
    if theft == "newest":
        Client(room, "mallory").say(yjs.Update(text_under(clock, "Z")), 3.0)
        page.text.insert(0, "y")
    room.portion.parts = 1024
    page = page.come_back(room)
    page.handshake(4.0)
    ring.commit()
    page.take(4.0)
    assert page.asked[0][VICTIM] == room.gate.state[VICTIM] - MOST_COMPARED
    assert (SAVED in page.statuses, REFUSED in page.statuses) == ((False, True) if theft == "newest" else (True, False))


def test_the_document_of_a_page_whose_client_id_was_taken_goes_on() -> None:
    ring = Ring()
    room = room_of(ring)
    page = written_before(room, ring)
    other = Client(room, "other")
    other.sync(3.0)
    Client(room, "mallory").say(yjs.Update(text_under(len("before "), "ZZ")), 3.0)
    page.type("abcdef", send=False)
    page = page.come_back(room)
    page.handshake(4.0)
    page.type("!", now=5.0)
    room.wake(6.0)
    other.listen(6.0)
    copy: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    copy.apply_update(room.diff())
    assert str(copy.get("t", type=pycrdt.Text)) == str(other) == "before ZZcdef!"
