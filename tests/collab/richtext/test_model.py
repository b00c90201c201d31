from __future__ import annotations

from collab.richtext.model import display_text, joined, node, plain_text, text, whole


def paragraph(*words: str) -> dict[str, object]:
    return node("paragraph", [text(word) for word in words])


def test_plain_text_has_a_line_for_each_block() -> None:
    row = [node("tableCell", [paragraph("a"), paragraph("b")]), node("tableCell", [paragraph("c")])]
    parts = [
        node("heading", [text("Title")], level=1),
        node("bulletList", [node("listItem", [paragraph("one"), paragraph("two")])]),
        paragraph(),
        node("paragraph", [text("x"), node("hardBreak"), node("mention", label="Ann"), node("image", src="/i")]),
        node("horizontalRule"),
        node("table", [node("tableRow", row)]),
        node("columns", [paragraph("inside")]),
    ]
    assert plain_text(parts) == "Title\none\ntwo\n\nx\n@Ann\na b\tc\ninside"


def test_adjacent_texts_with_equal_marks_are_one() -> None:
    parts = [text("a"), text("", {"bold": {}}), text("b"), text("c", {"bold": {}}), node("hardBreak"), text("d")]
    assert list(joined(parts)) == [text("ab"), text("c", {"bold": {}}), node("hardBreak"), text("d")]


def test_a_mention_shows_its_label_or_else_its_id() -> None:
    assert display_text(node("mention", label="Ann", id="1")) == "@Ann"
    assert display_text(node("mention", id="1", mentionSuggestionChar="#")) == "#1"
    assert display_text(node("mention", id=1)) == ""
    assert display_text(node("hardBreak")) == ""


def test_only_whole_numbers_of_a_reasonable_size_count() -> None:
    assert [whole(value, 7) for value in (3, "3", True, "x", 10**9, "9" * 20, 1.5, None)] == [3, 3, 7, 7, 7, 7, 7, 7]
