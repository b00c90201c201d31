"""Content changes, in the terms of Yjs in JavaScript."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Array, Doc, Map, Text, XmlElement, XmlFragment, XmlText

from collab.contents.events import MAX_BYTES
from collab.sandbox.changes import Historian
from collab.sandbox.messages import Changes
from tests.collab.sandbox.asking import WORKER, Asking
from tests.fuzz.encode import STRING, TYPE, block, frame, item, string

EMOJI = bytes.fromhex("010101000401016104f09f988000")
ROOTS = {"text": "text", "array": "array", "map": "map", "xml": "xml"}


def changes(base: Sequence[bytes], turns: Sequence[Sequence[bytes]], roots: Mapping[str, str]) -> list[dict[str, Any]]:
    told = Historian().changes(base, turns, roots)
    assert told is not None
    return told.turns


class Author:
    """A document with a root of each kind; returns the changes of each edit as one update."""

    def __init__(self) -> None:
        self.doc: Doc[Any] = Doc(client_id=1)
        self.text: Text = self.doc.get("text", type=Text)
        self.array: Array[Any] = self.doc.get("array", type=Array)
        self.map: Map[Any] = self.doc.get("map", type=Map)
        self.xml: Any = self.doc.get("xml", type=XmlFragment)

    def edit(self, edit: Callable[[], object]) -> bytes:
        before = self.doc.get_state()
        with self.doc.transaction():
            edit()
        return self.doc.get_update(before)


def told(author: Author, first: Callable[[], object], *edits: Callable[[], object]) -> list[dict[str, Any]]:
    base = author.edit(first)
    return changes([base], [[author.edit(edit)] for edit in edits], ROOTS)


def test_typing_is_told_as_a_delta_that_counts_as_javascript_does() -> None:
    me = Author()
    assert told(
        me,
        lambda: me.text.insert(0, "h😀éllo"),
        lambda: me.text.insert(5, "X"),
        lambda: me.text.__delitem__(slice(0, 5)),
        lambda: me.text.insert(len("Xéllo".encode()), "中😀", {"bold": True}),
        lambda: me.text.format(1, 3, {"link": {"href": "/"}}),
        lambda: me.text.insert_embed(3, {"image": 1}),
    ) == [
        {"text": {"delta": [{"retain": 3}, {"insert": "X"}]}},
        {"text": {"delta": [{"delete": 3}]}},
        {"text": {"delta": [{"retain": 5}, {"insert": "中😀", "attributes": {"bold": True}}]}},
        {"text": {"delta": [{"retain": 1}, {"retain": 1, "attributes": {"link": {"href": "/"}}}]}},
        {"text": {"delta": [{"retain": 2}, {"insert": {"image": 1}, "attributes": {"link": {"href": "/"}}}]}},
    ]


def test_several_updates_of_one_turn_are_one_change() -> None:
    me = Author()
    base = me.edit(lambda: me.text.insert(0, "abc"))
    turns = [
        [me.edit(lambda: me.text.insert(3, "d")), me.edit(lambda: me.text.insert(4, "e"))],
        [me.edit(lambda: me.text.insert(5, "f")), me.edit(lambda: me.text.__delitem__(5))],
    ]
    assert changes([base], turns, ROOTS) == [{"text": {"delta": [{"retain": 3}, {"insert": "de"}]}}, {}]
    assert changes([], [[base]], ROOTS) == [{"text": {"delta": [{"insert": "abc"}]}}]
    assert changes([base, *turns[0]], turns[1:], ROOTS) == [{}]


def test_a_cached_document_gives_the_same_changes_as_one_read_again() -> None:
    me = Author()
    base = me.edit(lambda: me.text.insert(0, "abc"))
    first, second = me.edit(lambda: me.text.insert(3, "d")), me.edit(lambda: me.text.__delitem__(slice(0, 2)))
    historian = Historian()
    assert historian.changes([base], [[first]], ROOTS, "", "one") == (changes([base], [[first]], ROOTS), None)
    told = changes([base, first], [[second]], ROOTS), None
    assert historian.changes(None, [[second]], ROOTS, "one", "two") == told
    assert historian.changes(None, [[second]], ROOTS, "one", "") is None, "it is not kept any more"
    assert historian.changes([base, first], [[second]], ROOTS, "one", "") == told


def test_maps_arrays_and_xml_are_told_by_path() -> None:
    me = Author()

    def first() -> None:
        me.array.extend([0, Map({"k": Text("é")})])
        me.map["list"] = Array([1, 2])
        me.xml.children.append(XmlElement("p", {"class": "c"}, [XmlText("hé")]))

    def second() -> None:
        del me.array[0]
        me.array[0]["k"].insert(2, "!")
        me.map["list"].append({"n": 2.0})
        me.map["new"] = Map({"a": Array([b"\x00"])})
        me.xml.children[0].attributes["class"] = "d"
        me.xml.children[0].children[0].insert(3, "😀")

    def third() -> None:
        del me.map["new"]
        me.map["list"] = 1
        me.xml.children.insert(0, XmlElement("hr"))
        del me.xml.children[1].children[0][0:3]

    assert told(me, first, second, third) == [
        {
            "array": {
                "paths": [
                    {"path": [], "delta": [{"delete": 1}]},
                    {"path": [0, "k"], "delta": [{"retain": 1}, {"insert": "!"}]},
                ]
            },
            "map": {
                "paths": [
                    {"path": [], "keys": {"new": {"action": "add", "newValue": {"a": ["AA=="]}}}},
                    {"path": ["list"], "delta": [{"retain": 2}, {"insert": [{"n": 2}]}]},
                ]
            },
            "xml": {
                "paths": [
                    {"path": [0], "keys": {"class": {"action": "update", "oldValue": "c", "newValue": "d"}}},
                    {"path": [0, 0], "delta": [{"retain": 2}, {"insert": "😀"}]},
                ]
            },
        },
        {
            "map": {
                "paths": [
                    {"path": [], "keys": {"new": {"action": "delete"}, "list": {"action": "update", "newValue": 1}}}
                ]
            },
            "xml": {
                "paths": [
                    {"path": [], "delta": [{"insert": ["<hr></hr>"]}]},
                    {"path": [1, 0], "delta": [{"delete": 2}]},
                ]
            },
        },
    ]


def test_a_nested_text_is_found_again_where_it_was_before() -> None:
    me = Author()
    for child in (XmlText("a"), XmlText("b"), XmlElement("p", {}, [XmlText("x😀y")])):
        me.xml.children.append(child)
    base = me.doc.get_update()

    def edit() -> None:
        del me.xml.children[0]
        me.xml.children.insert(0, XmlElement("h1"))
        me.xml.children.insert(0, XmlElement("h2"))
        del me.xml.children[3].children[0][1:5]

    (change,) = changes([base], [[me.edit(edit)]], ROOTS)
    assert change["xml"]["paths"][-1] == {"path": [3, 0], "delta": [{"retain": 1}, {"delete": 2}]}


WORDS = st.sampled_from(["a", "é", "中", "😀", "x😀y", "word "])
EDITS = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), WORDS | st.none(), st.booleans()), max_size=12)


def _apply(text: str, delta: list[dict[str, Any]]) -> str:
    """Apply a delta like Quill, in UTF-16 code units."""
    units, out, at = text.encode("utf-16-le"), b"", 0
    for part in delta:
        if "insert" in part:
            out += part["insert"].encode("utf-16-le")
        elif "retain" in part:
            out += units[at : at + 2 * part["retain"]]
            at += 2 * part["retain"]
        else:
            at += 2 * part["delete"]
    assert at <= len(units)
    return (out + units[at:]).decode("utf-16-le")


@settings(max_examples=100, deadline=None)
@given(EDITS, st.booleans())
def test_a_delta_makes_the_new_text_of_the_old_one(
    edits: list[tuple[float, float, str | None, bool]], nested: bool
) -> None:
    me = Author()
    base = me.edit(lambda: me.array.append(Text("start 😀")) if nested else me.text.insert(0, "start 😀"))
    text = me.array[0] if nested else me.text
    texts = [str(text)]
    turns: list[list[bytes]] = [[]]

    def edit(start: float, share: float, word: str | None) -> None:
        now = str(text)
        borders = [len(now[:i].encode()) for i in range(len(now) + 1)]
        i = int(start * len(now))
        if word is not None:
            text.insert(borders[i], word)
        elif i < len(now):
            del text[borders[i] : borders[min(len(now), i + 1 + int(share * 4))]]

    for start, share, word, ends in edits:
        turns[-1].append(me.edit(lambda: edit(start, share, word)))  # noqa: B023
        if ends:
            texts.append(str(text))
            turns.append([])
    texts.append(str(text))
    for number, change in enumerate(changes([base], turns, ROOTS)):
        delta: list[dict[str, Any]] = []
        if change and nested:
            (entry,) = change["array"]["paths"]
            assert entry["path"] == [0]
            delta = entry["delta"]
        elif change:
            delta = change["text"]["delta"]
        assert _apply(texts[number], delta) == texts[number + 1]


def test_a_mark_that_becomes_true_instead_of_one_has_changed() -> None:
    me = Author()
    assert told(me, lambda: me.text.insert(0, "abc", {"n": 1}), lambda: me.text.format(0, 2, {"n": True})) == [
        {"text": {"delta": [{"retain": 2, "attributes": {"n": True}}]}}
    ]


def test_only_the_roots_that_are_asked_for_are_told() -> None:
    me = Author()

    def edit() -> None:
        me.text.insert(0, "a")
        me.map["k"] = 1

    assert changes([], [[me.edit(edit)]], {"text": "text"}) == [{"text": {"delta": [{"insert": "a"}]}}]


def test_a_change_that_is_too_large_is_only_mentioned() -> None:
    me = Author()
    assert told(
        me,
        lambda: me.text.insert(0, "a"),
        lambda: me.text.insert(1, "x" * MAX_BYTES),
        lambda: me.map.update({"k": "y" * MAX_BYTES, "l": 1}),
        lambda: me.text.insert(0, "x"),
    ) == [{"text": {"truncated": True}}, {"map": {"truncated": True}}, {"text": {"delta": [{"insert": "x"}]}}]


def test_a_change_of_a_type_inside_a_text_is_told_there() -> None:
    base = frame([block(7, 0, [item(TYPE, b"\x02", parent="text"), item(STRING, string("é"), parent=(7, 0))])])
    edit = frame([block(7, 2, [item(STRING, string("!"), origin=(7, 1))])])
    (change,) = changes([base], [[edit]], ROOTS)
    assert change == {"text": {"paths": [{"path": [0], "delta": [{"retain": 1}, {"insert": "!"}]}]}}


@pytest_asyncio.fixture
async def sandbox() -> AsyncIterator[Asking]:
    sandbox = Asking()
    yield sandbox
    await sandbox.close()


async def test_changes_are_told_by_the_sandbox(sandbox: Asking) -> None:
    me = Author()
    base = me.edit(lambda: me.text.insert(0, "😀"))
    turn = me.edit(lambda: me.text.insert(4, "!"))
    expected = [{"text": {"delta": [{"retain": 2}, {"insert": "!"}]}}]
    assert await sandbox.changes([base], [[turn]], ROOTS, 20.0) == expected
    assert await sandbox.changes([base, b"nonsense"], [[turn, b"nonsense"]], ROOTS, 20.0) == expected
    assert await sandbox.changes((base,), ((turn,),), ROOTS, 20.0) == expected


async def test_changes_of_many_cached_documents_are_told_at_once_and_one_that_is_not_cached_stops_no_other(
    sandbox: Asking,
) -> None:
    authors = [Author(), Author()]
    bases = [me.edit(partial(me.text.insert, 0, "a")) for me in authors]
    turns = [me.edit(partial(me.text.insert, 1, "b")) for me in authors]
    async with sandbox.background(WORKER) as child:
        for number, base in enumerate(bases):
            await child.changes([base], [], ROOTS, 20.0, after=f"before {number}")
        asked = [
            Changes(None, [[turn]], dict(ROOTS), 0.0, f"before {number}", f"after {number}")
            for number, turn in enumerate(turns)
        ]
        told = await child.changes_of_many([asked[0], asked[0], asked[1]], 20.0)
    expected = [{"text": {"delta": [{"retain": 1}, {"insert": "b"}]}}]
    assert [changes for changes, _ in told] == [(expected, None), None, (expected, None)]
    assert all(seconds >= 0 for _, seconds in told)


async def test_j3_reading_text_as_an_array_terminates(sandbox: Asking) -> None:
    (change,) = await sandbox.changes([], [[EMOJI]], {"a": "array"}, 20.0)
    assert change.keys() == {"a"}
    assert await sandbox.changes([], [[EMOJI]], {"a": "text"}, 20.0) == [{"a": {"delta": [{"insert": "😀"}]}}]
