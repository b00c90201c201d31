"""HTML that may be shown as it is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collab.richtext.html_reader import read_html
from collab.richtext.html_writer import write_html
from collab.richtext.model import RichNode, node, text
from collab.richtext.setting import Saying
from tests.collab.richtext.documents import DOCUMENTS
from tests.collab.richtext.hostile import HOSTILE, assert_harmless

LINK = {"link": {"href": "/b?c&d"}}


@settings(max_examples=60, deadline=None)
@given(DOCUMENTS)
def test_what_was_written_is_read_as_the_same(parts: list[RichNode]) -> None:
    said = Saying("html", "tiptap").wanted_blocks
    assert said(read_html(write_html(parts))) == said(parts)


@settings(max_examples=150, deadline=None)
@given(st.lists(HOSTILE, max_size=3))
def test_no_document_makes_other_elements_or_addresses_that_run(parts: list[dict[str, Any]]) -> None:
    assert_harmless(write_html(parts))


@pytest.mark.parametrize(
    ("part", "html"),
    [
        (node("paragraph", [text('<b> & "c"')]), '<p>&lt;b&gt; &amp; "c"</p>'),
        (node("paragraph", [text("a", {"link": {"href": "javascript:a"}})]), "<p>a</p>"),
        (
            node(
                "paragraph",
                [text("a", {"link": {"href": "/b?c&d"}}), text("e", {"link": {"href": "/b?c&d"}, "bold": {}})],
            ),
            '<p><a href="/b?c&amp;d">a<strong>e</strong></a></p>',
        ),
        (node("image", src="data:text/html,a"), ""),
        (node("codeBlock", [text("a<b")], language='"x'), '<pre><code class="language-&quot;x">a&lt;b</code></pre>'),
        (node("mention", label="Ann"), "@Ann"),
        (node("tableCell", [], colspan=2, rowspan=10**7), '<td colspan="2"></td>'),
    ],
)
def test_nodes_are_written_as_elements(part: RichNode, html: str) -> None:
    assert write_html([part]) == html
