"""Large updates in pieces of any size have the same effect."""

from __future__ import annotations

import random
import sys
from typing import Any

import pycrdt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.gate.encode import encode_update
from collab.gate.gate import Gate
from collab.gate.limits import StepLimit
from collab.gate.pieces import Pieces, are_unsorted, joined, sort_in_steps
from collab.gate.struct_content import ANY, STRING, Malformed
from collab.gate.structs import Struct, TooManyParts, decode
from presence.lib0 import encode_string
from tests.attack.attacks import siblings, text


def pieces_of(update: bytes, parts: int) -> list[bytes]:
    pieces = Pieces(update)
    result = []
    while pieces:
        result.append(pieces.take(StepLimit(parts, parts), {}).update)
    return result


def a_session(seed: int, edits: int) -> bytes:
    """Concurrent edits of several users, partly offline, as one update."""
    rng = random.Random(seed)
    docs: list[pycrdt.Doc[Any]] = [pycrdt.Doc(client_id=rng.randrange(1, 2**32)) for _ in range(4)]
    for _ in range(edits):
        doc = rng.choice(docs)
        text, items = doc.get("t", type=pycrdt.Text), doc.get("m", type=pycrdt.Map)
        match rng.randrange(6):
            case 0 | 1:
                text.insert(rng.randint(0, len(text)), rng.choice(["a", "bc", "def"]))
            case 2 if len(text) > 2:
                at = rng.randrange(len(text) - 1)
                del text[at : at + 2]
            case 3:
                items[rng.choice("xyz")] = pycrdt.Map({"n": rng.random()})
            case 4 if len(items):
                del items[rng.choice(list(items.keys()))]
            case _:
                source = rng.choice(docs)
                doc.apply_update(source.get_update(doc.get_state()))
    for doc in docs[1:]:
        docs[0].apply_update(doc.get_update())
    return docs[0].get_update()


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 120), st.integers(1, 20))
def test_e17_pieces_make_the_document_of_the_whole_and_pass_the_gate(seed: int, edits: int, parts: int) -> None:
    update = a_session(seed, edits)
    whole: pycrdt.Doc[Any] = pycrdt.Doc()
    whole.apply_update(update)
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    gate = Gate()
    for piece in pieces_of(update, parts):
        gate.commit(gate.check(piece))
        doc.apply_update(piece)
    for replica in (doc, whole):
        assert str(replica.get("t", type=pycrdt.Text)) == str(whole.get("t", type=pycrdt.Text))
    assert doc.get("m", type=pycrdt.Map).to_py() == whole.get("m", type=pycrdt.Map).to_py()
    again: pycrdt.Doc[Any] = pycrdt.Doc()
    again.apply_update(doc.get_update())
    assert str(again.get("t", type=pycrdt.Text)) == str(whole.get("t", type=pycrdt.Text))
    assert doc.get_state() == whole.get_state() or set(doc.get_state()) == set(whole.get_state())


def test_deletions_come_in_one_order_and_joined() -> None:
    deletes = [(7, n, 1) for n in range(998, 0, -2)] + [(7, 999, 1), (3, 5, 2), (3, 6, 4)]
    update = encode_update(b"", (), deletes)
    pieces = Pieces(update)
    assert pieces.take(StepLimit(3, 3), {}).update == encode_update(b"", (), [(3, 5, 5), (7, 2, 1), (7, 4, 1)])
    assert joined([(7, n, 1) for n in range(100, 0, -1)]) == [(7, 1, 100)]


def test_bytes_that_are_not_an_update_are_malformed() -> None:
    with pytest.raises(Malformed):
        Pieces(b"\x01\x02")


def test_the_highest_client_comes_first_however_they_are_written() -> None:
    pieces = Pieces(siblings(1, 1_000))
    clients = []
    while pieces:
        structs, _ = decode(pieces.take(StepLimit(100, 100), {}).update)
        clients.append({struct[0] for struct in structs})
    assert [min(some) for some in clients] == list(range(901, 0, -100))


