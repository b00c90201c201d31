"""Yjs in Node sees the old content after a restore, whatever Yjs can write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pycrdt
import pytest

from collab.contents.replica import Replica
from collab.contents.restore import restore
from collab.gate.gate import Gate
from tests.fuzz.contents import History, histories, shapes

NOTHING = b"\0\0"
CLIENT = 99


class Server:
    """A document of the CRDT library behind a gate."""

    def __init__(self, updates: Sequence[bytes]) -> None:
        self.gate = Gate()
        self.doc: pycrdt.Doc[Any] = pycrdt.Doc()
        for update in updates:
            self.take(update)

    def take(self, update: bytes) -> None:
        self.gate.commit(self.gate.check(update))
        self.doc.apply_update(update)

    def restore(self, then: Sequence[bytes], client: int = CLIENT) -> bytes | None:
        update = restore(Replica.of([self.doc.get_update()]), Replica.of(then), (), client)
        if update is not None:
            self.take(update)
        return update


@pytest.mark.parametrize("first", [1, 2, 3, 4])
def test_j7_yjs_reads_a_restored_document_as_the_old_one(first: int) -> None:
    documents: list[Sequence[bytes]] = []
    expected: list[Any] = []
    for history in histories(first * 1000, 3, 120):
        for count, shape in history.moments:
            server = Server(history.updates)
            update = server.restore(history.updates[:count]) or NOTHING
            documents += [[*history.updates, update], [server.doc.get_update()]]
            expected += [shape, shape]
    assert shapes(documents) == expected


def test_restoring_twice_does_nothing_and_restoring_back_gives_the_original() -> None:
    documents: list[Sequence[bytes]] = []
    expected: list[Any] = []
    for history in histories(7000, 4, 120):
        for count, _ in history.moments:
            server = Server(history.updates)
            before = server.doc.get_update()
            server.restore(history.updates[:count])
            assert server.restore(history.updates[:count], CLIENT + 1) is None
            server.restore([before], CLIENT + 2)
            documents.append([server.doc.get_update()])
            expected.append(history.moments[-1][1])
    assert shapes(documents) == expected


def test_j7_edits_that_come_at_the_same_time_stay_and_all_replicas_agree() -> None:
    documents: list[Sequence[bytes]] = []
    for history in histories(8000, 4, 120):
        late = 2 * len(history.updates) // 3  # what comes then is not known to whoever restores
        update = (
            restore(Replica.of(history.updates[:late]), Replica.of(history.updates[: late // 2]), (), CLIENT) or NOTHING
        )
        server = Server([*history.updates[:late], update, *history.updates[late:]])
        documents += [[*history.updates, update], [server.doc.get_update()]]
    seen = shapes(documents)
    assert seen[::2] == seen[1::2]


def test_j7_unchanged_content_is_not_written_again() -> None:
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    updates: list[bytes] = []
    doc.observe(lambda event: updates.append(event.update))
    doc["text"] = pycrdt.Text("a" * 1000)
    doc["xml"] = pycrdt.XmlFragment([pycrdt.XmlElement("p", {}, [pycrdt.XmlText("b" * 1000)]) for _ in range(3)])
    doc["map"] = pycrdt.Map({"long": "c" * 1000, "n": 1})
    then = list(updates)
    doc["text"].insert(500, "x")
    del doc["text"][100:103]
    doc["xml"].children[1].children[0].insert(0, "new")
    doc["xml"].children[1].attributes["align"] = "left"
    doc["map"]["n"] = 2
    server = Server(updates)
    update = server.restore(then)
    assert update is not None
    assert len(update) < 150
    assert server.restore(then, CLIENT + 1) is None


def test_a_paragraph_that_was_restored_before_is_changed_from_the_inside() -> None:
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    doc["xml"] = pycrdt.XmlFragment(
        [pycrdt.XmlElement("p", {"n": str(n)}, [pycrdt.XmlText(c * 500)]) for n, c in enumerate("abc")]
    )
    first = doc.get_update()
    del doc["xml"].children[0:3]
    server = Server([doc.get_update()])
    server.restore([first])  # all paragraphs are new ones
    changed: pycrdt.Doc[Any] = pycrdt.Doc()
    changed.apply_update(first)
    changed.get("xml", type=pycrdt.XmlFragment).children[1].children[0].insert(3, "!")
    update = server.restore([changed.get_update()], CLIENT + 1)
    assert update is not None
    assert len(update) < 60


def test_roots_that_hold_entities_are_left_alone() -> None:
    history: History = next(histories(9000, 1, 60))
    left_alone = ["text", "rich", "map", "cards", "array", "xml", "lexical"]
    assert restore(Replica.of(history.updates), Replica(), left_alone, CLIENT) is None
    assert restore(Replica.of(history.updates), Replica(), left_alone[1:], CLIENT) != NOTHING
