from __future__ import annotations

import gc
import weakref
from struct import pack

import pycrdt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.access.rules import Access
from collab.entities.entity import Intent, WriteOutcome
from collab.errors import (
    CollabError,
    EntityDeleted,
    InternalError,
    InvalidRequest,
    Quarantined,
    RateLimitExceeded,
    TooLarge,
    Unavailable,
)
from collab.gate.checked import Checked
from collab.rooms.live.faults import closing
from collab.rooms.live.framing import HocuspocusFraming
from collab.rooms.live.quarantine import Quarantine
from collab.rooms.live.ring import RoomOptions
from collab.rooms.live.room import Room
from collab.wire import hocuspocus, yjs
from presence.lib0 import DecodeError, encode_bytes, encode_uint
from tests.collab.rooms.live.simulation import Client, Ring, room_of


def synced(room: Room, *users: str | None) -> list[Client]:
    clients = [Client(room, user) for user in users]
    for client in clients:
        client.sync()
    return clients


def text_of(room: Room) -> str:
    copy: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    copy.apply_update(room.doc.get_update())
    return str(copy.get("t", type=pycrdt.Text))


def joined(*clients: Client) -> None:
    for client in clients:
        client.say(yjs.SyncStep1(b"\0"))
        client.say(yjs.SyncStep2(b"\0\0"))
    for client in clients:
        client.room.drain(client.session)


def saved(client: Client) -> int:
    frames = client.room.drain(client.session)
    return sum(frame == hocuspocus.sync_status("d", True) for frame in frames)


