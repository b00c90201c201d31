"""Messages that end, hang or poison a server which hands them to the CRDT library unread.

The numbers are the names of known failures. What each did to pycrdt 0.14.13 (yrs 0.28) without the gate is said
beside it.
"""

from __future__ import annotations

from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text

from collab.gate.gate import Gap
from collab.gate.limits import MAX_TYPE_DEPTH
from collab.gate.struct_content import Malformed
from collab.gate.structs import decode_state_vector
from tests.fuzz import encode
from tests.fuzz.encode import ANY, DELETED, DOC, JSON, STRING, TYPE, block, filler, frame, item, string, uint
from tests.fuzz.replica import Replica

HELLO = frame([block(1, 0, [item(STRING, string("hello"), parent="t")])])


def value(encoded: bytes) -> bytes:
    return frame([block(7, 0, [item(ANY, b"\x01" + encoded, parent="m", key="k")])])


def test_e2_an_update_that_comes_too_early_is_never_pending() -> None:
    writer: Doc[Any] = Doc()
    text = writer.get("t", type=Text)
    text += "one"
    first, before = writer.get_update(), writer.get_state()
    text += "two"
    second = writer.get_update(before)
    room = Replica()
    with pytest.raises(Gap):
        room.take_all(second)
    # without the gate: held back inside the library, no event, missing from every snapshot
    assert room.doc.get_update() == b"\x00\x00"
    room.take_all(first)
    room.take_all(second)
    assert str(room.doc.get("t", type=Text)) == "onetwo"


def test_e2_a_flood_of_updates_with_gaps_leaves_nothing_behind() -> None:
    room = Replica([HELLO])
    index, state = room.gate.index(), room.doc.get_update()
    for client in range(10, 10_010):
        with pytest.raises(Gap):
            room.take_all(frame([block(client, 1, [item(STRING, string("x"), origin=(client, 0))])]))
    assert room.gate.index() == index
    assert room.doc.get_update() == state


@pytest.mark.parametrize("levels", [101, 9_000, 30_000, 200_000])
@pytest.mark.parametrize("level", [b"\x75\x01", b"\x76\x01\x00"])
def test_e14_values_nested_too_deeply_are_refused(level: bytes, levels: int) -> None:
    # 26 KB of it overflowed the stack of a thread; 9,000 levels passed yrs and broke every yjs that loaded them
    room = Replica([HELLO])
    (refused,) = room.take(value(level * levels + b"\x7e")).revision.refused  # type: ignore[union-attr]
    assert refused.why == "a value of more than 100 levels"
    assert len(room.log[-1]) < 30
    room.assert_loads_again()
    Replica([HELLO, value(level * 100 + b"\x7e")]).assert_loads_again()


def test_e14_types_nested_too_deeply_are_refused() -> None:
    # 60,000 maps in each other were taken in; deleting the outermost, in six bytes, overflowed the stack
    first = item(TYPE, b"\x01", parent="m", key="k")
    rest = [item(TYPE, b"\x01", parent=(7, n), key="k") for n in range(60_000)]
    room = Replica()
    checked = room.take(frame([block(7, 0, [first, *rest])]))
    assert checked.revision is not None
    assert [one[:3] for one in checked.revision.refused] == [(7, MAX_TYPE_DEPTH, 1)]
    assert room.gate.state == {7: 60_001}
    room.take_all(frame([], [(7, 0, 1)]))
    room.assert_loads_again()


@pytest.mark.parametrize(
    "panic",
    [
        "0106060901060201000000",  # 11 bytes found by flipping bits
        "0100010200",  # a block without structs, of a known client
        "01020200a7010401000000",  # an item followed by a collected range of length zero
    ],
)
def test_e1_what_made_the_library_panic_is_refused(panic: str) -> None:
    room = Replica([HELLO, frame([block(6, 0, [item(STRING, string("hello world"), parent="t")])])])
    with pytest.raises(Malformed):
        room.take_all(bytes.fromhex(panic))
    room.assert_loads_again()


