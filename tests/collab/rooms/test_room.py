from __future__ import annotations

import gc
import weakref

import pycrdt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.access.identity import Access
from collab.errors import ClientIdInUse, InvalidRequest, Quarantined, RateLimitExceeded, TooLarge, Unavailable
from collab.rooms.framing import HocuspocusFraming
from collab.rooms.quarantine import Quarantine
from collab.rooms.ring import RoomOptions
from collab.rooms.room import Room
from collab.wire import hocuspocus, yjs
from collab.wire.update import Checked
from tests.collab.rooms.simulation import Client, Ring, room_of


def synced(room: Room, *users: str | None) -> list[Client]:
    clients = [Client(room, user) for user in users]
    for client in clients:
        client.sync()
    return clients


def text_of(room: Room) -> str:
    copy: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    copy.apply_update(room.doc.get_update())
    return str(copy.get("t", type=pycrdt.Text))


def saved(client: Client) -> int:
    frames = client.room.drain(client.session)
    return sum(frame == hocuspocus.sync_status("d", True) for frame in frames)


def test_a_document_of_which_the_gate_lost_track_is_rebuilt_without_the_edit(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = Ring()
    room = room_of(ring)
    (a,) = synced(room, "a")
    logged = list(ring.log)

    def lose_track(checked: Checked, *, live: bool) -> None:
        raise OverflowError("lost")

    monkeypatch.setattr(room.gate, "commit", lose_track)
    with pytest.raises(InvalidRequest):
        a.type("hello", now=10.0)
    assert room.broken
    assert len(ring.broken_by) == 1
    assert ring.log == logged


def test_a_room_that_is_let_go_of_is_gone_without_a_collection() -> None:
    room = room_of(Ring())
    room.shared.answer(b"\0", "", bytes, 1.0)
    gone = weakref.ref(room)
    gc.disable()
    try:
        del room
        assert gone() is None
    finally:
        gc.enable()


def test_the_first_edit_after_a_quiet_time_is_relayed_at_once() -> None:
    a, b = synced(room_of(Ring()), "a", "b")
    a.type("hello", now=10.0)
    b.listen()
    assert str(b) == "hello"


def test_edits_of_a_busy_moment_are_relayed_as_one_update() -> None:
    ring = Ring()
    room = room_of(ring)
    a, b, c = synced(room, "a", "b", "c")
    a.type("1", now=10.0)
    c.listen()
    for n in range(20):
        (a if n % 2 else b).type("x", now=10.001)
    assert c.listen() == []
    assert ring.timers == [pytest.approx(0.009)]
    room.wake(10.011)
    assert len(c.listen()) == 1
    for client in (a, b):
        client.listen()
    assert str(a) == str(b) == str(c)
    assert len(str(a)) == 21


def test_a_session_is_not_sent_its_own_edits() -> None:
    a, _ = synced(room_of(Ring()), "a", "b")
    a.type("hello", now=10.0)
    assert a.listen() == []


def test_a_session_that_has_not_asked_for_the_document_gets_no_updates() -> None:
    room = room_of(Ring())
    (a,) = synced(room, "a")
    silent = Client(room, "b")
    a.type("hello", now=10.0)
    assert silent.listen() == []
    silent.sync()
    assert str(silent) == "hello"


def test_what_a_joiner_counts_as_synced_is_everything_that_is_there() -> None:
    room = room_of(Ring())
    (a,) = synced(room, "a")
    for n in range(20):
        a.type(str(n), now=10.0 + n)
        late = Client(room, "b")
        late.say(yjs.SyncStep1(late.doc.get_state()), 10.0 + n)
        first = next(m for m in late.listen(now=10.0 + n) if isinstance(m, yjs.SyncStep2))
        alone: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
        alone.apply_update(first.update)
        assert str(alone.get("t", type=pycrdt.Text)) == str(a)
        room.leave(late.session, 10.0 + n)


def test_while_a_costly_document_is_edited_those_who_ask_are_answered_together() -> None:
    ring = Ring()
    room = room_of(ring)
    (a,) = synced(room, "a")
    a.type("hello", now=10.0)
    room._join_pacer.flushed(10.0, 0.1)
    joiners = [Client(room, str(n)) for n in range(5)]
    for joiner in joiners:
        joiner.say(yjs.SyncStep1(b"\x00"), 10.1)
        assert joiner.listen() == []
    a.type(" world", now=10.2)
    room.wake(10.5)
    answers = [next(m for m in j.listen(now=10.5) if isinstance(m, yjs.SyncStep2)) for j in joiners]
    assert all(answer.update == answers[0].update for answer in answers)
    assert {str(joiner) for joiner in joiners} == {"hello world"}
    a.type("!", now=11.0)
    for joiner in joiners:
        joiner.listen()
    assert {str(joiner) for joiner in joiners} == {"hello world!"}


def test_a_joiner_is_asked_what_it_has_before_it_is_told_what_there_is() -> None:
    """Otherwise what it wrote and has lost against the rest would come without its value."""
    ring = Ring()
    room = room_of(ring)
    (a,) = synced(room, "a")
    a.type("x")
    b = Client(room, "b")
    b.say(yjs.SyncStep1(b.doc.get_state()))
    assert [type(message) for message in b.listen()] == [yjs.SyncStep1, yjs.SyncStep2]


def test_a_joiner_brings_what_it_wrote_while_it_was_away() -> None:
    room = room_of(Ring())
    (a,) = synced(room, "a")
    late = Client(room, "b")
    late.type("offline", send=False)
    late.sync(now=10.0)
    a.listen()
    assert str(a) == "offline"


def test_case_7_an_update_that_came_out_of_order_is_not_pending_but_asked_for() -> None:
    ring = Ring()
    room = room_of(ring)
    a, b = synced(room, "a", "b")
    a.type("first", send=False)
    a.type(" second", now=10.0)
    assert ring.log == []
    a.listen(now=10.0)  # asked for what is missing, and answers
    assert text_of(room) == "first second"
    b.listen()
    assert str(b) == "first second"


def test_case_8_the_edits_of_a_client_that_lost_a_frame_become_visible() -> None:
    room = room_of(Ring())
    a, b = synced(room, "a", "b")
    a.type("lost", send=False)
    for n in range(5):
        a.type(str(n), now=10.0 + n)
    asked = [m for m in a.listen(now=20.0) if isinstance(m, yjs.SyncStep1)]
    assert len(asked) == 1
    room.wake(21.0)
    b.listen()
    assert str(b) == "lost01234"


def test_case_17_a_reconnecting_client_that_has_nothing_new_adds_nothing_to_the_log() -> None:
    ring = Ring()
    room = room_of(ring)
    a, b = synced(room, "a", "b")
    a.type("hello world", now=10.0)
    with a.doc.transaction():
        del a.text[0:6]
    a.say(yjs.Update(a.doc.get_update(b"\x00")), 11.0)
    b.listen()
    rows = len(ring.log)
    again = Client(room, "b")
    again.doc.apply_update(b.doc.get_update())
    again.sync(now=12.0)
    assert len(ring.log) == rows
    assert text_of(room) == "world"


def test_an_edit_is_acknowledged_after_its_commit_and_not_before() -> None:
    ring = Ring()
    room = room_of(ring)
    client = Client(room, "a", framing=HocuspocusFraming("d"))
    client.type("hello", now=10.0)
    assert saved(client) == 0
    ring.commit()
    assert saved(client) == 1


def test_an_edit_that_brings_nothing_new_is_acknowledged_once_what_it_repeats_is_committed() -> None:
    ring = Ring()
    room = room_of(ring)
    first, second = (Client(room, "a", framing=HocuspocusFraming("d")) for _ in range(2))
    update = first.type("hello", now=10.0)
    second.say(yjs.Update(update), 10.0)
    assert saved(second) == 0
    ring.commit()
    assert saved(first) == saved(second) == 1


def test_updates_that_only_a_resync_brought_are_all_acknowledged() -> None:
    ring = Ring()
    room = room_of(ring)
    client = Client(room, "a", framing=HocuspocusFraming("d"))
    client.type("lost ", send=False)
    client.type("one ", now=10.0)
    client.type("two", now=10.0)
    room.drain(client.session)
    client.say(yjs.SyncStep2(client.doc.get_update()), 11.0)
    ring.commit()
    assert saved(client) == 2
    assert text_of(room) == "lost one two"


def test_a_reader_sees_everything_and_changes_nothing() -> None:
    ring = Ring()
    room = room_of(ring)
    (writer,) = synced(room, "w")
    reader = Client(room, "r", Access.READ)
    reader.sync()
    writer.type("hello", now=10.0)
    reader.listen()
    assert str(reader) == "hello"
    rows = len(ring.log)
    reader.type(" no", now=11.0)
    reader.say(yjs.SyncStep2(reader.doc.get_update()), 11.0)
    assert len(ring.log) == rows
    assert text_of(room) == "hello"


def test_a_reader_without_edits_of_its_own_has_nothing_unsaved() -> None:
    room = room_of(Ring())
    reader = Client(room, "r", Access.READ, framing=HocuspocusFraming("d"))
    reader.say(yjs.SyncStep2(b"\x00\x00"), 10.0)
    assert saved(reader) == 1
    reader.type("no", now=10.0)
    assert room.drain(reader.session) == [hocuspocus.sync_status("d", False)]


def test_case_49_a_second_user_writing_under_a_live_client_id_is_refused() -> None:
    ring = Ring()
    room = room_of(ring)
    victim = Client(room, "victim", client_id=7)
    forger = Client(room, "forger", client_id=7)
    victim.sync()
    forger.sync()
    victim.type("hello", now=10.0)
    forger.listen()
    with pytest.raises(ClientIdInUse):
        forger.type(" evil", now=10.1)
    assert text_of(room) == "hello"


def test_case_22_a_users_new_socket_takes_its_client_id_over_from_the_old_one() -> None:
    room = room_of(Ring())
    old = Client(room, "a", client_id=7)
    old.sync()
    update = old.type("hello", now=10.0)
    new = Client(room, "a", client_id=7)
    new.doc.apply_update(update)
    new.sync(now=11.0)
    new.type(" again", now=12.0)
    room.leave(old.session, 13.0)
    new.type("!", now=14.0)
    assert text_of(room) == "hello again!"


def test_case_49_without_users_a_taken_over_session_that_still_writes_is_refused() -> None:
    room = room_of(Ring())
    first, second = Client(room, client_id=7), Client(room, client_id=7)
    first.sync()
    second.sync()
    update = first.type("hello", now=10.0)
    second.doc.apply_update(update)
    second.type(" taken over", now=11.0)
    first.listen()
    with pytest.raises(ClientIdInUse):
        first.type(" both live", now=12.0)


def test_case_41_a_malformed_update_ends_its_sender_and_nobody_else() -> None:
    room = room_of(Ring())
    a, b = synced(room, "a", "b")
    with pytest.raises(InvalidRequest):
        a.say(yjs.Update(bytes.fromhex("0100010200")), 10.0)
    room.leave(a.session, 10.0)
    b.type("fine", now=11.0)
    assert text_of(room) == "fine"


def test_a_quarantined_edit_is_refused_however_it_is_wrapped() -> None:
    author: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    text = author.get("t", type=pycrdt.Text)
    text += "good"
    before = author.get_state()
    text += "!"
    culprit = author.get_update(before)
    text += "more"
    ring = Ring()
    room = room_of(ring)
    room._quarantine = Quarantine([culprit]).holds
    client = Client(room, "a")
    client.doc.apply_update(author.get_update())
    with pytest.raises(Quarantined):
        client.sync(now=10.0)
    assert ring.log == []


def test_a_document_that_is_full_takes_nothing_more() -> None:
    room = room_of(Ring(), options=RoomOptions(document_bytes=100))
    (a,) = synced(room, "a")
    with pytest.raises(TooLarge):
        a.type("x" * 200, now=10.0)


def test_a_log_that_is_too_far_behind_refuses_the_edit_before_it_is_applied() -> None:
    ring = Ring(full=True)
    room = room_of(ring)
    (a,) = synced(room, "a")
    with pytest.raises(Unavailable):
        a.type("hello", now=10.0)
    assert text_of(room) == ""


def test_case_33_a_reader_that_fell_behind_is_brought_up_to_date_by_one_diff() -> None:
    room = room_of(Ring())
    (writer,) = synced(room, "w")
    slow = Client(room, "s", outbox_bytes=200)
    slow.sync()
    for n in range(100):
        writer.type(f"{n} ", now=10.0 + n)
    assert slow.session.outbox.is_behind
    assert slow.session.outbox.update_bytes <= 200
    messages = slow.listen()
    assert len(messages) == 1
    assert str(slow) == str(writer)
    writer.type("live again", now=200.0)
    slow.listen()
    assert str(slow) == str(writer)


def test_case_21_a_late_joiner_sees_who_is_there() -> None:
    room = room_of(Ring())
    a = Client(room, "a")
    a.sync()
    states = b'{"user":{"name":"A"}}'
    a.say(yjs.AwarenessUpdate(bytes([1, 5, 1, len(states)]) + states), 10.0)
    late = Client(room, "b")
    assert any(isinstance(m, yjs.AwarenessUpdate) and b'"A"' in m.payload for m in late.listen())


def test_case_19_a_cursor_leaves_with_its_connection() -> None:
    room = room_of(Ring())
    a, b = synced(room, "a", "b")
    states = b'{"user":{"name":"A"}}'
    a.say(yjs.AwarenessUpdate(bytes([1, 5, 1, len(states)]) + states), 10.0)
    b.listen()
    room.leave(a.session, 20.0)
    assert any(isinstance(m, yjs.AwarenessUpdate) and b"null" in m.payload for m in b.listen())
    assert not room.awareness.states


def test_case_34_a_reader_that_never_reads_does_not_end_the_one_who_broadcasts() -> None:
    room = room_of(Ring())
    sender, slow = (Client(room, "a", framing=HocuspocusFraming("d")) for _ in range(2))
    for n in range(2000):
        room.broadcast(str(n), sender.session)
    assert sender.closed is None
    assert isinstance(slow.closed, RateLimitExceeded)


def test_an_unknown_message_is_skipped() -> None:
    (a,) = synced(room_of(Ring()), "a")
    a.say(yjs.Unknown(99), 10.0)
    assert a.closed is None


def test_a_rebuilt_room_takes_sessions_presence_and_unheard_messages_over() -> None:
    ring = Ring()
    old = room_of(ring)
    a, b = synced(old, "a", "b")
    first = a.type("hello", now=10.0)
    b.listen()
    old.broken = True
    a.type(" world", now=11.0)
    new = room_of(ring, [first])
    new.succeed(old, 12.0)
    a.room = b.room = new
    a.listen(now=12.0)
    b.listen(now=12.0)
    assert text_of(new) == "hello world"
    b.listen()
    assert str(b) == "hello world"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_is_lost_delayed_or_disconnected_all_replicas_become_equal(data: st.DataObject) -> None:
    ring = Ring()
    room = room_of(ring)
    clients = synced(room, "a", "b", "c", "d", "e")
    now = 10.0
    for _ in range(data.draw(st.integers(1, 25))):
        now += data.draw(st.sampled_from([0.0, 0.001, 0.02]))
        n = data.draw(st.integers(0, 4))
        client = clients[n]
        match data.draw(st.sampled_from(["type", "delete", "lose", "listen", "wake", "reconnect"])):
            case "type":
                client.type(data.draw(st.sampled_from(["a", "bé", "😀"])), now)
            case "delete":
                if len(client.text):
                    before = client.doc.get_state()
                    client.text.clear()
                    client.say(yjs.Update(client.doc.get_update(before)), now)
            case "lose":
                client.type("x", send=False)
            case "listen":
                client.listen(now)
            case "wake":
                room.wake(now)
            case "reconnect":
                room.leave(client.session, now)
                fresh = Client(room, client.session.identity.user_id)
                fresh.doc, fresh.text = client.doc, client.text
                clients[n] = fresh
                fresh.sync(now)
    for _ in range(4):
        now += 1.0
        for client in clients:
            client.sync(now)
        room.wake(now)
    ring.commit()
    texts = {str(client) for client in clients}
    assert texts == {text_of(room)}
    replay = room_of(Ring(), [update for update, _ in ring.log])
    assert text_of(replay) in texts
