"""The gate takes in all that real replicas say, and the documents end up equal."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pycrdt import (
    Array,
    Doc,
    Map,
    Text,
    UndoManager,
    XmlElement,
    XmlFragment,
    XmlText,
    get_update,
    merge_updates,
)

from collab.gate.gate import Gate
from collab.gate.structs import decode_state_vector
from tests.fuzz.replica import Replica
from tools import machine

_HERE = Path(__file__).parent


def histories(first: int, count: int, steps: int = 300) -> Iterator[dict[str, Any]]:
    done = subprocess.run(
        [machine.node(), "honest.mjs", str(first), str(count), str(steps)],
        cwd=_HERE,
        capture_output=True,
        text=True,
        check=True,
    )
    yield from map(json.loads, done.stdout.splitlines())


def assert_says_what(replica: Replica, history: dict[str, Any]) -> None:
    state = decode_state_vector(bytes.fromhex(history["state"]))
    assert replica.gate.state == decode_state_vector(replica.doc.get_state()) == state
    assert replica.text("t") == history["text"]
    assert replica.text("f") == history["rich"]
    again = replica.replayed()
    assert str(again.get("t", type=Text)) == history["text"]
    assert str(again.get("f", type=Text)) == history["rich"]


@pytest.mark.parametrize("first", range(0, 30, 10))
def test_all_that_yjs_says_is_taken_in_as_it_comes(first: int) -> None:
    for history in histories(first, 10):
        replica = Replica()
        for kind, update, incomplete in history["traffic"]:
            checked = replica.take(bytes.fromhex(update))
            # a document that waits for something itself passes on what it cannot use yet
            assert incomplete or not checked.leaves, f"seed {history['seed']}: {kind} {update}"
            assert not (checked.revision and checked.revision.refused)
        assert_says_what(replica, history)


@pytest.mark.parametrize(("first", "parts"), [(200, 1), (202, 2), (204, 5), (206, 20)])
def test_pieces_of_any_size_make_what_the_whole_makes_and_leave_out_the_same(first: int, parts: int) -> None:
    for history in histories(first, 2, 150):
        said = [bytes.fromhex(update) for _, update, _ in history["traffic"]]
        for traffic in (said, Random(first).sample(said, len(said)), said[-5:], said[: len(said) // 2] + said[-5:]):
            whole, apart = Replica(), Replica()
            for update in traffic:
                taken, pieces = whole.take(update), apart.take_apart(update, parts)
                assert pieces.leaves == taken.leaves
                assert apart.shape() == whole.shape()
                if pieces.revision and taken.revision:  # each piece may name an earlier element, but none that is there
                    state, awaited = apart.gate.state, pieces.revision.awaited
                    assert all(state.get(client, 0) <= clock for client, clock in awaited.items())
                    assert all(awaited[client] <= clock for client, clock in taken.revision.awaited.items())
            assert [apart.text(root) for root in "tf"] == [whole.text(root) for root in "tf"]
            assert apart.doc.get("m", type=Map).to_py() == whole.doc.get("m", type=Map).to_py()
            gate = Gate()
            assert str(apart.replayed(gate).get("f", type=Text)) == whole.text("f")
            assert apart.shape(gate) == whole.shape()


@pytest.mark.parametrize("first", range(100, 120, 10))
def test_of_updates_in_any_order_all_that_has_its_ground_is_taken_in(
    first: int,
) -> None:
    for history in histories(first, 10):
        replica = Replica()
        traffic = [bytes.fromhex(update) for kind, update, _ in history["traffic"] if kind != "final"]
        Random(first).shuffle(traffic)
        gaps = sum(replica.take(update).leaves for update in traffic)
        for kind, update, _ in history["traffic"]:
            if kind == "final":
                replica.take(bytes.fromhex(update))
        assert gaps
        assert_says_what(replica, history)


@pytest.mark.parametrize("first", range(200, 210, 10))
def test_a_gate_made_from_a_compacted_document_takes_in_what_follows(first: int) -> None:
    for history in histories(first, 10):
        replica = Replica()
        for number, (kind, update, _) in enumerate(history["traffic"]):
            if number % 50 == 49:
                replica = Replica([replica.doc.get_update()])
                replica.gate = Gate.from_index(replica.gate.index())
            assert not replica.take(bytes.fromhex(update)).leaves or kind != "final"
        assert_says_what(replica, history)


@pytest.mark.parametrize("first", range(300, 320, 10))
def test_what_is_lost_on_its_way_is_healed_by_the_answers_to_the_servers_questions(first: int) -> None:
    random = Random(first)
    for history in histories(first, 10):
        replica = Replica()
        merged: list[bytes] = []
        for kind, update, _ in history["traffic"]:
            if random.random() < 0.3:
                continue
            merged.append(bytes.fromhex(update))
            if random.random() < 0.5 or kind == "final":
                replica.take(merge_updates(*merged) if len(merged) > 1 else merged[0])
                merged.clear()
        for kind, update, _ in history["traffic"]:
            if kind == "final":
                replica.take(get_update(bytes.fromhex(update), replica.doc.get_state()))
        assert_says_what(replica, history)


@pytest.mark.parametrize("seed", range(8))
def test_all_that_pycrdt_says_is_taken_in(seed: int) -> None:
    random = Random(seed)
    replica = Replica()
    writers = [_Writer(random, replica) for _ in range(3)]
    for _ in range(300):
        writer = random.choice(writers)
        writer.edit()
        if random.random() < 0.3:
            other = random.choice(writers)
            update = writer.doc.get_update(other.doc.get_state())
            replica.take(update)
            other.doc.apply_update(update)
    for writer in writers:
        replica.take(writer.doc.get_update())
    for writer in writers:
        writer.doc.apply_update(replica.doc.get_update())
        assert decode_state_vector(writer.doc.get_state()) == replica.gate.state
        assert str(writer.text) == replica.text("t")


class _Writer:
    def __init__(self, random: Random, replica: Replica) -> None:
        self.random = random
        self.doc: Doc[Any] = Doc()
        self.text = self.doc.get("t", type=Text)
        self.map = self.doc.get("m", type=Map)
        self.array = self.doc.get("a", type=Array)
        self.xml = self.doc.get("x", type=XmlFragment)
        self.undo = UndoManager(scopes=[self.text, self.map, self.array], capture_timeout_millis=0)
        self.doc.observe(lambda event: self._said(event.update))
        self._live: list[bytes] = []
        self._replica = replica

    def _said(self, update: bytes) -> None:
        self._live.append(update)

    def edit(self) -> None:
        self._live.clear()
        self._edit()
        for update in list(self._live):
            self._replica.take(update)

    def _edit(self) -> None:
        random = self.random
        match random.randrange(10):
            case 0 | 1 | 2:
                # offsets in pycrdt count UTF-8 bytes: at 0 no character is cut
                self.text.insert(0, random.choice(("a", "é", "😀", "lorem ipsum")))
            case 3 if len(self.text):
                self.text.clear()
            case 4:
                self.map[random.choice("kl")] = random.choice((1, 2.5, "x", [1, {"a": None}], True, b"\x00"))
            case 5:
                self.map[random.choice("kl")] = random.choice((Map({"n": Array([1])}), Text("in"), Array([Map()])))
            case 6:
                self.array.append(random.choice((1, "x", {"a": [1]})))
            case 7 if len(self.array):
                del self.array[random.randrange(len(self.array))]
            case 8:
                self.xml.children.append(XmlElement("p", {"a": "1"}, [XmlText("in")]))
            case _:
                random.choice((self.undo.undo, self.undo.redo))()
