"""The editor of a document is found from what is in it."""

from __future__ import annotations

import json

import pytest

from collab.contents.tree import Embed, Node, Run
from collab.errors import InvalidRequest
from collab.richtext.forms import read_rich, schema_of
from collab.richtext.model import RichNode, node, text
from collab.richtext.names import RichSchema
from collab.richtext.prosemirror import write_json
from collab.richtext.reading import read_root
from tests.collab.richtext.documents import SCHEMAS, Document


def fragment(*parts: RichNode) -> Node:
    return Node("fragment", children=write_json(parts))


@pytest.mark.parametrize(
    ("parts", "schema"),
    [
        ([node("bulletList")], "tiptap"),
        ([node("paragraph", [text("a", {"bold": {}})])], "tiptap"),
        ([node("bullet_list")], "prosemirror"),
        ([node("paragraph", [text("a", {"strong": {}})])], "prosemirror"),
        ([node("hr")], "milkdown"),
        ([node("bullet_list", spread=False)], "milkdown"),
        ([node("blockGroup")], "blocknote"),
        ([node("paragraph")], "tiptap"),
    ],
)
def test_names_of_nodes_and_marks_tell_the_schema(parts: list[RichNode], schema: RichSchema) -> None:
    assert schema_of(fragment(*parts)) == schema


def test_a_hint_counts_only_if_the_content_fits_it() -> None:
    assert schema_of(fragment(node("paragraph")), "milkdown") == "milkdown"
    assert schema_of(fragment(node("bullet_list")), "milkdown") == "milkdown"
    assert schema_of(fragment(node("bullet_list")), "tiptap") == "prosemirror"
    assert schema_of(fragment(node("paragraph")), "quill") == "tiptap"


def test_texts_are_of_quill_and_typed_ones_of_lexical() -> None:
    assert schema_of(Node("text", children=[Run("a", {})])) == "quill"
    paragraph = Node("xml_text", entries={"__type": "paragraph"})
    assert schema_of(Node("fragment", children=[Embed(paragraph, {})])) == "lexical"
    assert schema_of(Node("fragment")) is None


@pytest.mark.parametrize(
    "root",
    [
        Node("map", entries={"a": 1}),
        Node("array", children=[Embed(1, {})]),
        Node("fragment", children=[Embed(Node("xml_text", entries={"type": "paragraph"}), {})]),  # Slate's
        Node("xml_text", children=[Run("a", {})]),
    ],
)
def test_other_roots_are_no_rich_text(root: Node) -> None:
    with pytest.raises(InvalidRequest):
        schema_of(root)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_what_is_written_for_an_editor_is_found_to_be_its(schema: RichSchema) -> None:
    made = Document()
    made.set("markdown", "- a **b**\n\n```\nc\n```\n", schema)
    assert schema_of(made.node()) == ("prosemirror" if schema == "milkdown" else schema)
    assert read_rich(made.node().children, schema)[0]["type"] == "bulletList"


def test_the_text_of_unknown_xml_keeps_its_tags() -> None:
    assert read_root(Node("fragment", children=[Embed(Node("xml_text", children=[Run("a", {})]), {})]), "text") == "a"
    slate = Node("xml_text", entries={"type": "p"}, children=[Run("b", {})])
    assert read_root(Node("fragment", children=[Embed(slate, {})]), "text") == "b"


def test_json_of_editors_without_prosemirror_has_the_names_of_tiptap() -> None:
    for schema in ("lexical", "quill"):
        made = Document()
        made.set("markdown", "# a\n\n> b **c**\n", schema)
        quote = node("blockquote", [node("paragraph", [text("b "), text("c", {"bold": {}})])])
        assert json.loads(made.read("prosemirror"))["content"] == [node("heading", [text("a")], level=1), quote]
