"""Applying a turn's changes to the old content gives the new content."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

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
