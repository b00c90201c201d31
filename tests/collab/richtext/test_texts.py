"""What a search finds in documents: paragraphs, rows of tables, and strings, none of them glued to its neighbour."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings

from collab.contents.tree import Embed, Node, Run
from collab.query.search import fold_texts, words_of
from collab.richtext.model import lines_of
from collab.richtext.names import RichSchema
from collab.richtext.texts import texts_of
from tests.collab.richtext.documents import DOCUMENTS, SCHEMAS, Document, doc

MARKDOWN = """# Hello

wor**l**d [link](https://x.y)

- one
- two

| a | b |
|---|---|
| c | d |
"""


def element(name: str, *children: Any) -> Node:
    return Node("element", name, children=[Embed(child, {}) for child in children])


def xml_text(*runs: str) -> Node:
    return Node("xml_text", children=[Run(run, {}) for run in runs])


@pytest.mark.parametrize("schema", [schema for schema in SCHEMAS if schema not in ("quill", "lexical", "milkdown")])
def test_blocks_and_rows_of_any_editor_are_texts_of_their_own(schema: RichSchema) -> None:
    made = Document()
    made.set("markdown", MARKDOWN, schema)
    texts = [text.replace("\t", " ") for text in texts_of(made.node()) if text]
    assert texts == ["Hello", "world link", "one", "two", "a b", "c d"]


@pytest.mark.parametrize("schema", ["lexical", "quill", "milkdown"])
def test_words_in_several_marks_are_one(schema: RichSchema) -> None:
    made = Document()
    made.set("markdown", "wor**l**d\n\nnext", schema)
    assert fold_texts(texts_of(made.node())).split() == ["world", "next"]


@settings(max_examples=60, deadline=None)
@given(DOCUMENTS)
def test_the_words_of_rich_text_are_those_of_its_plain_text(content: list[Any]) -> None:
    made = Document()
    made.set("prosemirror", json.dumps(doc(*content)), "tiptap")
    found = fold_texts(texts_of(made.node())).split()
    expected = [word for line in made.read("text").split("\n") for word in words_of(line)]
    assert found == expected


def test_a_line_with_a_break_is_one_text() -> None:
    parts = [{"type": "paragraph", "content": [{"type": "text", "text": "a"}, {"type": "hardBreak"}]}]
    assert list(lines_of(parts)) == ["a\n"]


def test_strings_in_maps_and_arrays_are_texts_and_numbers_are_none() -> None:
    root = Node(
        "map",
        entries={
            "b": Node("text", children=[Run("bo", {}), Run("ld", {"bold": True})]),
            "a": {"x": 12, "name": "shape", "points": [1.5, "p"]},
            "n": 7,
            "none": None,
            "list": Node("array", children=[Embed("item", {}), Embed(5, {}), Embed({"deep": ["q"]}, {})]),
            "page": Node("fragment", children=[Embed(element("paragraph", xml_text("in a map")), {})]),
        },
    )
    assert list(texts_of(root)) == ["shape", "p", "bold", "item", "q", "in a map"]


def test_characters_on_both_sides_of_an_embedded_value_are_two_texts() -> None:
    """What is embedded says nothing, unless it is a shared type."""
    image, nested = {"image": "data:image/png;base64,AAAA"}, Node("text", children=[Run("nested", {})])
    root = Node("text", children=[Run("be", {}), Embed(image, {}), Run("fore", {}), Embed(nested, {})])
    assert list(texts_of(root)) == ["be", "fore", "nested"]


def test_xml_of_no_known_editor_is_read_without_its_tags() -> None:
    slate = Node("xml_text", entries={"type": "p"}, children=[Run("a", {}), Run("b", {})])
    root = Node("fragment", children=[Embed(slate, {}), Embed(slate, {})])
    assert list(texts_of(root)) == ["ab", "ab"]
    assert list(texts_of(Node("array", children=[Embed(element("p", xml_text("c")), {})]))) == ["c"]
