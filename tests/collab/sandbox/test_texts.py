"""What documents say, as a child process reads it."""

from __future__ import annotations

from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text, XmlElement, XmlFragment, XmlText

from collab.query.search import MAX_TEXT
from collab.sandbox.changes import Historian
from collab.sandbox.client import Sandbox
from collab.sandbox.texts import read_text
from collab.turns import TurnOwner

ROOTS = {"text": "text", "xml": "xml", "map": "map", "array": "array"}
WORKER = TurnOwner("default", "search")


def written() -> bytes:
    made: Doc[Any] = Doc()
    made["text"], made["xml"] = Text("plain words"), XmlFragment()
    made["map"], made["array"] = Map({"fields": "in a map"}), Array(["one", 2])
    made["fields"] = Map({"title": "a field"})
    for words in ("first", "second"):
        made["xml"].children.append(XmlElement("paragraph", contents=[XmlText(words)]))
    return bytes(made.get_update())


def test_all_roots_are_read_in_the_order_of_their_names_without_those_that_are_none_of_it() -> None:
    expected = " one \n in a map \n plain words \n first \n second "
    assert read_text([written()], ["fields"]) == expected
    told = Historian().changes([], [[written()]], ROOTS, searched=True)
    assert told is not None
    assert told.text == expected


def test_only_who_searches_has_a_text_read() -> None:
    told = Historian().changes([], [[written()]], ROOTS)
    assert told is not None
    assert told.text is None


def test_the_text_is_that_after_all_turns_however_the_document_is_known() -> None:
    made: Doc[Any] = Doc()
    made["text"] = Text("one")
    historian = Historian()
    first = historian.changes([], [[made.get_update()]], ROOTS, after="a", searched=True)
    before = made.get_state()
    made["text"] += " two"
    second = historian.changes(None, [[made.get_update(before)], []], ROOTS, "a", searched=True)
    assert first is not None
    assert second is not None
    assert (first.text, second.text) == (" one ", " one two ")


def test_a_long_text_is_cut() -> None:
    made: Doc[Any] = Doc()
    made["text"] = Text("word " * MAX_TEXT)
    text = read_text([made.get_update()], [])
    assert text is not None
    assert 0 < len(text) <= MAX_TEXT


def test_a_text_that_cannot_be_read_takes_no_change_from_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*asked: object) -> str:
        raise RecursionError

    monkeypatch.setattr("collab.sandbox.texts.text_of_roots", fail)
    told = Historian().changes([], [[written()]], ROOTS, searched=True)
    assert told is not None
    assert told.turns[0].keys() == ROOTS.keys()
    assert told.text is None
    assert read_text([written()], []) is None


async def test_a_child_reads_several_documents_at_once() -> None:
    sandbox = Sandbox()
    try:
        async with sandbox.background(WORKER) as child:
            texts = await child.texts([[written()], [], [b"nonsense"]], ["fields", "xml", "map"], 20.0)
    finally:
        await sandbox.close()
    assert texts == [" one \n plain words ", "", ""]