@pytest.mark.parametrize(
    "poison",
    [
        "01010701000000",  # a collected range of length zero: every later get_update() panicked
        "010102ffffffff0fa301020362696e00",  # a clock of 2**32 - 1
        "010101ffffffff0f08010178027e7800",  # one that overflows: a dangling pointer
        "010132000401016104f09f98800101030101",  # deletes what nobody has
    ],
)
def test_e1_what_poisoned_a_document_for_ever_is_refused(poison: str) -> None:
    room = Replica([HELLO])
    with pytest.raises((Malformed, Gap)):
        room.take_all(bytes.fromhex(poison))
    room.assert_loads_again()


def test_e1_an_element_inside_itself_is_refused_and_so_is_what_followed() -> None:
    # 21 bytes in two messages: SIGSEGV
    room = Replica([HELLO])
    with pytest.raises(Malformed, match="refers to itself"):
        room.take_all(bytes.fromhex("01010700a407030568656c6c6f00"))
    with pytest.raises(Gap):
        room.take_all(bytes.fromhex("01010703000200"))


def test_a_child_of_something_that_is_not_a_type_is_refused() -> None:
    # an update error half way through: the list was linked already, and typing on crashed
    room = Replica([HELLO])
    room.take_all(frame([block(9, 0, [item(ANY, b"\x01\x7e", parent=(1, 2), key="k")])]))
    room.assert_loads_again()


def test_an_entry_of_several_values_does_not_outlive_its_map() -> None:
    # deleting its last value, then the map: the first stayed behind and pointed to freed memory
    nested = item(TYPE, b"\x01", parent="m", key="k")
    several = item(ANY, b"\x03" + b"\x7e" * 3, parent=(7, 0), key="x")
    room = Replica([HELLO])
    with pytest.raises(Malformed, match="more than one value"):
        room.take_all(frame([block(7, 0, [nested, several])], [(7, 3, 1)]))


def test_e13_e16_content_json_and_xml_hooks_do_not_poison_a_document() -> None:
    room = Replica([HELLO])
    # the own state could not be decoded any more
    room.take_all(frame([block(7, 0, [item(JSON, b"\x01" + string('"j"'), parent="a")])]))
    # yrs does not read the hook's name
    room.take_all(frame([block(7, 1, [item(TYPE, b"\x05" + string("p"), parent="x")])]))
    assert room.doc.get("a", type=Array).to_py() == ["j"]
    room.assert_loads_again()


def test_e13_sub_documents_are_deleted() -> None:
    # an honest client that sets one key to three of them in turn: use after free
    subdoc = string("g0") + b"\x76\x00"
    room = Replica([HELLO, frame([block(7, 0, [item(ANY, b"\x01\x7e", parent="m", key="s")])])])
    for n in range(3):
        checked = room.take(frame([block(7, n + 1, [item(DOC, subdoc, origin=(7, n))])], [(7, n, 1)]))
        assert checked.revision is not None
        assert checked.revision.undo() == frame([], [(7, n + 1, 1)])
    assert room.doc.get("m", type=Map).to_py() == {}
    room.take_all(frame([block(7, 4, [item(ANY, b"\x01\x78", origin=(7, 3))])]))
    assert room.doc.get("m", type=Map).to_py() == {"s": True}
    room.assert_loads_again()


@pytest.mark.parametrize("announced", ["8088debe0101", "ffffffffffffff0f"])
def test_a_count_beyond_the_bytes_reserves_nothing(announced: str) -> None:
    # six bytes: 538 MB and 0.3 s, as an update and as a state vector
    with pytest.raises(Malformed):
        Replica([HELLO]).take_all(bytes.fromhex(announced))
    with pytest.raises(Malformed):
        decode_state_vector(bytes.fromhex(announced))


@pytest.mark.parametrize("count", [2**31, 2**53 - 1])
def test_no_count_inside_an_update_reserves_anything_either(count: int) -> None:
    for hostile in (
        value(b"\x75" + uint(count)),
        value(b"\x76" + uint(count)),
        value(b"\x77" + uint(count)),
        frame([block(7, 0, [item(ANY, uint(count), parent="a")])]),
        frame([block(7, 0, [item(STRING, uint(count), parent="t")])]),
        uint(1) + uint(count) + uint(7) + uint(0),
        b"\x00\x01\x01" + uint(count),
    ):
        with pytest.raises(Malformed):
            Replica([HELLO]).take_all(hostile)


