"""What may go through a whole document, and what cannot."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pycrdt
import pytest

from collab.gate.gate import Gate
from collab.gate.limits import StepLimit
from collab.gate.pieces import Pieces
from collab.gate.scans import Scans
from collab.gate.struct_content import ANY, GC, STRING
from collab.gate.structs import Id, Struct, decode
from tests.attack.attacks import siblings


def struct(
    client: int,
    clock: int,
    *,
    origin: Id | None = None,
    right: Id | None = None,
    parent: Id | str | None = None,
    key: str | None = None,
    ref: int = STRING,
) -> Struct:
    return (client, clock, 1, ref, origin, right, parent, key, 0, 0)


def counted(*structs: Struct, state: Mapping[int, int] = MappingProxyType({})) -> list[int]:
    scans = Scans(state)
    return [scans.add(one) for one in structs]


def test_entries_with_different_keys_count_once_together() -> None:
    assert counted(*(struct(1, n, parent="m", key=f"k{n}", ref=ANY) for n in range(4))) == [1, 1, 1, 1]
    assert counted(struct(1, 0, parent="m", key="a"), struct(1, 1, parent=(1, 0), key="a")) == [1, 1]


def test_each_further_entry_at_one_place_counts() -> None:
    assert counted(*(struct(n, 0, parent="m", key="k", ref=ANY) for n in (3, 2, 1))) == [1, 2, 3]
    assert counted(*(struct(n, 0, parent="t") for n in (3, 2, 1))) == [1, 2, 3]


def test_the_first_behind_a_new_struct_is_free_and_each_other_counts() -> None:
    first = struct(1, 0, parent="t")
    assert counted(first, *(struct(1, n, origin=(1, n - 1)) for n in range(1, 4))) == [1, 1, 1, 1]
    assert counted(first, *(struct(n, 0, origin=(1, 0)) for n in (4, 3, 2))) == [1, 1, 2, 3]


def test_elements_with_contents_of_their_own_are_free_as_in_rich_text() -> None:
    paragraphs = [struct(1, 0, parent="t"), *(struct(1, 2 * n, origin=(1, 2 * n - 2)) for n in range(1, 4))]
    texts = [struct(1, 2 * n + 1, parent=(1, 2 * n)) for n in range(4)]
    assert counted(*(one for both in zip(paragraphs, texts, strict=True) for one in both))[-1] == 1


def test_what_follows_a_known_element_counts_also_its_own_client() -> None:
    assert counted(struct(1, 5, origin=(1, 4)), struct(1, 6, origin=(1, 5)), state={1: 5}) == [1, 1]
    assert counted(struct(1, 4, origin=(2, 0)), struct(1, 5, origin=(1, 4)), state={1: 5}) == [0, 1]
    assert counted((1, 3, 5, STRING, (1, 2), None, None, None, 0, 0), state={1: 5}) == [1]


def test_a_right_origin_counts_once() -> None:
    within = [struct(1, n, origin=(1, n - 1), right=(2, 9)) for n in range(1, 4)]
    assert counted(struct(1, 0, parent="t"), *within, struct(1, 4, origin=(1, 3), right=(2, 5))) == [1, 2, 2, 2, 3]


def test_each_insertion_elsewhere_counts_and_garbage_is_free() -> None:
    assert counted(struct(1, 5, origin=(1, 3)), struct(1, 6, origin=(2, 5)), struct(1, 7, right=(2, 0))) == [1, 2, 3]
    assert counted(struct(1, 0, ref=GC)) == [0]


@pytest.mark.parametrize("scans", [1, 3, 10])
def test_no_piece_takes_more_passes_than_it_may(scans: int) -> None:
    pieces = Pieces(siblings(1, 50))
    brought = 0
    while pieces:
        structs, _ = decode(pieces.take(StepLimit(100, scans), {}).update)
        brought += len(structs)
        assert counted(*structs)[-1] == scans or not pieces
    assert brought == 50


def test_a_new_document_is_taken_in_large_pieces_though_none_may_take_many_passes() -> None:
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    entries = doc.get("m", type=pycrdt.Map)
    texts = doc.get("a", type=pycrdt.Array)
    with doc.transaction():
        for n in range(2000):
            entries[f"k{n}"] = n
            texts.append(pycrdt.Text("text"))
    gate, copy = Gate(), pycrdt.Doc[Any]()
    pieces = Pieces(doc.get_update())
    count = 0
    while pieces:
        checked = gate.check(pieces.take(StepLimit(1000, 2), gate.state))
        copy.apply_update(checked.update)
        gate.commit(checked)
        count += 1
    assert count == 6, "of 6,000 structs"
    assert copy.get_update() == doc.get_update()
