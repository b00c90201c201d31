"""Applying a turn's changes to the old content gives the new content."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from pycrdt import Array, Doc, Text

from collab.contents.events import changes
from collab.contents.replica import Replica
from collab.contents.tree import Node, Run, TypeKind, as_json, node_of
from collab.contents.values import units_of
from tests.fuzz.contents import histories

ROOTS: dict[str, TypeKind] = {"text": "text", "rich": "text", "lexical": "xml_text"}
KINDS = {"text": "text", "rich": "text", "lexical": "xml", "map": "map", "cards": "map", "array": "array", "xml": "xml"}
EMBED = "\0"

Unit = tuple[str, dict[str, Any]]
"""A UTF-16 code unit or an embed, and its marks."""


def units(node: Node) -> list[Unit]:
    found: list[Unit] = []
    for child in node.children:
        marks = {key: as_json(value) for key, value in child.marks.items()}
        found += [(unit, marks) for unit in (units_of(child.text) if isinstance(child, Run) else EMBED)]
    return found


def applied(delta: Sequence[dict[str, Any]], before: Sequence[Unit]) -> list[Unit]:
    """Apply a delta like Quill."""
    after: list[Unit] = []
    at = 0
    for part in delta:
        marks = part.get("attributes", {})
        if "insert" in part:
            inserted = part["insert"]
            after += [(unit, marks) for unit in (units_of(inserted) if isinstance(inserted, str) else EMBED)]
        elif "delete" in part:
            at += part["delete"]
        else:
            kept = before[at : at + part["retain"]]
            assert len(kept) == part["retain"]
            for unit, own in kept:
                changed = {**own, **marks}
                after.append((unit, {key: value for key, value in changed.items() if value is not None}))
            at += part["retain"]
    return after + list(before[at:])


@pytest.mark.parametrize(("first", "turn"), [(1, 1), (2, 3), (3, 10)])
def test_j5_a_delta_makes_the_new_text_of_the_old_one_with_its_marks(first: int, turn: int) -> None:
    for history in histories(first * 1000, 4, 150):
        replica = Replica()
        for start in range(0, len(history.updates), turn):
            before = {name: units(node_of(replica.root(name), kind)) for name, kind in ROOTS.items()}
            replica.begin()
            replica.extend(history.updates[start : start + turn])
            told = changes(replica, KINDS)
            assert isinstance(json.dumps(told), str)
            for name, kind in ROOTS.items():
                change = told.get(name, {})
                entries = change.get("paths", [{"path": [], **change}])
                (delta,) = [entry.get("delta", []) for entry in entries if not entry["path"]] or [[]]
                assert applied(delta, before[name]) == units(node_of(replica.root(name), kind))


def test_j5_an_embedded_value_becomes_an_object() -> None:
    told = [
        part["insert"]
        for history in histories(4000, 4, 150)
        for change in changes(Replica.of(history.updates), {"rich": "text"}).values()
        for part in change.get("delta") or change["paths"][0].get("delta", ())
    ]
    assert {type(insert) for insert in told} == {str, dict}


class Writer:
    """Writes a text of many items at random places; ``updates`` are the edits since the last :meth:`take`."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        doc: Doc[Any] = Doc(client_id=1)
        self.text = doc.get("text", type=Text)
        self.updates: list[bytes] = []
        self.kept = doc.observe(lambda event: self.updates.append(event.update))

    def write(self, edits: int) -> None:
        for _ in range(edits):
            self.text.insert(self.random.randint(0, len(self.text)), "ab")

    def change(self) -> None:
        start = self.random.randrange(len(self.text))
        end = min(len(self.text), start + self.random.randint(1, 50))
        match self.random.randrange(4):
            case 0:
                del self.text[start:end]
            case 1:
                self.text.format(start, end, {"bold": self.random.choice([True, None])})
            case _:
                self.text.insert(start, "c")

    def take(self) -> list[bytes]:
        taken = self.updates[:]
        self.updates.clear()
        return taken


@pytest.mark.parametrize("seed", range(3))
def test_the_delta_of_a_long_text_makes_the_new_text_of_the_old_one(seed: int) -> None:
    writer = Writer(seed)
    writer.write(2000)
    replica = Replica.of(writer.take())
    for _ in range(100):
        before = units(node_of(replica.root("text"), "text"))
        for _ in range(writer.random.randint(1, 4)):
            writer.change()
        replica.begin()
        replica.extend(writer.take())
        delta = changes(replica, {"text": "text"}).get("text", {}).get("delta", [])
        assert applied(delta, before) == units(node_of(replica.root("text"), "text"))


def test_a_type_among_many_is_told_with_its_place() -> None:
    random = Random(5)
    doc: Doc[Any] = Doc()
    array = doc.get("array", type=Array)
    updates: list[bytes] = []
    kept = doc.observe(lambda event: updates.append(event.update))
    for number in range(600):
        array.insert(random.randint(0, len(array)), Text(f"{number}"))
    for _ in range(200):
        del array[random.randrange(len(array))]
    replica = Replica.of(updates)
    assert kept is not None
    for place in random.sample(range(len(array)), 50):
        updates.clear()
        array[place].insert(0, "x")
        replica.begin()
        replica.extend(updates)
        (entry,) = changes(replica, {"array": "array"})["array"]["paths"]
        assert entry == {"path": [place], "delta": [{"insert": "x"}]}


def calls_for_an_edit(items: int) -> int:
    """How many calls it takes to tell of one edit in a text of so many items."""
    writer = Writer(7)
    writer.write(items)
    replica = Replica.of(writer.take())
    writer.write(1)
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    replica.begin()
    replica.extend(writer.take())
    sys.setprofile(count)
    try:
        (told,) = changes(replica, {"text": "text"}).values()
    finally:
        sys.setprofile(None)
    assert told["delta"][-1] == {"insert": "ab"}
    return calls


def test_an_edit_of_a_long_text_is_told_without_a_look_at_each_item() -> None:
    assert calls_for_an_edit(10_000) < 4 * calls_for_an_edit(100)
