"""The gate takes in all that real replicas say, and the documents end up equal."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text, UndoManager, XmlElement, XmlFragment, XmlText

import dev
from collab.wire.update import Gap, Gate, decode_state_vector

_HERE = Path(__file__).parent


def histories(first: int, count: int, steps: int = 300) -> Iterator[dict[str, Any]]:
    done = subprocess.run(
        [dev.node(), "honest.mjs", str(first), str(count), str(steps)],
        cwd=_HERE,
        capture_output=True,
        text=True,
        check=True,
    )
    yield from map(json.loads, done.stdout.splitlines())


class Replica:
    """A document behind a gate."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.doc: Doc[Any] = Doc()
        self.text = self.doc.get("t", type=Text)
        self.rich = self.doc.get("f", type=Text)

    def take(self, update: bytes) -> None:
        checked = self.gate.check(update)
        self.doc.apply_update(update)
        self.gate.commit(checked)

    def assert_says_what(self, history: dict[str, Any]) -> None:
        state = decode_state_vector(bytes.fromhex(history["state"]))
        assert self.gate.state == decode_state_vector(self.doc.get_state()) == state
        assert str(self.text) == history["text"]
        assert str(self.rich) == history["rich"]


@pytest.mark.parametrize("first", range(0, 30, 10))
def test_all_that_yjs_says_is_taken_in_as_it_comes(first: int) -> None:
    for history in histories(first, 10):
        replica = Replica()
        for kind, update, incomplete in history["traffic"]:
            try:
                replica.take(bytes.fromhex(update))
            except Gap:
                # a document that waits for something itself passes on what it cannot use yet
                assert incomplete, f"seed {history['seed']}: {kind} {update}"
        replica.assert_says_what(history)


@pytest.mark.parametrize("first", range(100, 120, 10))
def test_updates_that_come_in_any_order_are_gaps_until_the_full_states_heal_them(first: int) -> None:
    for history in histories(first, 10):
        replica = Replica()
        traffic = [bytes.fromhex(update) for kind, update, _ in history["traffic"] if kind != "final"]
        Random(first).shuffle(traffic)
        gaps = 0
        for update in traffic:
            try:
                replica.take(update)
            except Gap:
                gaps += 1
        for kind, update, _ in history["traffic"]:
            if kind == "final":
                replica.take(bytes.fromhex(update))
        assert gaps
        replica.assert_says_what(history)


@pytest.mark.parametrize("first", range(200, 210, 10))
def test_a_gate_made_from_a_compacted_document_takes_in_what_follows(first: int) -> None:
    for history in histories(first, 10):
        replica = Replica()
        for number, (kind, update, _) in enumerate(history["traffic"]):
            if number % 50 == 49:
                compacted = replica.doc.get_update()
                replica = Replica()
                replica.take(compacted)
                replica.gate = Gate.from_index(replica.gate.index())
            try:
                replica.take(bytes.fromhex(update))
            except Gap:
                assert kind != "final"
        replica.assert_says_what(history)


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
        assert str(writer.text) == str(replica.text)


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
