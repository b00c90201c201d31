"""The gate's short cut decides as the general way does."""

from __future__ import annotations

from random import Random

import pytest

from collab.wire import keystroke
from collab.wire.history import History
from collab.wire.structs import MAX_PARTS
from collab.wire.update import Checked, Gap, Gate, Malformed
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
    """A gate without the short cut."""

    def check(self, update: bytes, limit: int = MAX_PARTS) -> Checked:
        return self._check(update, limit)


def verdict(gate: Gate, update: bytes) -> object:
    try:
        checked = gate.check(update)
    except (Gap, Malformed) as refusal:
        return repr(refusal)
    told = (checked.before, checked.after, checked.structs, checked.deletes)
    gate.commit(checked)
    return told


@pytest.mark.parametrize("seed", range(200))
def test_both_ways_find_the_same(seed: int) -> None:
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
        frame([block(B, 1, [item(ANY, b"\x01\x79", origin=(B, 0))])]),
        frame([], [(A, 1, 3)]),
        frame([], [(B, 0, 1)]),
    ],
)
def test_what_people_do_all_day_takes_the_short_cut(update: bytes) -> None:
    gate = Gate()
    gate.commit(gate.check(HELLO))
    assert keystroke.check(gate._history, update) is not None


def test_the_short_cut_never_refuses() -> None:
    assert keystroke.check(History(), b"") is None
    assert keystroke.check(History(), b"\x01\x01") is None
    assert keystroke.check(History(), HELLO) is None