def test_a_long_text_that_is_half_deleted_brings_no_piece_with_all_its_deletions() -> None:
    source: pycrdt.Doc[Any] = pycrdt.Doc(client_id=7)
    text = source.get("t", type=pycrdt.Text)
    text += "ab" * 2_000
    deletes = [(7, n, 1) for n in range(0, 4_000, 2)]
    update = encode_update(source.get_update(), decode(source.get_update())[0], deletes)
    pieces = pieces_of(update, 300)
    assert max(len(decode(piece)[1]) for piece in pieces) == 300
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    gate = Gate()
    for piece in pieces:
        gate.commit(gate.check(piece))
        doc.apply_update(piece)
    assert str(doc.get("t", type=pycrdt.Text)) == "b" * 2_000


def an_overwritten_entry_behind_a_half_deleted_text(length: int) -> bytes:
    """What a replica writes whose undo manager keeps the first two values of an entry: a struct that is deleted."""
    source = encode_string("a" * length) + bytes((2, 125, 1, 125, 2)) + bytes((1, 125, 3))
    structs: list[Struct] = [
        (7, 0, length, STRING, None, None, "t", None, 0, len(source) - 8),
        (7, length, 2, ANY, None, None, "m", "k", len(source) - 8, len(source) - 3),
        (7, length + 2, 1, ANY, (7, length + 1), None, None, None, len(source) - 3, len(source)),
    ]
    return encode_update(source, structs, [*((7, n, 1) for n in range(0, length, 2)), (7, length, 2)])


@pytest.mark.parametrize("parts", [1, 2, 3, 10, 1_000])
def test_an_overwritten_entry_passes_with_its_deletion_however_much_else_is_deleted(parts: int) -> None:
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    gate = Gate()
    for piece in pieces_of(an_overwritten_entry_behind_a_half_deleted_text(40), parts):
        gate.commit(gate.check(piece))
        doc.apply_update(piece)
    assert str(doc.get("t", type=pycrdt.Text)) == "a" * 20
    assert doc.get("m", type=pycrdt.Map).to_py() == {"k": 3.0}


def test_the_first_piece_of_a_text_with_many_deletions_takes_no_longer_than_that_of_another() -> None:
    pieces = Pieces(an_overwritten_entry_behind_a_half_deleted_text(40_000))
    events = 0

    def count(*_: object) -> None:
        nonlocal events
        events += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        pieces.take(StepLimit(128, 128), {})
    finally:
        sys.setprofile(before)
    assert events < 1_000


def test_discarded_pieces_hold_nothing() -> None:
    pieces = Pieces(siblings(1, 3_000))
    pieces.take(StepLimit(100, 100), {})
    pieces.discard()
    assert not pieces


@settings(deadline=None)
@given(st.lists(st.integers(), max_size=5), st.sampled_from([1, 700]))
def test_sorting_in_steps_is_sorting(items: list[int], times: int) -> None:
    items = items * times
    expected = sorted(items)
    assert list(sort_in_steps(items)) == expected
    assert not items


def test_deletions_in_no_order_are_applied_in_pieces_and_those_of_yjs_are_not() -> None:
    gate = Gate()
    gate.commit(gate.check(text(7, 1_000)))
    falling = encode_update(b"", (), [(7, n, 1) for n in range(100, 0, -2)])
    rising = encode_update(b"", (), [(7, n, 1) for n in range(0, 100, 2)])
    with pytest.raises(TooManyParts):
        gate.check_at_once(falling, StepLimit(100, 100))
    assert gate.check_at_once(rising, StepLimit(100, 100)).parts == 50
    assert gate.check(falling, 100).parts == 50
    assert not are_unsorted([(9, 5, 1), (9, 7, 1), *((3, n, 1) for n in range(0, 20, 2))])
