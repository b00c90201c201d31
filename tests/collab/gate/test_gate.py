"""The gate: which updates may follow which."""

from __future__ import annotations

import zlib
from typing import Any

import msgspec
import pytest
from pycrdt import Array, Doc, Map, Text, XmlFragment

from collab.gate import limits
from collab.gate.checked import Checked
from collab.gate.gate import Gap, Gate
from collab.gate.struct_content import Malformed
from tests.fuzz import encode
from tests.fuzz.encode import ANY, DELETED, STRING, TYPE, Id, block, filler, frame, item, string, uint
from tests.fuzz.replica import Replica

A, B = 3_000_000_000, 2**53 - 1
ARRAY, MAP, TEXT = b"\x00", b"\x01", b"\x02"


def text(content: str, origin: Id | None = None, right: Id | None = None, parent: str | Id = "t") -> bytes:
    return item(STRING, string(content), origin, right, parent)


def value(n: int = 1, **where: object) -> bytes:
    return item(ANY, uint(n) + b"\x7e" * n, **where)  # type: ignore[arg-type]


def gate(*updates: bytes) -> Gate:
    gate = Gate()
    for update in updates:
        gate.commit(gate.check(update))
    return gate


HELLO = frame([block(A, 0, [text("hello")])])


# continuity


def test_an_update_continues_exactly_what_is_known() -> None:
    room = gate(HELLO)
    checked = room.check(frame([block(A, 5, [text("!", origin=(A, 4))])], [(A, 0, 1)]))
    assert (checked.before, checked.after) == ({A: 5}, {A: 6})
    assert checked.has_deletes
    assert list(checked.clients) == [A]
    assert room.state == {A: 5}, "checking changes nothing"
    room.commit(checked)
    assert room.state == {A: 6}


@pytest.mark.parametrize(
    "early",
    [
        frame([block(A, 6, [text("!", origin=(A, 4))])]),
        frame([block(B, 1, [text("!", origin=(A, 4))])]),
        frame([block(B, 0, [text("!", origin=(A, 5))])]),
        frame([block(B, 0, [text("!", right=(A, 5))])]),
        frame([block(B, 0, [text("!", parent=(A, 5))])]),
        frame([block(B, 0, [text("!", origin=(7, 0))])]),
        frame([block(A, 5, [filler(encode.SKIP, 1), text("!", origin=(A, 4))])]),
        frame([], [(B, 0, 1)]),
        frame([block(7, 0, [text("a", origin=(8, 0))]), block(8, 0, [text("b", origin=(7, 0))])]),
    ],
)
def test_what_refers_to_something_unknown_is_a_gap(early: bytes) -> None:
    room = gate(HELLO)
    with pytest.raises(Gap):
        room.check_all(early)
    checked = room.check(early)
    assert checked.leaves
    assert not checked.before
    assert room.state == {A: 5}


def test_applicable_parts_are_applied_and_only_the_rest_waits() -> None:
    room = gate(HELLO)
    mixed = frame(
        [
            block(A, 5, [text("!", origin=(A, 4)), filler(encode.SKIP, 2), text("?", origin=(A, 5))]),
            block(B, 0, [text("a", origin=(A, 0)), text("b", origin=(7, 3)), text("c", origin=(B, 0))]),
            block(8, 0, [text("d", origin=(B, 0))]),
            block(9, 0, [text("e", origin=(B, 2))]),
        ],
        [(A, 4, 4), (B, 0, 2), (7, 0, 2), (8, 0, 1)],
    )
    checked = room.check(mixed)
    assert checked.update == frame(
        [
            block(A, 5, [text("!", origin=(A, 4))]),
            block(B, 0, [text("a", origin=(A, 0))]),
            block(8, 0, [text("d", origin=(B, 0))]),
        ],
        [(A, 4, 2), (B, 0, 1), (8, 0, 1)],
    )
    assert checked.after == {A: 6, B: 1, 8: 1}
    assert checked.revision is not None
    assert checked.revision.awaited == {A: 6, B: 1, 7: 0}
    room.commit(checked)
    assert room.state == {A: 6, B: 1, 8: 1}
    # when its ground has come, the same update brings the rest
    room.commit(room.check(frame([block(7, 0, [text("----")])])))
    assert room.check(mixed).after == {B: 3, 9: 1}


