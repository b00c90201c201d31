"""What Markdown means."""

from __future__ import annotations

import pytest

from collab.errors import InvalidRequest
from collab.richtext.markdown_reader import read_markdown
from collab.richtext.model import RichNode, node, text


def paragraph(*inline: RichNode) -> RichNode:
    return node("paragraph", inline)


@pytest.mark.parametrize(
    ("markdown", "parts"),
    [
        ("", []),
        ("a\nb", [paragraph(text("a b"))]),
        ("a\\\nb", [paragraph(text("a"), node("hardBreak"), text("b"))]),
        ("Title\n=====", [node("heading", [text("Title")], level=1)]),
        ("**a *b***", [paragraph(text("a ", {"bold": {}}), text("b", {"bold": {}, "italic": {}}))]),
        ("~~a~~ `b`", [paragraph(text("a", {"strike": {}}), text(" "), text("b", {"code": {}}))]),
        ("<b>a</b> &amp; &#98;", [paragraph(text("<b>a</b> & b"))]),
        ("<script>a</script>", [paragraph(text("<script>a</script>"))]),
        ('[a](/b "c")', [paragraph(text("a", {"link": {"href": "/b", "title": "c"}}))]),
        ("![*a* b](/c)", [node("image", src="/c", alt="a b")]),
        ("a ![](/c)", [paragraph(text("a "), node("image", src="/c"))]),
        ("    code", [node("codeBlock", [text("code")])]),
        ("``` py title\n\n```", [node("codeBlock", language="py")]),
        ("---", [node("horizontalRule")]),
        ("> a", [node("blockquote", [paragraph(text("a"))])]),
        ("7) a", [node("orderedList", [node("listItem", [paragraph(text("a"))])], start=7)]),
        ("- [x] a", [node("taskList", [node("taskItem", [paragraph(text("a"))], checked=True)])]),
        ("- \\[x] a", [node("bulletList", [node("listItem", [paragraph(text("[x] a"))])])]),
        (
            "- [ ] a\n- b",
            [
                node("taskList", [node("taskItem", [paragraph(text("a"))], checked=False)]),
                node("bulletList", [node("listItem", [paragraph(text("b"))])]),
            ],
        ),
    ],
)
def test_markdown_is_read_as_commonmark_says(markdown: str, parts: list[RichNode]) -> None:
    assert read_markdown(markdown) == parts


def test_a_table_has_a_header_and_its_pipes_are_escaped() -> None:
    (table,) = read_markdown("| a | `b\\|c` |\n|---|:-:|\n| d |")
    assert [[cell["type"] for cell in row["content"]] for row in table["content"]] == [
        ["tableHeader", "tableHeader"],
        ["tableCell", "tableCell"],
    ]
    assert table["content"][0]["content"][1]["content"] == [paragraph(text("b|c", {"code": {}}))]


@pytest.mark.parametrize("address", ["javascript:alert(1)", "JaVaScRiPt:alert(1)", "data:text/html,a", "vbscript:a"])
def test_unsafe_addresses_are_no_links(address: str) -> None:
    for markdown in (f"[a]({address})", f"![a]({address})", f"<{address}>", f"[a][b]\n\n[b]: {address}"):
        for part in read_markdown(markdown):
            assert part["type"] == "paragraph"
            assert not any("marks" in inline for inline in part["content"])


@pytest.mark.parametrize("markdown", [">" * 99 + "end", "\n".join(f"{'  ' * n}- {n}" for n in range(49)) + " end"])
def test_deep_lists_and_quotes_are_read_whole(markdown: str) -> None:
    assert "end" in repr(read_markdown(markdown))


@pytest.mark.parametrize("markdown", [">" * 100 + "end", "\n".join(f"{'  ' * n}- {n}" for n in range(60)) + " end"])
def test_deeper_ones_are_an_error_instead_of_a_loss(markdown: str) -> None:
    with pytest.raises(InvalidRequest, match="nested more than 100 levels deep"):
        read_markdown(markdown)