def test_a_document_that_differs_from_its_gate_is_rebuilt_without_the_edit(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_an_evicted_room_is_freed_without_garbage_collection() -> None:
    room = room_of(Ring())
    room.shared.answer(b"\0", "", bytes, 1.0)
    gone = weakref.ref(room)
    gc.disable()
    try:
        del room
        assert gone() is None
    finally:
        gc.enable()


def test_e3_the_first_edit_after_a_quiet_time_is_relayed_at_once() -> None:
    a, b = synced(room_of(Ring()), "a", "b")
    a.type("hello", now=10.0)
    b.listen()
    assert str(b) == "hello"


def test_edits_that_nobody_is_there_to_see_are_not_relayed() -> None:
    ring = Ring()
    room = room_of(ring)
    doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    text = doc.get("t", type=pycrdt.Text)
    for now in (10.0, 10.001, 10.002):
        before = doc.get_state()
        text += "a"
        room.edit(doc.get_update(before), None, now, lambda: None)
    assert ring.timers == []
    (a,) = synced(room, "a")
    assert str(a) == "aaa"
    before = doc.get_state()
    text += "b"
    room.edit(doc.get_update(before), None, 10.003, lambda: None)
    a.listen()
    assert str(a) == "aaab"


def test_e3_edits_of_a_busy_moment_are_relayed_as_one_update() -> None:
    ring = Ring()
    room = room_of(ring)
    a, b, c = synced(room, "a", "b", "c")
    a.type("1", now=10.0)
    c.listen()
    for n in range(20):
        (a if n % 2 else b).type("x", now=10.001)
    assert c.listen() == []
    assert ring.timers == [pytest.approx(0.0015)]  # a quarter of the interval, for two readers
    room.wake(10.0025)
    assert len(c.listen()) == 1
    for client in (a, b):
        client.listen()
    assert str(a) == str(b) == str(c)
    assert len(str(a)) == 21


def test_j6_a_bigint_that_a_double_holds_becomes_a_number_in_encoded_states() -> None:
    def update(client: int) -> bytes:
        doc: pycrdt.Doc[pycrdt.Map[str]] = pycrdt.Doc(client_id=client)
        doc.get("m", type=pycrdt.Map)[f"k{client}"] = "x"
        return doc.get_update().replace(b"\x77\x01x", BIGINT)

    room = room_of(Ring())
    a, b = synced(room, "a", "b")
    a.say(yjs.Update(update(7)), now=10.0)
    (alone,) = [each.update for each in b.listen() if isinstance(each, yjs.Update)]
    assert alone == update(7)
    a.say(yjs.Update(update(8)), now=10.001)
    a.say(yjs.Update(update(9)), now=10.001)
    room.wake(10.011)
    (merged,) = [each.update for each in b.listen() if isinstance(each, yjs.Update)]
    for told in (merged, room.diff()):
        assert BIGINT not in told
        assert NUMBER in told


BIGINT = b"\x7a" + (2**62).to_bytes(8)  # as lib0 writes them
NUMBER = b"\x7c" + pack(">f", 2**62)


def test_e4_a_session_is_not_sent_its_own_edits() -> None:
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


def test_a_synced_joiner_has_the_whole_document() -> None:
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


def test_joiners_of_a_costly_document_under_edit_are_answered_together() -> None:
    ring = Ring()
    room = room_of(ring)
    (a,) = synced(room, "a")
    a.type("hello", now=10.0)
    room.joining._pacer.flushed(10.0, 0.1)
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


def test_e10_a_joiner_is_asked_for_its_state_before_it_gets_the_document() -> None:
    """Otherwise the values that it wrote and that lost would arrive without their content."""
    ring = Ring()
    room = room_of(ring)
    (a,) = synced(room, "a")
    a.type("x")
    b = Client(room, "b")
    b.say(yjs.SyncStep1(b.doc.get_state()))
    assert [type(message) for message in b.listen()] == [yjs.SyncStep1, yjs.SyncStep2]


def test_a_joiner_sends_what_it_wrote_while_it_was_away() -> None:
    room = room_of(Ring())
    (a,) = synced(room, "a")
    late = Client(room, "b")
    late.type("offline", send=False)
    late.sync(now=10.0)
    a.listen()
    assert str(a) == "offline"


def test_e2_an_update_that_came_out_of_order_is_not_pending_but_asked_for() -> None:
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


def test_e2_the_edits_of_a_client_that_lost_a_frame_become_visible() -> None:
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


def test_a_reconnecting_client_that_has_nothing_new_adds_nothing_to_the_log() -> None:
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


def test_s1_an_edit_is_acknowledged_after_its_commit_and_not_before() -> None:
    ring = Ring()
    room = room_of(ring)
    client = Client(room, "a", framing=HocuspocusFraming("d"))
    client.type("hello", now=10.0)
    assert saved(client) == 0
    ring.commit()
    assert saved(client) == 1


def test_a_repeated_edit_is_acknowledged_once_the_original_is_committed() -> None:
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


def test_e8_a_reader_sees_everything_and_changes_nothing() -> None:
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


def test_e8_of_a_read_only_client_only_answers_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    ring = Ring()
    room = room_of(ring, options=RoomOptions(reader_bytes=1000))
    (writer,) = synced(room, "w")
    for n in range(200):
        writer.type("ab", now=n)
        before = writer.doc.get_state()
        del writer.text[len(writer.text) - 1]
        writer.say(yjs.Update(writer.doc.get_update(before)), n)
    reader = Client(room, "r", Access.READ, framing=HocuspocusFraming("d"))
    reader.say(yjs.SyncStep1(b"\0"), 300.0)
    repeated = writer.doc.get_update(writer.doc.get_state())
    room.drain(reader.session)
    checks: list[bytes] = []
    check = room.gate.check

    def counted(update: bytes) -> Checked:
        checks.append(update)
        return check(update)

    monkeypatch.setattr(room.gate, "check", counted)
    reader.say(yjs.SyncStep2(repeated), 301.0)
    ring.commit()
    assert room.drain(reader.session) == [hocuspocus.sync_status("d", True)]
    assert checks == [repeated]
    for message in (
        yjs.SyncStep2(repeated),  # nobody asked
        yjs.Update(repeated),
        yjs.Update(b"not an update"),
    ):
        reader.say(message, 302.0)
        assert room.drain(reader.session) == [hocuspocus.sync_status("d", False)]
    reader.say(yjs.SyncStep1(b"\0"), 303.0)
    room.drain(reader.session)
    reader.say(yjs.SyncStep2(writer.doc.get_update()), 304.0)
    assert room.drain(reader.session) == [hocuspocus.sync_status("d", False)]
    assert checks == [repeated]


def test_a_client_that_asks_again_and_again_is_asked_once() -> None:
    room = room_of(Ring())
    client = Client(room, "a", framing=HocuspocusFraming("d"))
    for n in range(10):
        client.say(yjs.SyncStep1(b"\0"), n)
    frames = [hocuspocus.decode(frame)[1] for frame in room.drain(client.session)]
    assert sum(isinstance(message, yjs.SyncStep1) for message in frames) == 1
    assert sum(isinstance(message, yjs.SyncStep2) for message in frames) == 10
    client.say(yjs.SyncStep2(client.type("offline", send=False)), 10.0)
    client.say(yjs.SyncStep1(b"\0"), 11.0)
    assert any(isinstance(hocuspocus.decode(frame)[1], yjs.SyncStep1) for frame in room.drain(client.session))


@pytest.mark.parametrize("users", [("ada", "alan"), ("ada", "ada"), (None, None)])
def test_e7_of_two_writers_with_one_client_id_the_second_stays_without_acknowledgement(
    users: tuple[str | None, str | None],
) -> None:
    ring = Ring()
    room = room_of(ring)
    first, second = (Client(room, user, client_id=7, framing=HocuspocusFraming("d")) for user in users)
    joined(first, second)
    first.type("hello", now=10.0)
    second.type("other", now=10.1)
    ring.commit()
    assert saved(first) == 1
    assert hocuspocus.sync_status("d", False) in room.drain(second.session)
    second.type("!", now=10.2)
    ring.commit()
    assert saved(second) == 0, "its document will always differ"
    assert second.session in room.sessions
    assert text_of(room).startswith("hello")
    assert room._metrics.refusals.counts == {"edit": 1}


def test_any_client_may_send_what_another_wrote() -> None:
    ring = Ring()
    room = room_of(ring)
    ada, alan = (Client(room, user, framing=HocuspocusFraming("d")) for user in ("ada", "alan"))
    joined(ada, alan)
    for letter in "hello":
        update = ada.type(letter, now=10.0, send=False)
        alan.say(yjs.Update(update), 10.0)
        ada.say(yjs.Update(update), 10.1)
        alan.say(yjs.Update(update), 10.2)
    ring.commit()
    assert (saved(ada), saved(alan)) == (5, 10)
    assert text_of(room) == "hello"
    assert len(ring.log) == 5, "what is repeated is not logged again"
    assert room._metrics.refusals.counts == {}


def test_offline_edits_under_a_client_id_used_by_another_meanwhile_are_not_acknowledged() -> None:
    ring = Ring()
    room = room_of(ring)
    mallory = Client(room, "mallory", client_id=7)
    mallory.sync()
    mallory.type("Z" * 60, now=10.0)
    room.leave(mallory.session, 11.0)
    victim = Client(room, "victim", client_id=7, framing=HocuspocusFraming("d"))
    update = victim.type("what was written offline", send=False)
    victim.say(yjs.SyncStep1(b"\0"), 12.0)
    victim.say(yjs.Update(update), 12.0)
    victim.say(yjs.SyncStep2(b"\0\0"), 12.0)
    ring.commit()
    frames = room.drain(victim.session)
    assert hocuspocus.sync_status("d", True) not in frames
    assert frames.count(hocuspocus.sync_status("d", False)) == 2


def test_an_update_from_the_server_side_that_repeats_other_content_is_refused() -> None:
    room = room_of(Ring())
    (ada,) = synced(room, "ada")
    ada.type("hello", now=10.0)
    other: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc(client_id=ada.doc.client_id)
    other.get("t", type=pycrdt.Text).insert(0, "jello")
    with pytest.raises(InvalidRequest, match="two writers"):
        room.edit(other.get_update(), None, 11.0, lambda: None)
    room.edit(ada.doc.get_update(), None, 11.0, lambda: None)


def test_e7_p2_a_users_new_socket_takes_its_client_id_over_from_the_old_one() -> None:
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


def test_e1_a_malformed_update_ends_its_sender_and_nobody_else() -> None:
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
    room.quarantine = Quarantine([culprit]).holds
    client = Client(room, "a")
    client.doc.apply_update(author.get_update())
    with pytest.raises(Quarantined):
        client.sync(now=10.0)
    assert ring.log == []


def test_a_full_document_refuses_further_edits() -> None:
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


def test_e6_a_reader_that_fell_behind_is_brought_up_to_date_by_one_diff() -> None:
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


def test_p5_a_late_joiner_sees_who_is_there() -> None:
    room = room_of(Ring())
    a = Client(room, "a")
    a.sync()
    states = b'{"user":{"name":"A"}}'
    a.say(yjs.AwarenessUpdate(bytes([1, 5, 1, len(states)]) + states), 10.0)
    late = Client(room, "b")
    assert any(isinstance(m, yjs.AwarenessUpdate) and b'"A"' in m.payload for m in late.listen())


def test_p4_a_cursor_leaves_with_its_connection() -> None:
    room = room_of(Ring())
    a, b = synced(room, "a", "b")
    states = b'{"user":{"name":"A"}}'
    a.say(yjs.AwarenessUpdate(bytes([1, 5, 1, len(states)]) + states), 10.0)
    b.listen()
    room.leave(a.session, 20.0)
    assert any(isinstance(m, yjs.AwarenessUpdate) and b"null" in m.payload for m in b.listen())
    assert not room.presence.awareness.states


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff",
        b"\x01",
        bytes([1, 5, 1, 2]) + b"[]",
        bytes([1, 5, 1, 4]) + b'"hi"',
        bytes([1, 5, 1, 3]) + b"NaN",
        b"\x01\x05\x01" + encode_bytes(b'{"a":"' + b"x" * 70_000 + b'"}'),
        b"\x01\x05\x01" + encode_bytes(b'{"a":' * 100 + b"1" + b"}" * 100),
    ],
)
def test_f1_p1_presence_that_cannot_be_shown_does_not_end_a_session(payload: bytes) -> None:
    room = room_of(Ring())
    a, b = synced(room, "a", "b")
    a.say(yjs.AwarenessUpdate(payload), 10.0)
    assert not room.presence.awareness.states
    assert room._metrics.refusals.counts == {"presence": 1}
    a.type("goes on", now=11.0)
    b.listen()
    assert str(b) == "goes on"