def test_a_skip_over_what_is_known_leaves_nothing_out() -> None:
    checked = gate(HELLO).check(frame([block(A, 3, [filler(encode.SKIP, 2), text("!", origin=(A, 4))])]))
    assert not checked.leaves
    assert checked.after == {A: 6}


def test_a_rewritten_update_passes_unchanged_the_second_time() -> None:
    for update in (
        frame([block(B, 0, [text("a", origin=(A, 0)), text("b", origin=(7, 3))])], [(A, 3, 5)]),
        frame([block(B, 0, [item(encode.DOC, string("g") + b"\x7e", parent="m", key="k")])]),
        frame([block(B, 0, [text("😀", origin=(A, 0)), text("b", origin=(B, 0))])]),
    ):
        part = gate(HELLO).check(update).update
        checked = gate(HELLO).check(part)
        assert checked.update == part
        assert checked.revision is None


def test_an_update_may_bring_what_it_refers_to_in_any_order() -> None:
    blocks = [block(client, 0, [text("a", origin=(client - 1, 0))]) for client in range(1000, 1, -1)]
    assert gate(frame([*blocks, block(1, 0, [text("a")])], [(1000, 0, 1)])).state[1000] == 1


def test_a_chain_through_many_writers_is_resolved_in_little_time() -> None:
    turns = 2000
    first = block(1, 0, [text("a"), *(text("a", origin=(2, n)) for n in range(turns))])
    second = block(2, 0, [text("b", origin=(1, n)) for n in range(turns)])
    assert gate(frame([second, first])).state == {1: turns + 1, 2: turns}


def test_what_is_known_already_is_no_news() -> None:
    room = gate(HELLO)
    for update in (HELLO, frame([block(A, 2, [text("llo", origin=(A, 1))])])):
        checked = room.check(update)
        assert not checked.before
        assert not checked.has_deletes
        room.commit(checked)
    assert room.state == {A: 5}


def test_a_partly_known_struct_adds_the_rest() -> None:
    checked = gate(HELLO).check(frame([block(A, 0, [text("hello you")])]))
    assert (checked.before, checked.after) == ({A: 5}, {A: 9})


def test_a_partly_known_struct_must_continue_at_the_same_place() -> None:
    for elsewhere in (text("hello you", parent="other"), item(DELETED, uint(9), parent="t", key="k")):
        checked = gate(HELLO).check(frame([block(A, 0, [elsewhere]), block(B, 0, [text("b", origin=(A, 0))])]))
        assert checked.leaves
        assert checked.after == {B: 1}


def test_a_repeated_element_does_not_create_another_root() -> None:
    checked = gate(HELLO).check(frame([block(A, 0, [text("hello", parent="other"), text("!", origin=(A, 4))])]))
    assert checked.update == frame([block(A, 5, [text("!", origin=(A, 4))])])
    assert not checked.leaves


def test_only_what_was_checked_last_can_be_committed() -> None:
    room = gate(HELLO)
    update = frame([block(A, 5, [text("!", origin=(A, 4))])])
    first, second = room.check(update), room.check(update)
    room.commit(first)
    with pytest.raises(ValueError, match="another update"):
        room.commit(second)


# places


def test_nothing_refers_to_itself_or_to_what_its_writer_wrote_later() -> None:
    for bent in (
        text("abc", origin=(B, 0)),
        text("abc", right=(B, 2)),
        text("abc", origin=(B, 5)),
        text("abc", parent=(B, 0)),
    ):
        with pytest.raises(Malformed, match="refers to itself"):
            gate(HELLO).check(frame([block(B, 0, [bent])]))


def test_an_element_whose_parent_is_not_a_type_is_refused_alone() -> None:
    room = gate(HELLO, frame([block(B, 0, [item(TYPE, MAP, parent="m", key="k")])]))
    room.check(frame([block(B, 1, [value(parent=(B, 0), key="k")])]))
    lost = value(parent=(A, 0), key="k")
    checked = room.check(frame([block(B, 1, [lost, value(origin=(B, 1)), value(parent=(B, 0), key="x")])]))
    assert [struct[3] for struct in checked.structs] == [encode.GC, ANY, ANY]
    assert _whys(checked) == ["an element whose parent is not a type"]
    assert checked.revision is not None
    assert checked.revision.lost == [(B, 1, 1), (B, 2, 1)]
    assert not checked.leaves
    room.commit(checked)
    assert room.check(frame([block(B, 4, [value(origin=(B, 3))])])).revision is None


