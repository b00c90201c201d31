"""Rich text that is set: what was there stays, and only the difference is written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collab.contents.replica import Replica
from collab.contents.rewrite import Meaning, rewrite
from collab.contents.tree import Embed, Node, Run
from collab.errors import InvalidRequest
from collab.gate.structs import read
from collab.richtext.html_reader import read_html
from collab.richtext.html_writer import write_html
from collab.richtext.markdown_reader import read_markdown
from collab.richtext.markdown_writer import write_markdown
from collab.richtext.model import RichNode, node, text
from collab.richtext.names import RichSchema, WriteFormat
from collab.richtext.prosemirror import write_json
from collab.richtext.setting import Saying
from tests.collab.richtext.documents import DOCUMENTS, ROOT, SCHEMAS, SIMPLE_DOCUMENTS, Document, doc, document
from tests.fuzz.contents import histories

READERS = {"markdown": read_markdown, "html": read_html}
WRITERS = {"markdown": write_markdown, "html": write_html}
WRITABLE: tuple[WriteFormat, ...] = ("markdown", "html", "prosemirror")
PLAIN = ("tiptap", "prosemirror", "milkdown")


def said(form: WriteFormat, shown: str) -> object:
    return Saying(form, "tiptap").wanted_blocks(READERS[form](shown))


def size(update: bytes | None) -> int:
    """The number of elements that an update adds, and of those that it deletes."""
    assert update is not None
    parts = read(update, len(update))
    return sum(struct[2] for struct in parts.structs) + sum(length for _, _, length in parts.deletes)


def inserted(update: bytes | None) -> str:
    """The characters that an update adds."""
    assert update is not None
    parts = read(update, len(update))
    return "".join(parts.source[s[8] + 1 : s[9]].decode() for s in parts.structs if s[3] == 4)


def set_in_turn(
    made: Document, form: WriteFormat, documents: Sequence[list[RichNode]], schema: RichSchema
) -> Iterator[str]:
    """Set each document, and the first one again; what is then read must change nothing when it is set."""
    for parts in (*documents, documents[0]):
        wanted = WRITERS[form](parts)
        made.set(form, wanted, schema)
        yield wanted
        for other in WRITABLE:
            assert made.edit(other, made.read(other), schema) is None


@pytest.mark.parametrize("schema", PLAIN)
@pytest.mark.parametrize("form", ["markdown", "html"])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents=st.lists(DOCUMENTS, min_size=2, max_size=2))
def test_a_document_says_what_was_set_and_setting_what_it_says_changes_nothing(
    schema: RichSchema, form: WriteFormat, documents: list[list[RichNode]]
) -> None:
    made = Document()
    for wanted in set_in_turn(made, form, documents, schema):
        assert said(form, made.read(form)) == said(form, wanted)


@pytest.mark.parametrize("schema", ["blocknote", "lexical", "quill"])
@pytest.mark.parametrize("form", ["markdown", "html"])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents=st.lists(SIMPLE_DOCUMENTS, min_size=2, max_size=2))
def test_a_changed_document_equals_one_that_is_written_anew(
    schema: RichSchema, form: WriteFormat, documents: list[list[RichNode]]
) -> None:
    """These editors cannot nest blocks as Markdown does, so what they hold is what they hold when written anew."""
    made = Document()
    for wanted in set_in_turn(made, form, documents, schema):
        anew = Document()
        anew.set(form, wanted, schema)
        assert said(form, made.read(form)) == said(form, anew.read(form))


@pytest.mark.parametrize("schema", SCHEMAS)
def test_only_changed_characters_are_written(schema: RichSchema) -> None:
    made = Document()
    made.set("markdown", "# Title\n\nThe quick brown fox\n\n- one\n- two\n\nlast\n", schema)
    update = made.set("markdown", "# Title\n\nThe quick brawny fox\n\n- one\n- two\n\nlast\n")
    assert (inserted(update), size(update)) == ("awny", 4 + 3)
    update = made.set("markdown", "# Title\n\nThe quick brawny fox\n\n- one\n- two!\n\nlast\n")
    assert (inserted(update), size(update)) == ("!", 1)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_edits_of_others_at_the_same_time_survive(schema: RichSchema) -> None:
    made = Document()
    made.set("markdown", "one two three\n\nfour five\n", schema)
    mine, theirs = document(made.updates, 2000), document(made.updates, 3000)
    ours = mine.set("markdown", "one two 3\n\nfour five\n")
    other = theirs.set("markdown", "zero two three\n\nfour five six\n")
    assert ours is not None
    assert other is not None
    mine.apply(other)
    theirs.apply(ours)
    assert mine.read("markdown") == theirs.read("markdown") == "zero two 3\n\nfour five six\n"


def test_what_markdown_cannot_say_stays_where_nothing_changes() -> None:
    parts = [
        node(
            "paragraph", [text("red", {"textStyle": {"color": "red"}}), text(" and "), text("line", {"underline": {}})]
        ),
        node("youtube", src="https://y.t/1"),
        node("paragraph"),
        node("callout", [node("paragraph", [text("inside")]), node("paragraph", [text("too")])], tone="warm"),
        node("paragraph", [text("end")], textAlign="right"),
    ]
    made = Document()
    made.set("prosemirror", json.dumps(doc(*parts)))
    before = json.loads(made.read("prosemirror"))
    assert before == doc(*parts)
    assert made.read("markdown") == "red and line\n\ninside\n\ntoo\n\nend\n"
    made.set("markdown", "red and a line\n\ninside\n\ntoo\n\nthe end\n")
    after = json.loads(made.read("prosemirror"))
    assert after["content"][1:4] == before["content"][1:4]
    assert after["content"][4] == {**parts[4], "content": [text("the end")]}
    assert after["content"][0]["content"] == [
        text("red", {"textStyle": {"color": "red"}}),
        text(" and a "),
        text("line", {"underline": {}}),
    ]


def test_what_markdown_can_say_goes_when_it_is_not_said() -> None:
    made = Document()
    made.set("markdown", '```py\nx\n```\n\n[a **b**](/c "t") `d`\n\n1. one\n')
    made.set("markdown", "```\ny\n```\n\n[a b](/c) d!\n\n1. two\n")
    assert made.read("markdown") == "```\ny\n```\n\n[a b](/c) d!\n\n1. two\n"


def test_the_first_paragraph_of_an_empty_editor_is_filled() -> None:
    made = Document()
    made.set("prosemirror", json.dumps(doc(node("paragraph", textAlign="left"))))
    update = made.set("markdown", "hello\n")
    assert inserted(update) == "hello"
    assert json.loads(made.read("prosemirror")) == doc(node("paragraph", [text("hello")], textAlign="left"))
    made.set("markdown", "")
    assert json.loads(made.read("prosemirror")) == {"type": "doc"}


def test_identities_of_blocks_stay() -> None:
    made = Document()
    made.set("markdown", "a\n\nb\n", "blocknote")
    ids = [child["attrs"]["id"] for child in json.loads(made.read("prosemirror"))["content"][0]["content"]]
    made.set("markdown", "a\n\nnew\n\nb and more\n")
    now = [child["attrs"]["id"] for child in json.loads(made.read("prosemirror"))["content"][0]["content"]]
    assert len(now) == 3
    assert set(ids) < set(now)


def test_json_of_prosemirror_is_set_exactly() -> None:
    made = Document()
    made.set("markdown", "a **b**\n")
    parts = [
        node("paragraph", [text("a "), text("b", {"highlight": {"color": "red"}})], indent=2),
        node("custom", n=[1]),
    ]
    made.set("prosemirror", json.dumps(doc(*parts)))
    assert json.loads(made.read("prosemirror")) == doc(*parts)


def test_true_is_not_one() -> None:
    parts = [node("paragraph", [text("a", {"m": {"n": True}}), text("b", {"m": {"n": 1}})], n=True)]
    made = Document()
    made.set("prosemirror", json.dumps(doc(*parts)).replace("true", "1"))
    made.set("prosemirror", json.dumps(doc(*parts)))
    assert made.read("prosemirror") == json.dumps(doc(*parts), separators=(",", ":"))


def test_a_plain_text_is_set_by_its_difference() -> None:
    made = Document()
    made.set("text", "let x = 1\n", "quill")
    update = made.set("text", "let x = 12\n")
    assert (inserted(update), size(update)) == ("2", 1)
    assert made.read("text") == "let x = 12\n"
    assert made.edit("text", "let x = 12\n") is None


def test_formats_and_embeds_of_a_text_survive_a_new_plain_text() -> None:
    made = Document()
    made.set("markdown", "a **bold** word\n\n![](https://i.png)\n", "quill")
    made.set("text", "a bold new word\n\n")
    (paragraph, bold, *_) = made.node().children
    assert paragraph == Run("a ", {})
    assert bold == Run("bold", {"bold": True})
    assert any(isinstance(child, Embed) for child in made.node().children)


@pytest.mark.parametrize(
    ("form", "content", "why"),
    [
        ("prosemirror", "{", "the body is not JSON"),
        ("prosemirror", "[]", 'an object with "type": "doc"'),
        ("prosemirror", '{"type": "doc", "content": 1}', r"the document\.content: must be a list"),
        ("prosemirror", '{"type": "doc", "content": [{"type": "text", "text": ""}]}', "a text that is not empty"),
        ("prosemirror", '{"type": "doc", "content": [{"content": []}]}', r"content\[0\]: needs a type"),
        ("prosemirror", '{"type": "doc", "content": [{"type": "p", "attrs": []}]}', "must be an object"),
    ],
)
def test_malformed_content_is_refused(form: WriteFormat, content: str, why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        Document().edit(form, content)


def test_content_that_is_nested_too_deeply_is_refused() -> None:
    inner: dict[str, Any] = {"type": "blockquote"}
    for _ in range(101):
        inner = {"type": "blockquote", "content": [inner]}
    with pytest.raises(InvalidRequest, match="nested more than 100 levels deep"):
        Document().edit("prosemirror", json.dumps(doc(inner)))
    with pytest.raises(InvalidRequest, match="nested more than 200 levels deep"):
        Document().edit("html", "<blockquote>" * 5000 + "deep")
    with pytest.raises(InvalidRequest, match="nested more than 100 levels deep"):
        Document().edit("markdown", "> " * 5000 + "deep")


def holding(*children: Embed) -> Document:
    """A document with children that no format wrote."""
    meaning = Meaning(lambda _: (), lambda _: (), lambda _: False, lambda _: True, lambda key, value: True)
    update = rewrite(Replica(), ROOT, Node("fragment", children=list(children)), meaning, 1)
    assert update is not None
    return document([update], 100)


@pytest.mark.parametrize("form", ["markdown", "html"])
def test_a_document_that_is_nested_too_deeply_for_a_format_can_be_replaced(form: WriteFormat) -> None:
    inner = node("paragraph", [text("deep")])
    for _ in range(220):
        inner = node("blockquote", [inner])
    made = holding(*(part for part in write_json([inner]) if isinstance(part, Embed)))
    assert "deep" in made.read(form)
    made.set(form, "flat")
    assert made.read("text") == "flat"


COMMENTS = {"comment--AAAAAAAA": {"id": 1}, "comment--BBBBBBBB": {"id": 2}}


def commented() -> Document:
    runs: list[Run | Embed] = [
        Run("ab", COMMENTS),
        Run("c", {"comment--BBBBBBBB": {"id": 2}}),
        Run("d", {"my--mark": {}}),
    ]
    return holding(Embed(Node("element", "paragraph", children=[Embed(Node("xml_text", children=runs), {})]), {}))


def test_several_marks_of_a_kind_are_read_apart_and_stay_when_others_change() -> None:
    made = commented()
    shown = json.loads(made.read("prosemirror"))
    inline = shown["content"][0]["content"]
    assert [part["text"] for part in inline] == ["ab", "c", "d"]
    assert sorted(mark["attrs"]["id"] for mark in inline[0]["marks"]) == [1, 2]
    assert inline[2]["marks"] == [{"type": "my--mark"}]
    inline[0]["text"] = "a very b"
    inline[1]["marks"].append({"type": "comment", "attrs": {"id": 3}})
    made.set("prosemirror", json.dumps(shown))
    again = json.loads(made.read("prosemirror"))["content"][0]["content"]
    assert [{mark["attrs"]["id"] for mark in part["marks"]} for part in again[:2]] == [{1, 2}, {2, 3}]
    assert again[0]["text"] == "a very b"
    element = made.node().children[0]
    assert isinstance(element, Embed)
    runs = element.value.children[0].value.children
    assert set(runs[0].marks) == set(COMMENTS)
    assert all(re.fullmatch(r"comment--[A-Za-z0-9+/=]{8}", name) for name in runs[1].marks)


def test_a_schema_that_contradicts_the_document_is_refused() -> None:
    made = Document()
    made.set("markdown", "- a\n", "blocknote")
    with pytest.raises(InvalidRequest, match="has the form of blocknote, not of tiptap"):
        made.edit("markdown", "b", "tiptap")
    with pytest.raises(InvalidRequest, match="more than plain text"):
        made.edit("text", "b")


@pytest.mark.parametrize(("schema", "why"), [("quill", "no table"), ("lexical", "no node of the type table")])
def test_what_an_editor_does_not_have_is_refused(schema: RichSchema, why: str) -> None:
    with pytest.raises(InvalidRequest, match=why):
        Document().edit("markdown", "| a |\n| --- |\n", schema)


def test_what_a_plain_text_cannot_say_stays_at_its_end() -> None:
    made = Document()
    made.set("markdown", "a\n\n![](https://i.png)\n\n![](https://j.png)\n", "quill")
    before = made.node().children
    assert made.edit("text", made.read("text")) is None
    made.set("text", "b\n\n\n")
    assert [child for child in made.node().children if isinstance(child, Embed)] == [
        child for child in before if isinstance(child, Embed)
    ]


@pytest.mark.parametrize("first", [100, 200])
def test_of_whatever_yjs_can_write_setting_what_was_read_changes_nothing(first: int) -> None:
    read, refused = 0, 0
    for history in histories(first, 6, 120):
        made = document(history.updates, 2000)
        for name in list(made.replica.roots):
            for form in (*WRITABLE, "text"):
                if form == "text" and made.node(name).kind != "text":
                    continue
                try:
                    shown = made.read(form, name)
                except InvalidRequest:
                    refused += 1
                    continue
                assert made.edit(form, shown, root=name) is None
                read += 1
                made.set(form, json.dumps(doc(node("p"))) if form == "prosemirror" else "# b\n\n- *c*", root=name)
    assert read > 30
    assert refused > 10


def test_a_text_keeps_its_pairs_of_surrogates() -> None:
    made = Document()
    made.set("markdown", "a 😀 b")
    made.set("markdown", "a 😁 b")
    assert made.read("text") == "a 😁 b"


def test_an_empty_node_is_no_rich_text() -> None:
    assert Saying("markdown", "tiptap").of_blocks([]) == ()
    assert Saying("markdown", "tiptap").meaning().of(Node("map")) == ()