def test_a_cursor_stays_as_long_as_its_connection() -> None:
    room = room_of(Ring())
    a, b = synced(room, "a", "b")
    states = b'{"user":{"name":"A"}}'
    a.say(yjs.AwarenessUpdate(bytes([1, 5, 1, len(states)]) + states), 10.0)
    for now in range(11, 100):
        room.expire(now)
    told = [m for m in b.listen() if isinstance(m, yjs.AwarenessUpdate)]
    assert not any(b"null" in m.payload for m in told)
    assert set(room.presence.awareness.states) == {5}
    room.leave(a.session, 100.0)
    assert not room.presence.awareness.states


def test_a_reader_that_never_reads_does_not_end_the_one_who_broadcasts() -> None:
    room = room_of(Ring())
    sender, slow = (Client(room, "a", framing=HocuspocusFraming("d")) for _ in range(2))
    for n in range(2000):
        room.broadcast(str(n), sender.session)
    assert sender.closed is None
    assert isinstance(slow.closed, RateLimitExceeded)


def test_k3_an_unknown_message_is_skipped() -> None:
    (a,) = synced(room_of(Ring()), "a")
    a.say(yjs.Unknown(99), 10.0)
    assert a.closed is None


def test_a_rebuilt_room_takes_over_sessions_presence_and_unhandled_messages() -> None:
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


