"""Updates of several documents that are accepted together, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pycrdt
import pytest

from collab.errors import CollabError, Unavailable
from collab.gate.fields import Write
from collab.rooms.live.faults import NotApplied, NotRecorded
from collab.rooms.live.room import Room
from collab.rooms.live.together import JointEdit, accept_together
from tests.collab.rooms.live.simulation import Client, Ring, room_of
from tests.collab.rooms.live.test_room import synced, text_of


def edit_of(room: Room, text: str, client_id: int = 99) -> JointEdit:
    doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc(client_id=client_id)
    doc.apply_update(room.doc.get_update())
    before = doc.get_state()
    held = doc.get("t", type=pycrdt.Text)
    held += text
    return JointEdit(room, room.check_own(doc.get_update(before)))


def field_of(doc: pycrdt.Doc[Any]) -> Any:
    return doc.get("fields", type=pycrdt.Map).get("f")


def writing_field(room: Room, value: str) -> bytes:
    """As the server writes: under the id of the room, after all that it has written there."""
    doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=room.server_client_id)
    doc.apply_update(room.doc.get_update())
    before = doc.get_state()
    doc.get("fields", type=pycrdt.Map)["f"] = value
    return doc.get_update(before)


def edit_of_field(room: Room, value: str) -> JointEdit:
    return JointEdit(room, room.check_own(writing_field(room, value)))


def set_field(room: Room, value: str) -> None:
    room.edit(writing_field(room, value), "ann", 1.0, lambda: None)


def accept(*edits: JointEdit) -> list[Sequence[Sequence[Write]]]:
    recorded: list[Sequence[Sequence[Write]]] = []
    accept_together(edits, "ann", recorded.append)
    return recorded


def release(*edits: JointEdit, now: float = 20.0) -> None:
    for edit in edits:
        edit.release("ann", now)


def test_members_get_the_updates_after_the_commit_and_other_edits_meanwhile() -> None:
    room, other = room_of(Ring()), room_of(Ring())
    a, b = synced(room, "a", "b")
    edits = [edit_of(room, "x"), edit_of(other, "x")]
    assert len(accept(*edits)) == 1
    assert text_of(room) == text_of(other) == "x"
    a.type("y", now=10.0)
    b.listen(10.0)
    assert (str(a), str(b)) == ("y", "y")
    release(*edits)
    for client in (a, b):
        client.listen(20.0)
    assert sorted(str(a)) == ["x", "y"]
    assert str(a) == str(b) == text_of(room)


def test_who_comes_meanwhile_is_answered_after_the_commit() -> None:
    ring = Ring()
    room = room_of(ring)
    (a,) = synced(room, "a")
    first, second = edit_of(room, "x", 98), edit_of(room_of(Ring()), "x")
    accept(first, second)
    late = Client(room, "late")
    late.sync(10.0)
    room.wake(15.0)
    assert late.listen(15.0) == []
    release(first, now=20.0)
    room.wake(20.0)
    late.listen(20.0)
    assert str(late) == "x"
    a.listen(20.0)
    assert str(a) == "x"


def test_two_at_once_are_both_waited_for() -> None:
    room = room_of(Ring())
    synced(room, "a")
    first = edit_of(room, "x", 98)
    accept(first)
    second = edit_of(room, "y", 99)
    accept(second)
    late = Client(room, "late")
    late.sync(10.0)
    release(first, now=11.0)
    room.wake(12.0)
    late.listen(12.0)
    assert "y" not in str(late)
    release(second, now=13.0)
    room.wake(13.0)
    late.listen(13.0)
    assert sorted(str(late)) == ["x", "y"]


def test_what_the_server_writes_meanwhile_follows_the_withheld_update() -> None:
    """It may replace what only the withheld update holds: without that, a reader would apply its deletions alone."""
    ring = Ring()
    room = room_of(ring)
    (reader,) = synced(room, "reader")
    set_field(room, "old")
    reader.listen(1.0)
    assert field_of(reader.doc) == "old"
    first, second = edit_of_field(room, "first"), edit_of(room_of(Ring()), "x")
    accept(first, second)
    set_field(room, "later")
    heard: list[bytes] = []
    room.listeners.add(lambda update, user: heard.append(update))
    room.wake(10.0)
    reader.listen(10.0)
    assert field_of(reader.doc) == "old"
    assert not heard
    another = edit_of_field(room, "second")
    accept(another)
    set_field(room, "last")
    release(first, now=20.0)
    room.wake(21.0)
    reader.listen(21.0)
    assert field_of(reader.doc) == "later"
    assert len(heard) == 2
    release(another, now=22.0)
    room.wake(23.0)
    reader.listen(23.0)
    assert field_of(reader.doc) == field_of(room.doc) == "last"
    assert len(heard) == 4


def test_a_reader_that_fell_behind_gets_nothing_before_the_commit() -> None:
    room = room_of(Ring())
    (a,) = synced(room, "a")
    slow = Client(room, "slow", outbox_bytes=100)
    slow.sync()
    for n in range(20):
        a.type("abcdefgh" * 4, now=1.0 + n)
    assert slow.session.outbox.is_behind
    edit = edit_of(room, "!")
    accept(edit)
    assert slow.listen(30.0) == []
    release(edit, now=31.0)
    slow.listen(31.0)
    assert str(slow).endswith("!")


@pytest.mark.parametrize("at", [0, 1, 2])
def test_if_one_cannot_be_applied_those_that_were_are_rebuilt(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rings = [Ring() for _ in range(3)]
    rooms = [room_of(ring) for ring in rings]
    readers = [client for room in rooms for client in synced(room, "a")]
    edits = [edit_of(room, "x") for room in rooms]

    def fails(checked: Any, *, live: bool) -> Any:
        raise OverflowError("lost")

    monkeypatch.setattr(rooms[at].gate, "commit", fails)
    with pytest.raises(NotApplied):
        accept(*edits)
    # what crashed is quarantined, the others are only rebuilt
    culprits = [ring.broken_by for ring in rings]
    assert culprits == [*([[None]] * at), [edits[at].checked.update], *([[]] * (2 - at))]
    assert [room.broken for room in rooms] == [number <= at for number in range(3)]
    for reader in readers:
        assert reader.listen(20.0) == []


def test_if_they_cannot_be_recorded_all_are_rebuilt() -> None:
    rings = [Ring() for _ in range(2)]
    edits = [edit_of(room_of(ring), "x") for ring in rings]

    def refuses(writes: Sequence[Sequence[Write]]) -> None:
        raise Unavailable("storage is too far behind")

    with pytest.raises(NotRecorded):
        accept_together(edits, "ann", refuses)
    assert [ring.broken_by for ring in rings] == [[None], [None]]


def test_what_cannot_be_admitted_changes_nothing() -> None:
    rings = [Ring(), Ring()]
    rooms = [room_of(ring) for ring in rings]
    edits = [edit_of(room, "x") for room in rooms]
    rings[1].full = True
    with pytest.raises(CollabError):
        accept(*edits)
    assert [text_of(room) for room in rooms] == ["", ""]
    assert [ring.broken_by for ring in rings] == [[], []]
