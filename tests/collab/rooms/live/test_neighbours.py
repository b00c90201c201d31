"""The left and right origin of a new element must be in this order."""

from __future__ import annotations

from typing import Any

import pycrdt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.access.rules import Access
from collab.errors import CollabError
from collab.rooms.live.neighbours import are_inverted
from collab.rooms.live.room import Room
from collab.wire import yjs
from tests.collab.rooms.live.simulation import Client, Ring, room_of
from tests.fuzz.encode import STRING, Id, block, frame, item, string

A, B = 3_000_000_000, 3_000_000_001


def between(origin: Id, right: Id, clock: int = 0, text: str = "d") -> bytes:
    return frame([block(B, clock, [item(STRING, string(text), origin=origin, right=right)])])


def typed(*words: str) -> Room:
    """A room in which one client has typed; each word is an update."""
    room = room_of(Ring())
    client = Client(room, "a", client_id=A)
    for word in words:
        client.type(word, now=1.0)
    return room


def loads_as_it_is(room: Room) -> bool:
    joiner: pycrdt.Doc[Any] = pycrdt.Doc()
    joiner.apply_update(room.diff())
    return str(joiner.get("t", type=pycrdt.Text)) == str(room.doc.get("t", type=pycrdt.Text))


@pytest.mark.parametrize("words", [("a", "b", "c"), ("abc",)])
@pytest.mark.parametrize(("origin", "right"), [((A, 2), (A, 1)), ((A, 2), (A, 0))])
def test_e21_an_element_with_its_origins_in_reverse_order_ends_the_session(
    words: tuple[str, ...], origin: Id, right: Id
) -> None:
    room = typed(*words)
    mallory = Client(room, "mallory")
    with pytest.raises(CollabError, match="in reverse order") as refused:
        mallory.say(yjs.Update(between(origin, right)), 2.0)
    assert refused.value.close_code == 4400
    assert str(room.doc.get("t", type=pycrdt.Text)) == "abc"
    assert loads_as_it_is(room)
    with pytest.raises(CollabError, match="in reverse order"):
        room.edit(between(origin, right), None, 3.0, lambda: None)


@pytest.mark.parametrize(("origin", "right", "text"), [((A, 0), (A, 1), "adbc"), ((A, 1), (A, 2), "abdc")])
def test_an_element_between_its_origins_is_applied(origin: Id, right: Id, text: str) -> None:
    room = typed("abc")
    Client(room, "b").say(yjs.Update(between(origin, right)), 2.0)
    assert str(room.doc.get("t", type=pycrdt.Text)) == text
    assert loads_as_it_is(room)


@pytest.mark.parametrize("words", [("abc",), ("a", "b", "c")])
def test_e21_e13_an_element_with_the_same_left_and_right_origin_is_deleted(words: tuple[str, ...]) -> None:
    room = typed(*words)
    writer = Client(room, "b", client_id=B)
    writer.sync(1.0)
    writer.say(yjs.Update(between((A, 1), (A, 1))), 2.0)
    assert str(room.doc.get("t", type=pycrdt.Text)) == "abc"
    assert loads_as_it_is(room)
    assert room.gate.state == {A: 3, B: 1}
    told = [message.update for message in writer.listen(2.0) if isinstance(message, yjs.Update)]
    assert frame([], [(B, 0, 1)]) in told


def test_the_order_of_deleted_origins_depends_on_what_is_between_them() -> None:
    doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=A)
    text = doc.get("t", type=pycrdt.Text)
    text += "abcd"
    del text[2:3]
    del text[0:1]
    assert are_inverted(doc, [((A, 2), (A, 0))])
    assert not are_inverted(doc, [((A, 0), (A, 2))])
    assert are_inverted(doc, [((A, 3), (A, 2))])
    assert not are_inverted(doc, [((A, 2), (A, 3))])


def test_neighbours_that_are_gone_with_their_type_are_not_judged() -> None:
    doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=A)
    fields = doc.get("m", type=pycrdt.Map)
    fields["text"] = pycrdt.Text("abc")
    del fields["text"]
    assert not are_inverted(doc, [((A, 3), (A, 1))])


def test_continued_typing_does_not_ask_the_document() -> None:
    room = typed("abc")
    writer = Client(room, "b", client_id=B)
    writer.sync(2.0)
    asked = []
    for letter in "xyz":
        before = writer.doc.get_state()
        writer.text.insert(len(writer.text) - 1, letter)
        update = writer.doc.get_update(before)
        asked.append(bool(room.gate.check(update).neighbours))
        writer.say(yjs.Update(update), 2.0)
    assert asked == [True, False, False]


_edits = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 50), st.integers(0, 3)), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(edits=_edits)
def test_concurrent_edits_of_one_text_are_never_refused(edits: list[tuple[int, int, int]]) -> None:
    room = room_of(Ring())
    peers = [Client(room, str(n), Access.WRITE, client_id=A + n) for n in range(3)]
    for peer in peers:
        peer.sync(1.0)
    for who, at, kind in edits:
        peer = peers[who]
        if kind == 0:
            peer.listen(2.0)  # until then it writes without knowing what the others do
        elif kind == 1 and len(peer.text):
            at %= len(peer.text)
            before = peer.doc.get_state()
            del peer.text[at : min(at + 2, len(peer.text))]
            peer.say(yjs.Update(peer.doc.get_update(before)), 2.0)
        else:
            before = peer.doc.get_state()
            peer.text.insert(at % (len(peer.text) + 1), "xy")
            peer.say(yjs.Update(peer.doc.get_update(before)), 2.0)
    assert all(peer.closed is None for peer in peers)
    assert loads_as_it_is(room)