def test_both_origins_are_in_one_type() -> None:
    room = gate(HELLO, frame([block(B, 0, [text("x", parent="other")])]))
    with pytest.raises(Malformed, match="different types"):
        room.check(frame([block(B, 1, [text("y", origin=(A, 4), right=(B, 0))])]))
    room.check(frame([block(B, 1, [text("y", origin=(A, 3), right=(A, 4))])]))


@pytest.mark.parametrize(
    ("kind", "struct"),
    [
        (ARRAY, text("a", parent=(B, 0))),
        (MAP, item(encode.FORMAT, string("b") + string("true"), parent=(B, 0), key="k")),
    ],
)
def test_what_a_type_cannot_hold_is_deleted(kind: bytes, struct: bytes) -> None:
    checked = gate().check(frame([block(B, 0, [item(TYPE, kind, parent="r"), struct, value(origin=(B, 1))])]))
    assert [struct[3] for struct in checked.structs] == [TYPE, DELETED, ANY]
    assert checked.revision is not None
    assert checked.revision.lost == [(B, 1, 1)]
    assert checked.deletes == [(B, 1, 1)]


@pytest.mark.parametrize(
    ("kind", "struct"),
    [
        (MAP, text("a", parent=(B, 0))),
        (MAP, value(parent=(B, 0))),
        (TEXT, value(parent=(B, 0))),
        (ARRAY, value(parent=(B, 0), key="k")),
        (ARRAY, item(encode.FORMAT, string("b") + string("true"), parent=(B, 0))),
        (b"\x03" + string("p"), text("a", parent=(B, 0))),
        (b"\x03" + string("p"), item(encode.FORMAT, string("b") + string("true"), parent=(B, 0))),
        (b"\x04", item(encode.EMBED, string("{}"), parent=(B, 0))),
    ],
)
def test_one_kind_of_type_for_everything_as_newer_editors_have_it_is_taken_in(kind: bytes, struct: bytes) -> None:
    assert gate().check(frame([block(B, 0, [item(TYPE, kind, parent="r"), struct])])).revision is None


def test_an_entry_has_no_right_origin() -> None:
    room = gate(frame([block(A, 0, [value(parent="m", key="k")])]))
    with pytest.raises(Malformed, match="right origin"):
        room.check(frame([block(B, 0, [value(right=(A, 0))])]))


def test_an_entry_has_several_values_only_where_an_undo_manager_kept_overwritten_ones() -> None:
    kept = [value(2, parent="m", key="k"), value(origin=(A, 1))]
    gate(frame([block(A, 0, kept)], [(A, 0, 2)]))
    for deletes in ([], [(A, 0, 1)], [(A, 1, 1)], [(A, 1, 2)]):
        with pytest.raises(Malformed, match="more than one value"):
            gate(frame([block(A, 0, kept)], deletes))


def test_what_was_collected_may_be_a_parent_and_a_neighbour() -> None:
    room = gate(frame([block(A, 0, [filler(encode.GC, 3), item(DELETED, uint(2), parent="t")])]))
    room.commit(
        room.check(
            frame([block(B, 0, [value(parent=(A, 0), key="k"), value(parent=(A, 3)), text("a", origin=(A, 1))])])
        )
    )
    # what is put into garbage is garbage
    room.check(frame([block(B, 3, [text("a", origin=(B, 0), right=(B, 2))])]))
    checked = room.check(frame([block(B, 3, [text("a", origin=(A, 4), right=(A, 0))])]))
    assert [struct[3] for struct in checked.structs] == [encode.GC]
    assert checked.revision is not None
    assert checked.revision.lost == [(B, 3, 1)]


def test_the_writer_of_an_element_inside_garbage_gets_its_deletion() -> None:
    checked = gate(frame([block(A, 0, [filler(encode.GC, 3)])])).check(
        frame([block(B, 0, [text("ab", origin=(A, 1))])])
    )
    assert checked.revision is not None
    assert checked.revision.undo() == frame([], [(B, 0, 2)])
    assert checked.update == frame([block(B, 0, [text("ab", origin=(A, 1))])])


