"""Repeated elements with known clocks are compared with the document."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Array, Doc, Map, Text, XmlElement, XmlFragment

from collab.gate.gate import Gate
from collab.gate.limits import MAX_PARTS
from collab.gate.repeats import FEWEST_COMPARED, MOST_COMPARED, asked_again
from collab.gate.structs import decode_state_vector
from collab.rooms.live.revisions import mended
from tests.fuzz.encode import (
    ANY,
    BINARY,
    DELETED,
    EMBED,
    FORMAT,
    GC,
    STRING,
    TYPE,
    block,
    filler,
    frame,
    item,
    string,
    uint,
)

A, B = 3_000_000_000, 5


class Room:
    """A document and its gate."""

    def __init__(self, *updates: bytes) -> None:
        self.doc: Doc[Any] = Doc()
        self.gate = Gate()
        for update in updates:
            checked = self.gate.check(update)
            self.doc = mended(self.doc, checked.cuts, keep_deleted=False)
            self.doc.apply_update(checked.update)
            self.gate.commit(checked)

    def contradicts(self, update: bytes) -> bool:
        return self.gate.contradicts(self.gate.check(update), self.doc.get_update)


def text(content: str, clock: int = 0, client: int = A, **where: Any) -> bytes:
    return frame([block(client, clock, [item(STRING, string(content), **(where or {"parent": "t"}))])])


def one(ref: int, content: bytes, **where: Any) -> bytes:
    return frame([block(A, 0, [item(ref, content, **(where or {"parent": "t"}))])])


def test_what_is_new_is_not_compared() -> None:
    room = Room(text("hello"))
    assert room.gate.check(text("!", 5, origin=(A, 4))).repeats is None
    assert room.gate.check(text("other", client=B)).repeats is None


@pytest.mark.parametrize("update", [text("hello"), text("he"), text("ll", 2, origin=(A, 1)), text("hello!")])
def test_equal_content_compares_as_equal_in_any_pieces(update: bytes) -> None:
    assert not Room(text("hello")).contradicts(update)


@pytest.mark.parametrize(
    "update",
    [
        text("jello"),
        text("hellO"),
        text("j"),
        text("lL", 2, origin=(A, 1)),
        text("hellO world"),
        text("ll", 2, origin=(A, 0)),
        text("hello", parent="u"),
        text("hello", parent="t", key="k"),
        one(ANY, uint(5) + b"\x7e" * 5),
    ],
)
def test_other_content_and_another_place_differ(update: bytes) -> None:
    assert Room(text("hello"), text("u", client=B, parent="u")).contradicts(update)


@pytest.mark.parametrize(
    ("ref", "content", "other"),
    [
        (ANY, uint(2) + b"\x7d\x01\x7d\x02", uint(2) + b"\x7d\x01\x7d\x03"),
        (ANY, b"\x01\x7b\x3f\xf8" + bytes(6), b"\x01\x7b\x3f\xf9" + bytes(6)),
        (ANY, b"\x01\x76\x02\x01b\x7d\x01\x01a\x7d\x02", b"\x01\x76\x02\x01b\x7d\x01\x01a\x7d\x03"),
        (BINARY, b"\x02ab", b"\x02ac"),
        (EMBED, string('{"b":1,"a":2}'), string('{"b":1,"a":3}')),
        (FORMAT, string("bold") + string("true"), string("bold") + string("null")),
        (FORMAT, string("bold") + string("true"), string("tall") + string("true")),
        (TYPE, b"\x00", b"\x01"),
        (TYPE, b"\x03" + string("p"), b"\x03" + string("h")),
    ],
)
def test_each_kind_of_content_is_compared_by_what_it_means(ref: int, content: bytes, other: bytes) -> None:
    room = Room(one(ref, content))
    assert not room.contradicts(one(ref, content))
    assert room.contradicts(one(ref, other))


@pytest.mark.parametrize(
    "value",
    [
        b"\x7a" + (2**60).to_bytes(8),
        b"\x7a" + (2**63 - 1).to_bytes(8),
        b"\x7a" + (2**53 + 1).to_bytes(8),
        b"\x7b\x80" + bytes(7),
        b"\x7b\x7f\xf8" + bytes(6),
        b"\x7f",
        b"\x76\x02\x01b\x7a" + (7).to_bytes(8) + b"\x01a\x7f",
    ],
)
def test_values_that_the_library_writes_in_another_way_are_the_same(value: bytes) -> None:
    update = one(ANY, b"\x01" + value)
    assert not Room(update).contradicts(update)


@pytest.mark.parametrize(
    "written",
    [
        '{"n":9223372036854776000}',
        '{"n":1e21,"m":-0}',
        '{"b":1,"a":[2,{"d":3,"c":4}]}',
        r'{"half \ud83e":"\udd8a half"}',
        r'"\ud83e\udd8a"',
        "[" * 90 + "]" * 90,
    ],
)
@pytest.mark.parametrize("ref", [EMBED, FORMAT])
def test_json_that_the_library_writes_in_another_way_is_the_same(ref: int, written: str) -> None:
    update = one(ref, (b"" if ref == EMBED else string("key")) + string(written))
    assert not Room(update).contradicts(update)


def test_what_is_deleted_on_either_side_counts_as_the_same() -> None:
    room = Room(text("hello"), frame([], [(A, 0, 2)]))
    assert not room.contradicts(text("jallo"))
    assert room.contradicts(text("jallO"))
    assert not Room(text("hello")).contradicts(frame([block(A, 0, [filler(0, 5)])]))


def test_a_pair_that_was_split_meanwhile_counts_as_the_same() -> None:
    room = Room(text("a😀b"), text("x", client=B, origin=(A, 1)))
    assert str(room.doc.get("t", type=Text)) == "a�x�b"
    assert not room.contradicts(text("a😀b"))


def test_repeats_that_begin_inside_a_pair_are_compared() -> None:
    room = Room(text("a😀b"))
    assert not room.contradicts(text("�b", 2, origin=(A, 1)))
    assert room.contradicts(text("�c", 2, origin=(A, 1)))


def test_a_repeated_element_whose_parent_is_not_a_type_is_left_out() -> None:
    room = Room(text("hello"))
    update = frame([block(A, 0, [item(TYPE, b"\x01", parent="m"), item(ANY, b"\x01\x7e", parent=(A, 0), key="k")])])
    checked = room.gate.check(update)
    assert not checked.before
    assert room.gate.contradicts(checked, room.doc.get_update)


def test_the_newest_elements_of_a_client_are_compared_and_older_ones_are_not() -> None:
    room = Room(text("x" * (MOST_COMPARED + 1)))
    assert not room.contradicts(text("y"))
    assert room.contradicts(text("y", 1, origin=(A, 0)))


def test_the_elements_of_all_clients_that_are_compared_are_counted_together() -> None:
    half = MOST_COMPARED // 2 + 1
    room = Room(*(text("x" * half, client=client) for client in (10, 11)))

    def said(first: str, second: str) -> bytes:
        return frame([block(c, 0, [item(STRING, string(w), parent="t")]) for c, w in ((10, first), (11, second))])

    assert room.contradicts(said("y", "x"))
    assert not room.contradicts(said("x", "y"))
    assert room.contradicts(text("y", client=11))


@pytest.mark.parametrize("lost", [filler(GC, 5), item(DELETED, uint(5), parent="t")], ids=["garbage", "deleted"])
def test_elements_never_alive_here_differ_from_a_returning_peers_visible_ones(lost: bytes) -> None:
    room = Room(frame([block(A, 0, [lost])]))
    shown = room.gate.check(text("hello"))
    assert room.gate.contradicts(shown, room.doc.get_update, returns=True)
    assert not room.gate.contradicts(shown, room.doc.get_update)


def test_elements_deleted_on_either_side_do_not_differ() -> None:
    once_alive = Room(text("hello"), frame([], [(A, 0, 5)]))
    assert not once_alive.gate.contradicts(
        once_alive.gate.check(text("hello")), once_alive.doc.get_update, returns=True
    )
    never_alive = Room(frame([block(A, 0, [filler(GC, 5)])]))
    deleted_there = frame([block(A, 0, [item(STRING, string("hello"), parent="t")])], [(A, 0, 5)])
    assert not never_alive.gate.contradicts(
        never_alive.gate.check(deleted_there), never_alive.doc.get_update, returns=True
    )


def test_a_returning_peer_is_asked_for_its_own_newest_elements() -> None:
    state = {A: 10, B: MOST_COMPARED + 7}
    assert asked_again(state, A, {}) == {A: 0}
    assert asked_again(state, B, {}) == {B: 7}


@pytest.mark.parametrize("own", [None, 12345])
def test_a_peer_of_unknown_client_id_is_asked_for_the_newest_elements_of_each_client(own: int | None) -> None:
    state = dict.fromkeys(range(1000), MOST_COMPARED)
    few = asked_again(state, own, {1: 5, 2: 5, 5000: 5})
    assert few == {1: MOST_COMPARED // 2, 2: MOST_COMPARED // 2}
    many = asked_again(state, own, None)
    assert list(many) == list(range(1000 - MOST_COMPARED // FEWEST_COMPARED, 1000))
    assert set(many.values()) == {MOST_COMPARED - FEWEST_COMPARED}


def test_a_peer_is_not_asked_to_begin_inside_a_pair() -> None:
    room = Room(text("😀" + "x" * (MOST_COMPARED - 1)))
    assert decode_state_vector(room.gate.asked_again(A, {})) == {}


_values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=3),
    st.dictionaries(
        st.text(min_size=1, max_size=2).filter(lambda key: key != "__proto__"), st.integers(0, 9), max_size=3
    ),
)
_steps = st.lists(
    st.tuples(
        st.integers(0, 1), st.integers(0, 6), st.integers(0, 100), st.text("ab😀é", min_size=1, max_size=4), _values
    ),
    min_size=1,
    max_size=12,
)


def _step(doc: Doc[Any], kind: int, at: int, word: str, value: Any) -> None:
    text = doc.get("t", type=Text)
    array = doc.get("a", type=Array)
    fields = doc.get("m", type=Map)
    if kind == 0:
        text += word
    elif kind == 1 and len(str(text)) == len(text) and len(text):
        text.insert(at % len(text), word.replace("😀", "z"))
    elif kind == 2 and len(text):
        text.format(0, len(text), {"bold": at % 2 == 0})
    elif kind == 3:
        array.insert(at % (len(array) + 1), value)
    elif kind == 4:
        fields[word] = value
    elif kind == 5:
        fields[word] = Map({"in": value})
    elif len(array):
        del array[at % len(array)]
    else:
        doc.get("x", type=XmlFragment).children.append(XmlElement("p", {"k": word}))


@settings(max_examples=60, deadline=None)
@given(steps=_steps)
def test_what_honest_peers_repeat_in_any_pieces_is_the_same(steps: list[tuple[int, int, int, str, Any]]) -> None:
    peers: list[Doc[Any]] = [Doc(client_id=7), Doc(client_id=9)]
    room = Room()
    said = []
    for who, *step in steps:
        peer = peers[who]
        before = peer.get_state()
        _step(peer, *step)
        update = peer.get_update(before)
        said.append(update)
        checked = room.gate.check(update, MAX_PARTS)
        assert not room.gate.contradicts(checked, room.doc.get_update)
        room.doc = mended(room.doc, checked.cuts, keep_deleted=False)
        room.doc.apply_update(checked.update)
        room.gate.commit(checked)
        peers[1 - who].apply_update(update)
        for repeated in (*said, peers[0].get_update(before), peers[1].get_update()):
            assert not room.contradicts(repeated)


@settings(max_examples=60, deadline=None)
@given(
    words=st.lists(st.text("abc", min_size=1, max_size=5), min_size=1, max_size=5),
    at=st.integers(0, 100),
    deleted=st.booleans(),
)
def test_one_other_character_differs_unless_it_is_deleted(words: list[str], at: int, deleted: bool) -> None:
    whole = "".join(words)
    at %= len(whole)
    updates = []
    clock = 0
    for word in words:
        where: dict[str, Any] = {"origin": (A, clock - 1)} if clock else {"parent": "t"}
        updates.append(text(word, clock, **where))
        clock += len(word)
    room = Room(*updates, *([frame([], [(A, at, 1)])] if deleted else []))
    other = whole[:at] + "X" + whole[at + 1 :]
    assert not room.contradicts(text(whole))
    assert room.contradicts(text(other)) is not deleted
