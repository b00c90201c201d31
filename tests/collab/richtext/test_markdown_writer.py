"""Markdown that a parser of CommonMark reads as what was written."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from collab.richtext.markdown_reader import read_markdown
from collab.richtext.markdown_writer import write_markdown
from collab.richtext.model import RichNode, joined, node, plain_text, text
from collab.richtext.setting import Saying
from tests.collab.richtext.documents import DOCUMENTS
from tests.collab.richtext.hostile import HOSTILE, assert_harmless

MARKS = [chosen for size in range(4) for chosen in combinations(("bold", "italic", "strike"), size)]


def said(parts: list[RichNode]) -> object:
    return Saying("markdown", "tiptap").wanted_blocks(parts)


@settings(max_examples=60, deadline=None)
@given(DOCUMENTS)
def test_a_parser_reads_what_was_written(parts: list[RichNode]) -> None:
    assert said(read_markdown(write_markdown(parts))) == said(parts)


@settings(max_examples=150, deadline=None)
@given(st.lists(HOSTILE, max_size=3))
def test_no_document_makes_markdown_that_a_lenient_renderer_turns_into_more(parts: list[dict[str, Any]]) -> None:
    renderer = MarkdownIt("commonmark").enable(["table", "strikethrough"])  # lets HTML through
    vars(renderer)["validateLink"] = lambda address: True
    assert_harmless(renderer.render(write_markdown(parts)))


@pytest.mark.parametrize(
    ("inline", "markdown"),
    [
        ([text(" a "), text(" b ", {"bold": {}}), text("c")], "a  **b** c\n"),
        ([text("a"), text("“b”", {"bold": {}}), text("c")], "&#97;**“b”**&#99;\n"),
        ([text("a", {"bold": {}}), text("b", {"bold": {}, "italic": {}})], "**a*b***\n"),
        ([text("a b ", {"italic": {}}), text("c", {"bold": {}, "italic": {}})], "*a b **c***\n"),
        ([text("a"), text("b", {"bold": {}, "strike": {}}), text("c")], "&#97;**~~b~~**&#99;\n"),
        ([text("# 1. - > a")], "\\# 1. - \\> a\n"),
        ([text("1. a")], "1\\. a\n"),
        ([text("a!"), text("b", {"link": {"href": "/x"}})], "a\\![b](/x)\n"),
        ([text("`a``", {"code": {}})], "``` `a`` ```\n"),
        ([text("a", {"link": {"href": "/x (y)", "title": 'q"'}})], '[a](/x%20\\(y\\) "q\\"")\n'),
        ([text("a", {"link": {"href": "javascript:a"}, "underline": {}})], "a\n"),
        ([node("hardBreak"), text("a"), node("hardBreak"), text(" b"), node("hardBreak")], "a\\\nb\n"),
        ([node("mention", label="Ann_"), node("image", src="data:text/html,a")], "@Ann\\_\n"),
    ],
)
def test_inline_nodes_are_written_so_that_they_mean_themselves(inline: list[RichNode], markdown: str) -> None:
    assert write_markdown([node("paragraph", inline)]) == markdown


def test_a_wide_row_makes_others_no_longer() -> None:
    rows = [node("tableRow", [node("tableCell", [node("paragraph", [text("a")])])] * size) for size in (1, 3, 1)]
    written = write_markdown([node("table", rows)])
    assert written == "| a |  |  |\n| --- | --- | --- |\n| a | a | a |\n| a |\n"
    assert [len(row["content"]) for row in read_markdown(written)[0]["content"]] == [3, 3, 3]


def test_words_with_any_marks_are_read_with_the_same() -> None:
    for chosen in product(MARKS, repeat=3):
        words = zip(("a ", "b ", "c"), chosen, strict=True)
        written = write_markdown(
            [node("paragraph", [text(word, {name: {} for name in marks}) for word, marks in words])]
        )
        again = read_markdown(written)
        assert plain_text(again) == "a b c"
        assert write_markdown(again) == written


@pytest.mark.parametrize("characters", ["abc", "a(c", ".b.", "(b)", "..."])
@pytest.mark.parametrize(("before", "after"), [("", ""), ("x", "y"), (".", "."), ("x ", " y")])
def test_characters_with_any_marks_are_read_with_the_same(characters: str, before: str, after: str) -> None:
    for chosen in product(MARKS, repeat=3):
        inside = [text(each, {name: {} for name in marks}) for each, marks in zip(characters, chosen, strict=True)]
        parts = [node("paragraph", list(joined([text(before), *inside, text(after)])))]
        assert said(read_markdown(write_markdown(parts))) == said(parts)


def test_a_list_that_begins_with_a_list_at_each_level_is_written_without_doubled_work() -> None:
    part = node("paragraph", [text("end")])
    for n in range(120):
        inside = [part] if n % 2 else [node("paragraph", [text("a")]), part]
        part = node("bulletList", [node("listItem", inside)])
    assert write_markdown([part]).count("end") == 1


def test_lists_that_follow_each_other_stay_apart() -> None:
    def bullets(*words: str) -> RichNode:
        return node("bulletList", [node("listItem", [node("paragraph", [text(word)])]) for word in words])

    assert write_markdown([bullets("a", "b"), bullets("c"), node("horizontalRule")]) == "- a\n- b\n\n* c\n\n___\n"
