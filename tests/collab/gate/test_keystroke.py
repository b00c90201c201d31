"""The gate's fast path decides like the general path."""

from __future__ import annotations

from random import Random

import pytest

from collab.gate import document_index, keystroke
from collab.gate.any_values import write_any
from collab.gate.checked import Checked
from collab.gate.document_index import DocumentIndex
from collab.gate.gate import Gap, Gate
from collab.gate.limits import MAX_PARTS
from collab.gate.pieces import UpdatePiece
from collab.gate.struct_content import Malformed
from collab.gate.structs import read
from tests.fuzz.author import Author
from tests.fuzz.encode import ANY, STRING, block, frame, item, string

A, B = 3_000_000_000, 2**53 - 1
HELLO = frame(
    [
        block(A, 0, [item(STRING, string("hello"), parent="t")]),
        block(B, 0, [item(ANY, b"\x01\x7e", parent="m", key="k")]),
    ]
)


class Slow(Gate):
    """A gate without the fast path."""

    def check(self, update: bytes | UpdatePiece, limit: int = MAX_PARTS) -> Checked:
        assert isinstance(update, bytes)
        return self._check(update, read(update, limit))


def verdict(gate: Gate, update: bytes) -> object:
    try:
        checked = gate.check(update)
    except (Gap, Malformed) as refusal:
        return repr(refusal)
    told = (checked.before, checked.after, checked.structs, checked.deletes)
    gate.commit(checked)
    return told


@pytest.mark.parametrize("seed", range(200))
def test_the_fast_and_the_general_path_find_the_same(seed: int) -> None:
    author = Author(Random(seed), malice=(0.0, 0.02, 0.3)[seed % 3], blocks_of_one=True)
    fast, slow = Gate(), Slow()
    for _ in range(100):
        update = author.write()
        found = verdict(fast, update)
        assert found == verdict(slow, update), update.hex()
        if isinstance(found, tuple):
            author.accepted()
    assert fast.index() == slow.index()


@pytest.mark.parametrize(
    "update",
    [
        frame([block(A, 5, [item(STRING, string("!"), origin=(A, 4))])]),
        frame([block(A, 5, [item(STRING, string("!"), right=(A, 0))])]),
        frame([block(A, 5, [item(STRING, string("some words"), origin=(A, 1), right=(A, 2))])]),
        frame([block(B, 1, [item(STRING, string("!"), origin=(A, 4))])]),
        frame([block(B, 1, [item(ANY, b"\x01\x77\x01x", origin=(B, 0))])], [(B, 0, 1)]),
        frame([block(B, 1, [item(ANY, b"\x01\x7d\x05", origin=(B, 0))])], [(B, 0, 1)]),
        frame([block(B, 1, [item(ANY, b"\x01" + write_any(-64), origin=(B, 0))])], [(B, 0, 1)]),
        frame([block(B, 1, [item(ANY, b"\x01" + write_any(2**31 - 1), origin=(B, 0))])], [(B, 0, 1)]),
        frame([block(B, 1, [item(ANY, b"\x01\x79", origin=(B, 0))])]),
        frame([], [(A, 1, 3)]),
        frame([], [(B, 0, 1)]),
    ],
)
def test_common_edits_take_the_fast_path(update: bytes) -> None:
    gate = Gate()
    gate.commit(gate.check(HELLO))
    assert keystroke.check(gate._history, update) is not None


@pytest.mark.parametrize("size", range(1, 12))
@pytest.mark.parametrize("last", [0, 1, 127])
def test_integers_of_any_size_are_decided_as_by_the_general_path(size: int, last: int) -> None:
    number = b"\xff" * (size - 1) + bytes([last])
    update = frame([block(B, 1, [item(ANY, b"\x01\x7d" + number, origin=(B, 0))])], [(B, 0, 1)])
    fast, slow = Gate(), Slow()
    for gate in (fast, slow):
        gate.commit(gate.check(HELLO))
    assert verdict(fast, update) == verdict(slow, update)


def test_the_fast_path_never_refuses() -> None:
    assert keystroke.check(DocumentIndex(), b"") is None
    assert keystroke.check(DocumentIndex(), b"\x01\x01") is None
    assert keystroke.check(DocumentIndex(), HELLO) is None


def test_bytes_behind_a_keystroke_are_malformed_on_either_path() -> None:
    typed = frame([block(A, 5, [item(STRING, string("!"), origin=(A, 4))])])
    for gate in (Gate(), Slow()):
        gate.commit(gate.check(HELLO))
        with pytest.raises(Malformed):
            gate.check(typed + b"\0")
        gate.commit(gate.check(typed))


def test_a_keystroke_far_into_a_document_passes() -> None:
    """The fast path reads clocks of up to three bytes."""
    length = 2**21
    fast, slow = Gate(), Slow()
    whole = frame([block(A, 0, [item(STRING, string("x" * length), parent="t")])])
    typed = [frame([block(A, n, [item(STRING, string("!"), origin=(A, n - 1))])]) for n in range(length, length + 2)]
    deleted = frame([], [(A, length, 1)])
    for update in (whole, *typed, deleted):
        assert verdict(fast, update) == verdict(slow, update)
    assert fast.state == {A: length + 2}


def test_the_gate_remembers_the_ids_of_so_many_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document_index, "_MANY_CLIENTS", 2)
    gate = Gate()
    for client in (A, A + 1, A + 2):
        for clock in range(3):
            where: dict[str, object] = {"origin": (client, clock - 1)} if clock else {"parent": "t"}
            gate.commit(gate.check(frame([block(client, clock, [item(STRING, string("a"), **where)])])))  # type: ignore[arg-type]
    assert gate.state == {A: 3, A + 1: 3, A + 2: 3}
