"""What HTML means as rich text."""

from __future__ import annotations

import pytest

from collab.errors import InvalidRequest
from collab.richtext.html_reader import read_html
from collab.richtext.model import RichNode, node, text


def item(*content: RichNode) -> RichNode:
    return node("listItem", content)


def paragraph(*inline: RichNode) -> RichNode:
    return node("paragraph", inline)


INNER = node("bulletList", [item(paragraph(text("b")))])
LINKED = {"link": {"href": "/x", "title": "y"}, "italic": {}}
CELLS = [node("tableHeader", [paragraph(text("a"))]), node("tableCell", [paragraph(text("b"))], colspan=2)]


@pytest.mark.parametrize(
    ("html", "parts"),
    [
        ("", []),
        ("a <b>b</b>", [paragraph(text("a "), text("b", {"bold": {}}))]),
        ("<p> a\n  b </p> <p></p>", [paragraph(text("a b")), node("paragraph")]),
        ("<div>a<p>b</p>c</div>", [paragraph(text("a")), paragraph(text("b")), paragraph(text("c"))]),
        ("<b>a<p>b</p></b>", [paragraph(text("a", {"bold": {}})), paragraph(text("b"))]),
        ("a<form>b</form>", [paragraph(text("a")), paragraph(text("b"))]),
        ("<i>a<dialog>b</dialog></i>", [paragraph(text("a", {"italic": {}})), paragraph(text("b"))]),
        ("<h3>a<form>b</form></h3>", [node("heading", [text("a b")], level=3)]),
        ("a<br> b", [paragraph(text("a"), node("hardBreak"), text("b"))]),
        ("<a href='/x' title=y><i>a</i></a>", [paragraph(text("a", LINKED))]),
        (
            "<ul><li>a<ul><li>b</ul></ul>",
            [node("bulletList", [item(paragraph(text("a")), INNER)])],
        ),
        ("<ol start=3><li>a</ol>", [node("orderedList", [node("listItem", [paragraph(text("a"))])], start=3)]),
        ("<pre><code class='a language-js'>x\n y\n</code></pre>", [node("codeBlock", [text("x\n y")], language="js")]),
        ("<h2>a <em>b</em></h2>", [node("heading", [text("a "), text("b", {"italic": {}})], level=2)]),
        ("<pre>a<br>b</pre>", [node("codeBlock", [text("a\nb")])]),
        ("<h1><p>a</p><p>b</p></h1>", [node("heading", [text("a b")], level=1)]),
        ("<ul>a<li>b</ul>", [node("bulletList", [item(paragraph(text("a"))), item(paragraph(text("b")))])]),
        ("<ul><div><li>b</div></ul>", [node("bulletList", [item(paragraph(text("b")))])]),
        ("<ul><ul><li>b</ul></ul>", [node("bulletList", [item(INNER)])]),
        (
            "<table><caption>a</caption><tr><th>a<td colspan=2>b</table>",
            [paragraph(text("a")), node("table", [node("tableRow", CELLS)])],
        ),
        ("<img src=/i alt=b>", [node("image", src="/i", alt="b")]),
        ("<table><tr><th>a<td colspan=2>b</table>", [node("table", [node("tableRow", CELLS)])]),
    ],
)
def test_html_is_read_as_browsers_show_it(html: str, parts: list[RichNode]) -> None:
    assert read_html(html) == parts


@pytest.mark.parametrize(
    "html",
    [
        "<script>alert(1)</script>",
        "<style>p {}</style>",
        "<iframe src=//x></iframe>",
        "<svg><a xlink:href='javascript:alert(1)'>x</a></svg>",
        "<math><mtext>x</mtext></math>",
        "<template><p>x</p></template>",
        "<img src=javascript:alert(1)>",
        "<!-- x -->",
        "<title>x</title>",
    ],
)
def test_what_is_not_rich_text_is_left_out(html: str) -> None:
    assert read_html(html) == []


def test_unsafe_addresses_are_no_links() -> None:
    for address in ("javascript:alert(1)", "&#106;avascript:alert(1)", "java&Tab;script:alert(1)", "data:text/html,a"):
        assert read_html(f'<a href="{address}" onclick="alert(1)">a</a>') == [paragraph(text("a"))]


def test_elements_that_are_nested_too_deeply_are_an_error_instead_of_a_loss() -> None:
    assert read_html("<div>" * 150 + "a") == [paragraph(text("a"))]
    for tag in ("<div>", "<b>"):
        with pytest.raises(InvalidRequest, match="nested more than 200 levels deep"):
            read_html(tag * 300 + "a")
