"""HTML that may be shown as it is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from collab.richtext.html_reader import read_html
from collab.richtext.html_writer import write_html
from collab.richtext.model import RichNode, node, text
from collab.richtext.setting import Saying
from tests.collab.richtext.documents import DOCUMENTS

LINK = {"link": {"href": "/b?c&d"}}
EVIL = "\"><script>alert(1)</script><img src=x onerror=alert(1)> ' javascript:alert(1)"
TAGS = frozenset(
    {
        *("html", "head", "body", "p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote"),
        *("pre", "code", "hr", "br", "img", "table", "tbody", "tr", "th", "td", "a", "strong", "em", "u"),
        *("s", "sub", "sup", "mark"),
    }
)


@settings(max_examples=60, deadline=None)
@given(DOCUMENTS)
def test_what_was_written_is_read_as_the_same(parts: list[RichNode]) -> None:
    said = Saying("html", "tiptap").wanted_blocks
    assert said(read_html(write_html(parts))) == said(parts)


VALUES = st.sampled_from([EVIL, "javascript:alert(1)", "data:text/html,a", 1, None, [EVIL], {"a": EVIL}, True])
NAMES = st.sampled_from(
    [
        *("paragraph", "heading", "bulletList", "orderedList", "taskList", "listItem", "taskItem", "blockquote"),
        *(
            "codeBlock",
            "hardBreak",
            "image",
            "table",
            "tableRow",
            "tableCell",
            "tableHeader",
            "mention",
            "iframe",
            EVIL,
        ),
    ]
)
ATTRS = st.dictionaries(
    st.sampled_from(["href", "src", "alt", "title", "level", "start", "language", "checked", "colspan", "label", EVIL]),
    VALUES,
)
MARKS = st.lists(
    st.builds(
        lambda name, attrs: {"type": name, "attrs": attrs},
        st.sampled_from(["link", "bold", "code", "highlight", EVIL]),
        ATTRS,
    ),
    max_size=2,
)
LEAVES = st.builds(lambda marks: {"type": "text", "text": EVIL, "marks": marks}, MARKS)
HOSTILE = st.recursive(
    LEAVES,
    lambda inner: st.builds(
        lambda name, attrs, content: {"type": name, "attrs": attrs, "content": content},
        NAMES,
        ATTRS,
        st.lists(inner, max_size=3),
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(HOSTILE, max_size=3))
def test_no_document_makes_other_elements_or_addresses_that_run(parts: list[dict[str, Any]]) -> None:
    root = LexborHTMLParser(write_html(parts)).root
    assert root is not None
    for element in root.traverse():
        assert element.tag in TAGS
        for name, value in element.attributes.items():
            assert name in {"href", "src", "alt", "title", "start", "class", "colspan", "rowspan", "data-type"} | {
                "data-checked"
            }
            assert name not in ("href", "src") or not str(value).lower().startswith(("javascript:", "data:"))


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