def test_a_neighbour_may_be_garbage_in_a_deleted_type() -> None:
    nested = frame([block(A, 0, [item(TYPE, TEXT, parent="m", key="k"), text("ab", parent=(A, 0))])])
    garbage = frame([block(B, 0, [filler(encode.GC, 1)])])
    between = [text("c", origin=(A, 1), right=(B, 0))]
    room = gate(nested, garbage)
    assert _whys(room.check(frame([block(7, 0, between)]))) == ["an element beside a garbage-collected one"]
    room.check(frame([block(7, 0, between)], [(A, 0, 3)]))
    room.commit(room.check(frame([], [(A, 0, 3)])))
    room.check(frame([block(7, 0, between)]))
    Gate.from_index(room.index()).check(frame([block(7, 0, between)]))


def test_e14_types_nest_no_deeper_than_the_limit() -> None:
    room = gate(frame([block(A, 0, [item(TYPE, ARRAY, parent="a")])]))
    for depth in range(1, limits.MAX_TYPE_DEPTH):
        room.commit(room.check(frame([block(A, depth, [item(TYPE, ARRAY, parent=(A, depth - 1))])])))
    below = item(TYPE, ARRAY, parent=(A, depth)), value(parent=(A, depth + 1)), value(origin=(A, depth + 1))
    checked = room.check(frame([block(A, depth + 1, below)]))
    assert [struct[3] for struct in checked.structs] == [DELETED, ANY, ANY]
    assert _whys(checked) == ["a type inside more than 256 others"]
    assert checked.revision is not None
    assert checked.revision.lost == [(A, depth + 1, 1), (A, depth + 2, 1)]
    room.check(frame([block(A, depth + 1, [value(parent=(A, depth))])]))


def test_e14_roots_are_limited_and_nested_types_do_not_count_as_roots() -> None:
    nested = [item(TYPE, ARRAY, parent="a"), *(item(TYPE, ARRAY, origin=(A, n)) for n in range(limits.MAX_ROOTS))]
    room = gate(frame([block(A, 0, [*nested, text("a", parent="b")])]))
    rest = [text("a", parent=f"root {n}") for n in range(limits.MAX_ROOTS - 2)]
    room.commit(room.check(frame([block(B, 0, rest)])))
    checked = room.check(frame([block(7, 0, [text("a", parent="one more"), text("b", parent="b")])]))
    assert [struct[3] for struct in checked.structs] == [encode.GC, STRING]
    assert checked.revision is not None
    assert checked.revision.lost == [(7, 0, 1)]


# characters of two elements


EMOJI = frame([block(A, 0, [text("a😀b")])])


HELD_CUTS = [
    frame([block(B, 0, [text("x", origin=(A, 1), right=(A, 2))])]),
    frame([block(B, 0, [text("x", origin=(A, 1))])]),
    frame([block(B, 0, [text("x", right=(A, 2))])]),
    frame([], [(A, 2, 1)]),
    frame([], [(A, 0, 2)]),
]


@pytest.mark.parametrize("cut", HELD_CUTS)
def test_a_held_character_that_is_cut_is_told_once(cut: bytes) -> None:
    for room in (gate(EMOJI), Gate.from_index(gate(EMOJI).index())):
        checked = room.check(cut)
        assert checked.cuts == {A: [1]}
        assert checked.update == cut
        room.commit(checked)
        assert not room.check(frame([block(7, 0, [text("y", origin=(A, 1))])], [(A, 2, 1)])).cuts
        assert Gate.from_index(room.index()).index() == room.index()


def test_a_character_that_an_update_brings_and_cuts_comes_as_two_replacement_characters() -> None:
    for cut, same in (
        (
            frame([block(B, 0, [text("a😀b😀"), text("x", origin=(B, 1))])]),
            frame([block(B, 0, [text("a\ufffd\ufffdb😀"), text("x", origin=(B, 1))])]),
        ),
        (frame([block(B, 0, [text("😀")])], [(B, 1, 1)]), frame([block(B, 0, [text("\ufffd\ufffd")])], [(B, 1, 1)])),
    ):
        checked = gate().check(cut)
        assert checked.update == same
        assert not checked.cuts


@pytest.mark.parametrize(
    ("cut", "left"),
    list(zip(HELD_CUTS, ("a\ufffdx\ufffdb", "a\ufffd\ufffdbx", "a\ufffdx\ufffdb", "a\ufffdb", "\ufffdb"), strict=True)),
)
def test_a_document_has_two_replacement_characters_for_a_character_that_is_cut(cut: bytes, left: str) -> None:
    room = Replica([EMOJI])
    assert room.text("t") == "a😀b"
    room.take(cut)
    assert room.text("t") == left
    room.assert_loads_again()


