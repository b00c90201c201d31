"""Markdown that a parser of CommonMark reads as what was written."""

from __future__ import annotations

from hypothesis import given

from collab.richtext.markdown_reader import read_markdown
from collab.richtext.markdown_writer import write_markdown
from collab.richtext.model import RichNode
from collab.richtext.setting import Saying
from tests.collab.richtext.documents import DOCUMENTS


def said(parts: list[RichNode]) -> object:
    return Saying("markdown", "tiptap").wanted_blocks(parts)


@given(DOCUMENTS)
def test_a_parser_reads_what_was_written(parts: list[RichNode]) -> None:
    assert said(read_markdown(write_markdown(parts))) == said(parts)