def test_who_asks_for_presence_gets_the_states_of_everybody() -> None:
    room = room_of(Ring())
    a, b = synced(room, "a", "b")
    a.say(yjs.AwarenessUpdate(b"\x01\x07\x01" + encode_bytes(b'{"x":1}')))
    room.wake(1.0)
    b.listen()
    b.say(yjs.QueryAwareness())
    assert b.listen() == [yjs.AwarenessUpdate(room.presence.awareness.snapshot())]


def test_presence_reaches_a_provider_of_either_protocol() -> None:
    room = room_of(Ring())
    (a,) = synced(room, "a")
    a.say(yjs.AwarenessUpdate(b"\x01\x07\x01" + encode_bytes(b'{"x":1}')))
    late = Client(room, "b", framing=HocuspocusFraming("d"))
    assert room.drain(late.session) == [hocuspocus.awareness("d", room.presence.awareness.snapshot())]


def test_an_application_message_goes_to_the_providers_whose_protocol_has_one() -> None:
    room = room_of(Ring())
    sender, other = (Client(room, user, framing=HocuspocusFraming("d")) for user in "ab")
    stock = Client(room, "c")
    room.broadcast("hello", sender.session)
    assert room.drain(other.session) == [hocuspocus.stateless("d", "hello")]
    assert room.drain(sender.session) == room.drain(stock.session) == []