def test_e13_text_inside_a_nested_array_is_deleted() -> None:
    # one such character in an array: reading it never returned, with the interpreter's lock held
    nested = frame([block(7, 0, [item(TYPE, b"\x00", parent="a"), item(STRING, string("😀"), parent=(7, 0))])])
    assert [array.to_py() for array in Replica([nested]).doc.get("a", type=Array)] == [[]]
    own = Replica([frame([block(7, 0, [item(TYPE, b"\x00", parent="a")])])])
    assert [array.to_py() for array in own.doc.get("a", type=Array)] == [[]]


@pytest.mark.parametrize("digits", [9, 200_000])
def test_e1_a_number_of_many_bytes_is_refused(digits: int) -> None:
    # 200 KB read as one number: 6.5 s
    number = b"\xff" * digits + b"\x01"
    for hostile in (number, b"\x01\x01" + number, b"\x01\x01\x07" + number, value(b"\x7d" + number)):
        with pytest.raises(Malformed):
            Replica([HELLO]).take_all(hostile)
    with pytest.raises(Malformed):
        decode_state_vector(b"\x01" + number)


@pytest.mark.parametrize("cut", range(1, len(HELLO)))
def test_e1_an_update_that_is_cut_short_is_refused(cut: int) -> None:
    with pytest.raises(Malformed):
        Replica().take_all(HELLO[:-cut])


@pytest.mark.parametrize(
    "hostile",
    [
        bytes.fromhex("0101ffffffffffffffffff010004010161017800"),  # client id 2**64: yjs throws
        bytes.fromhex("01010700840700017800"),  # its own origin: yjs throws, yrs waits for ever
        value(b"\x7d" + b"\xff" * 8 + b"\x01"),  # an integer beyond 2**53: yjs throws
        frame([block(7, 0, [item(STRING, string(b"\xff"), parent="t")])]),  # yjs throws, yrs reads on unchecked
        frame([block(7, 0, [item(TYPE, b"\x07", parent="t")])]),  # only yrs knows weak links
        frame([block(7, 0, [item(16 | STRING, string("a"), parent="t")])]),  # yrs looks at four bits, yjs at five
        frame([block(7, 0, [b"\x20\x01"])]),  # garbage with a flag: nothing to yrs
    ],
)
def test_e1_what_yjs_and_yrs_understand_differently_is_refused(hostile: bytes) -> None:
    with pytest.raises(Malformed):
        Replica([HELLO]).take_all(hostile)


def test_content_that_only_yrs_refuses_is_re_encoded() -> None:
    room = Replica([HELLO])
    room.take_all(frame([block(7, 0, [item(encode.EMBED, string('{"a":"\\ud800"}'), parent="e")])]))
    room.take_all(frame([block(7, 1, [item(encode.EMBED, string("9223372036854775808"), origin=(7, 0))])]))
    assert room.doc.get("e", type=Text).diff() == [({"a": "\ufffd"}, None), (2.0**63, None)]
    room.take_all(value(b"\x76\x01" + string("__proto__") + b"\x76\x00"))  # changes the prototype in yjs
    assert room.doc.get("m", type=Map).to_py() == {}
    room.assert_loads_again()


def test_e1_the_second_encoding_is_refused() -> None:
    # its runs of equal numbers let a few bytes stand for millions of structs
    from_yjs = "00000247010200040007040081008400280c0674686c6f6d6b41000241000101000202010104007d010107010101"
    with pytest.raises(Malformed):
        Replica([HELLO]).take_all(bytes.fromhex(from_yjs))


def test_the_writers_of_an_update_are_told() -> None:
    room = Replica([HELLO])
    forged = frame(
        [
            block(1, 5, [item(STRING, string("!"), origin=(1, 4))]),
            block(7, 0, [item(STRING, string("?"), origin=(1, 4))]),
        ]
    )
    assert set(room.gate.check(forged).clients) == {1, 7}
    assert not room.gate.check(HELLO).clients
    assert not room.gate.check(frame([], [(1, 0, 1)])).clients


def test_a_deletion_of_what_is_deleted_and_collected_is_nothing_new() -> None:
    room = Replica([HELLO, frame([], [(1, 1, 3)])])
    room.take_all(
        frame([block(9, 0, [filler(encode.GC, 2), item(DELETED, uint(3), parent="t")])], [(1, 0, 5), (9, 0, 5)])
    )
    room.assert_loads_again()
