"""Documents are read as Yjs reads them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pycrdt
import pytest

from collab.contents.replica import Replica
from collab.contents.tree import Embed, Node, Run, TypeKind, as_json, as_text, kind_of, node_of
from collab.contents.values import UNDEFINED, decode_json
from tests.fuzz.contents import histories

NAMES = {
    "array": "YArray",
    "map": "YMap",
    "text": "YText",
    "element": "YXmlElement",
    "fragment": "YXmlFragment",
    "xml_text": "YXmlText",
}
ROOTS: list[tuple[str, TypeKind]] = [
    ("text", "text"),
    ("rich", "text"),
    ("map", "map"),
    ("cards", "map"),
    ("array", "array"),
    ("xml", "fragment"),
    ("lexical", "xml_text"),
]


def shape(value: Any) -> Any:
    """The same form as tests/fuzz/contents.mjs derives from Yjs."""
    match value:
        case Node():
            if value.kind in ("text", "xml_text"):
                children: list[Any] = [
                    [child.text if isinstance(child, Run) else shape(child.value), shape(dict(child.marks))]
                    for child in value.children
                ]
            else:
                children = [shape(child.value) for child in value.children if isinstance(child, Embed)]
            name = value.name if value.kind == "element" else None
            entries = {key: shape(entry) for key, entry in value.entries.items()}
            return {"type": NAMES[value.kind], "name": name, "entries": entries, "list": children}
        case bytes():
            return {"$bytes": value.hex()}
        case float() if not math.isfinite(value):
            return {"$number": "NaN"}
        case dict():
            return {key: shape(item) for key, item in value.items()}
        case list():
            return [shape(item) for item in value]
        case _:
            return {"$undefined": True} if value is UNDEFINED else value


@pytest.mark.parametrize("first", [1, 2, 3])
def test_a_tree_holds_all_that_yjs_sees(first: int) -> None:
    for history in histories(first * 1000, 4, 120):
        for count, expected in history.moments:
            replica = Replica.of(history.updates[:count])
            assert [shape(node_of(replica.root(name), kind)) for name, kind in ROOTS] == expected


def test_a_character_that_is_cut_in_two_is_two_replacement_characters_as_in_yjs() -> None:
    for history in histories(6000, 6, 120, cut=True):
        for count, expected in history.moments:
            replica = Replica.of(history.updates[:count])
            assert [shape(node_of(replica.root(name), kind)) for name, kind in ROOTS] == expected


def test_documents_of_the_crdt_library_are_read_as_its_own_updates_are() -> None:
    for history in histories(4000, 4, 120):
        doc: pycrdt.Doc[Any] = pycrdt.Doc()
        for update in history.updates:
            doc.apply_update(update)
        replica = Replica.of([doc.get_update()])
        assert [shape(node_of(replica.root(name), kind)) for name, kind in ROOTS] == history.moments[-1][1]


def test_every_content_becomes_json() -> None:
    forms = {"text": str, "rich": str, "map": dict, "cards": dict, "array": list, "xml": str, "lexical": str}
    for history in histories(5000, 4, 120):
        replica = Replica.of(history.updates)
        for name, kind in ROOTS:
            assert isinstance(as_json(node_of(replica.root(name), kind)), forms[name])
            as_json(node_of(replica.root(name), kind_of(replica.root(name))))


FRAGMENT = pycrdt.XmlFragment


@pytest.mark.parametrize(
    ("make", "kind", "shown"),
    [
        (lambda: pycrdt.Array([FRAGMENT([pycrdt.XmlText("a")]), FRAGMENT()]), "array", ["a", ""]),
        (
            lambda: pycrdt.Array([pycrdt.Map({"a": 1}), FRAGMENT([pycrdt.XmlElement("p")])]),
            "array",
            [{"a": 1}, "<p></p>"],
        ),
        (lambda: FRAGMENT([pycrdt.XmlElement("p"), pycrdt.XmlText("a")]), "fragment", "<p></p>a"),
        (lambda: pycrdt.Text("abc"), "text", "abc"),
        (lambda: pycrdt.Map({"a": FRAGMENT()}), "map", {"a": ""}),
    ],
)
def test_j3_the_kind_of_a_root_follows_from_its_content(make: Callable[[], Any], kind: TypeKind, shown: Any) -> None:
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    doc["root"] = make()
    root = Replica.of([doc.get_update()]).root("root")
    assert kind_of(root) == kind
    assert as_json(node_of(root, kind_of(root))) == shown


def test_j3_an_empty_root_keeps_its_known_kind() -> None:
    root = Replica().root("root")
    assert (kind_of(root), kind_of(root, "array")) == (None, "array")


def test_j1_j2_json_is_that_of_yjs_with_bytes_as_base64() -> None:
    paragraph = Node(
        "element", "p", {"n": 2, "on": True, "l": [1]}, [Embed(Node("xml_text", "", {}, [Run("a<b", {})]), {})]
    )
    card = Node("map", "", {"body": Node("fragment", "", {}, [Embed(paragraph, {})]), "icon": b"\1\2"})
    assert as_json(
        Node("array", "", {}, [Embed(card, {}), Embed(UNDEFINED, {}), Embed(math.nan, {}), Embed(2**60, {})])
    ) == [
        {"body": '<p l="[1]" n="2" on="true">a<b</p>', "icon": "AQI="},
        None,
        None,
        str(2**60),
    ]


def test_j1_j2_text_is_without_marks_and_embeds_and_xml_is_with_tags() -> None:
    runs: list[Run | Embed] = [
        Run("one", {"bold": True}),
        Embed({"image": 1}, {}),
        Embed(Node("map"), {}),
        Run("two", {"link": {"href": "x"}, "em": {}}),
    ]
    assert as_text(Node("text", "", {}, runs)) == "onetwo"
    assert as_text(Node("xml_text", "", {}, runs)) == '<bold>one</bold><em><link href="x">two</link></em>'
    inner = Node(
        "xml_text", "", {}, [Embed(Node("xml_text", "", {}, [Run("in", {})]), {}), Embed(Node("element", "br"), {})]
    )
    assert as_text(inner) == "in<br></br>"


def test_json_with_a_lone_surrogate_is_read_with_a_replacement_character() -> None:
    assert decode_json(r'{"a\ud83e": ["\ud83e\udd8a", "\udd8a"]}') == {
        "a\N{REPLACEMENT CHARACTER}": ["🦊", "\N{REPLACEMENT CHARACTER}"]
    }
    assert decode_json("{") is UNDEFINED