def test_an_element_may_stand_between_two_astral_characters() -> None:
    room = gate(EMOJI)
    room.check(frame([block(B, 0, [text("x", origin=(A, 0), right=(A, 1))])], [(A, 1, 2)]))
    room.check(frame([block(B, 0, [text("x", origin=(A, 2), right=(A, 3))])], [(A, 0, 3)]))


def test_a_character_is_cut_where_the_known_part_ends() -> None:
    room = gate(frame([block(A, 0, [text("ab")])]))
    checked = room.check(frame([block(A, 0, [text("x😀y")])]))
    assert checked.update == frame([block(A, 0, [text("x\ufffd\ufffdy")])])
    assert not checked.cuts


# kinds of roots, the index, what is touched


def test_the_kinds_of_roots_are_told_by_their_content() -> None:
    doc: Doc[Any] = Doc()
    doc["text"], doc["map"], doc["array"] = Text("a"), Map({"k": 1}), Array([1])
    doc.get("xml", type=XmlFragment).children.append("a")
    room = gate(doc.get_update())
    assert room.roots == {"text": "text", "map": "map", "array": "array", "xml": "xml"}
    assert Gate.from_index(room.index()).roots == room.roots


def test_a_root_of_which_only_deleted_content_is_known_gets_its_kind_later() -> None:
    room = gate(frame([block(A, 0, [item(DELETED, uint(3), parent="t")])]))
    assert room.roots == {}
    room.commit(room.check(frame([block(A, 3, [text("a", origin=(A, 2))])])))
    assert room.roots == {"t": "text"}


def test_j3_a_root_into_which_someone_wrote_text_is_read_as_text() -> None:
    # read as an array, one such character never ends: see the sandbox for what is read all the same
    room = gate(frame([block(A, 0, [value(parent="a")])]), frame([block(B, 0, [text("😀", parent="a")])]))
    assert room.roots == {"a": "text"}


def test_a_restored_gate_decides_as_the_one_it_was_made_from() -> None:
    doc: Doc[Any] = Doc()
    doc["m"] = Map({"text": Text("a😀"), "array": Array([Map(), 1])})
    room = gate(doc.get_update())
    again = Gate.from_index(room.index())
    assert again.index() == room.index()
    assert again.state == room.state
    (client,) = room.state
    for n in range(room.state[client]):
        follow = frame([block(A, 0, [text("x", parent=(client, n))])])
        assert _verdict(room, follow) == _verdict(again, follow)


def _whys(checked: Checked) -> list[str]:
    return [one.why for one in checked.revision.refused] if checked.revision is not None else []


def _verdict(gate: Gate, update: bytes) -> str:
    try:
        return repr(gate.check(update).revision)
    except Malformed as refusal:
        return repr(refusal)


@pytest.mark.parametrize("data", [b"", b"\x00", b"x\x9c\x03\x00\x00\x00\x00\x01"])
def test_invalid_index_bytes_are_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="index"):
        Gate.from_index(data)


def test_the_index_of_a_long_text_is_small() -> None:
    words = [text("some words", origin=(A, n * 10 - 1) if n else None) for n in range(10_000)]
    room = gate(frame([block(A, 0, words)]), *(frame([], [(A, n, 1)]) for n in range(0, 100_000, 1000)))
    assert len(room.index()) < 200


def test_a_gate_of_a_snapshot_is_the_same_from_its_index_and_without() -> None:
    room = gate(HELLO, frame([block(B, 0, [value(parent="m", key="k")])]))
    snapshot = frame([block(B, 0, [value(parent="m", key="k")]), block(A, 0, [text("hello")])])
    content = msgspec.msgpack.decode(zlib.decompress(room.index()))
    newer = zlib.compress(msgspec.msgpack.encode([content[0] + 1, *content[1:]]))
    with pytest.raises(ValueError, match="another version"):
        Gate.from_index(newer)
    for index in (room.index(), None, newer, b"no index"):
        made = Gate.of_snapshot(snapshot, index, ())
        assert (made.state, made.roots) == (room.state, room.roots)