def test_a_session_leaves_once_and_gets_nothing_afterwards() -> None:
    room = room_of(Ring())
    a, b = synced(room, "a", "b")
    for _ in range(2):
        room.leave(a.session, 0.0)
        a.session.detach()
    b.type("hello")
    room.wake(1.0)
    assert a.session not in room.sessions
    assert a.session.drain() == []
    a.session.close(Unavailable("to nobody"))
    assert a.closed is None


def test_a_deleted_document_sends_its_sessions_away_and_takes_edits_again_once_it_is_restored() -> None:
    ring = Ring()
    room = room_of(ring)
    (a,) = synced(room, "a")
    update = a.type("kept", send=False)
    room.delete()
    assert isinstance(a.closed, EntityDeleted)
    with pytest.raises(EntityDeleted):  # a frame that was under way
        a.say(yjs.Update(update))
    with pytest.raises(EntityDeleted):
        room.edit(update, "a", 0.0, lambda: None)
    assert not ring.log
    room.restore()
    a.say(yjs.Update(update))
    assert text_of(room) == "kept"


def test_an_edit_of_the_server_waits_until_a_broken_room_is_rebuilt() -> None:
    room = room_of(Ring())
    (a,) = synced(room, "a")
    room.broken = True
    with pytest.raises(Unavailable, match="rebuilt"):
        room.edit(a.type("a", send=False), "a", 0.0, lambda: None)


def test_a_write_of_the_server_that_holds_nothing_new_learns_what_is_there() -> None:
    ring = Ring()
    room = room_of(ring)
    (a,) = synced(room, "a")
    update = a.type("a")
    told: list[WriteOutcome] = []
    done: list[bool] = []
    room.edit(update, "a", 0.0, lambda: done.append(True), Intent("session of ann", told.append))
    assert not done, "the same edit is not committed yet"
    ring.commit()
    assert done
    assert told == [WriteOutcome(room.bridge.main.data, room.bridge.main.version, ())]
    assert len(ring.log) == 1


def test_a_user_who_has_lost_the_right_to_write_is_not_served_the_rest_of_a_large_edit() -> None:
    ring = Ring()
    room = room_of(ring)
    (a,) = synced(room, "a")
    checked = room.gate.check(a.type("a", send=False))
    a.session.access = Access.READ
    room.take_in(a.session, checked, 0.0, live=True, counted=None)
    assert not ring.log
    assert text_of(room) == ""


@pytest.mark.parametrize(
    ("failure", "reason"), [(DecodeError("cut off"), InvalidRequest), (RuntimeError("a fault"), InternalError)]
)
def test_a_failure_with_a_message_ends_only_its_session(failure: Exception, reason: type[CollabError]) -> None:
    room = room_of(Ring())
    a, b = synced(room, "a", "b")
    with closing(a.session):
        raise failure
    assert isinstance(a.closed, reason)
    assert b.closed is None


def test_a_state_vector_that_lists_a_client_twice_counts_as_unknown() -> None:
    """Yrs reads it; to ask a returning client for less, every entry would have to be right."""
    room = room_of(Ring())
    (a,) = synced(room, "a")
    a.type("hello")
    back = Client(room, "a")
    back.session.returns = True
    entry = encode_uint(a.doc.client_id) + encode_uint(1)
    back.say(yjs.SyncStep1(b"\x02" + entry + entry))
    back.introduce()
    assert any(isinstance(message, yjs.SyncStep1) for message in back.listen())


def test_a_quarantined_deletion_is_recognised_and_malformed_bytes_are_skipped() -> None:
    ring = Ring()
    room = room_of(ring)
    (a,) = synced(room, "a")
    a.type("hello")
    before = a.doc.get_state()
    del a.text[0:2]
    update = a.doc.get_update(before)
    quarantine = Quarantine([b"\xff", update])
    assert quarantine
    assert quarantine.holds(room.gate.check(update))
    del a.text[0:1]
    assert not quarantine.holds(room.gate.check(a.doc.get_update(before)))
    assert not Quarantine([b"\xff"])
