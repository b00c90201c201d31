"""Rich text as Markdown: CommonMark 0.31, with GitHub's tables, task lists and strikethrough."""

from __future__ import annotations

import re
from collections.abc import Sequence

from collab.richtext.inline_markdown import image_markdown, inline_markdown
from collab.richtext.model import (
    INLINE,
    LISTS,
    RichNode,
    attrs_of,
    content_of,
    grouped,
    level_of,
    plain_text,
    string_of,
    whole,
)

_FENCE = re.compile(r"^ {0,3}(`{3,})", re.MULTILINE)
_NO_LANGUAGE = re.compile(r"[^\w+#.-]")


def write_markdown(parts: Sequence[RichNode]) -> str:
    """Blocks as Markdown that ends with a line break, unless it is empty."""
    written = _blocks(parts)
    return f"{written}\n" if written else ""


def _blocks(parts: Sequence[RichNode]) -> str:
    written: list[str] = []
    last, turn = "", 0
    for part in grouped(parts):
        name = part["type"]
        turn = (turn + 1) % 2 if _is_same_list(name, last) else 0
        block = _block(part, turn)
        if block is None:
            continue
        written.append(block)
        last = name
    return "\n\n".join(written)


def _is_same_list(name: str, last: str) -> bool:
    """Whether Markdown would join two lists. Task lists are bullet lists there."""
    if name not in LISTS or last not in LISTS:
        return False
    return (name == "orderedList") == (last == "orderedList")


def _block(part: RichNode, turn: int) -> str | None:
    """One block; ``None`` if there is nothing to say."""
    content = content_of(part)
    match part["type"]:
        case "paragraph":
            return inline_markdown(content) or None
        case "heading":
            shown = inline_markdown(content, one_line=True)
            shown = re.sub(r"(#+)$", r"\\\1", shown) if re.search(r"(^|\s)#+$", shown) else shown
            return f"{'#' * level_of(part)} {shown}".rstrip()
        case "bulletList" | "orderedList" | "taskList":
            return _list(part, turn)
        case "blockquote":
            return _indented(_blocks(content), "> ", "> ")
        case "codeBlock":
            return _code(part)
        case "horizontalRule":
            return "___"
        case "image":
            return image_markdown(part) or None
        case "table":
            return _table(content)
        case _:
            return _blocks(content) or None


def _list(part: RichNode, turn: int) -> str | None:
    items = [item for item in content_of(part) if item["type"] in ("listItem", "taskItem")]
    if not items:
        return None
    is_tight = all(_is_tight(item) for item in items)
    number = max(0, whole(attrs_of(part).get("start"), 1))
    written = []
    for n, item in enumerate(items):
        sign = f"{min(number + n, 999_999_999)}{'.)'[turn]} " if part["type"] == "orderedList" else f"{'-*'[turn]} "
        box = ""
        if item["type"] == "taskItem":
            box = "[x] " if attrs_of(item).get("checked") is True else "[ ] "
        inside = [block for block in grouped(content_of(item)) if block["type"] != "paragraph" or _block(block, 0)]
        text = _tight(inside) if is_tight else _blocks(inside)
        if box and inside and inside[0]["type"] != "paragraph":
            text = f"\n\n{text}"
        written.append(_indented(box + text, sign, " " * len(sign)))
    return ("\n" if is_tight else "\n\n").join(written)


def _is_tight(item: RichNode) -> bool:
    """Whether an item is a paragraph, possibly with a list below that may interrupt a paragraph (CommonMark, 5.2)."""
    content = content_of(item)
    if not content or content[0]["type"] != "paragraph":
        return not content
    return len(content) == 1 or (len(content) == 2 and content[1]["type"] in LISTS and _may_interrupt(content[1]))


def _may_interrupt(part: RichNode) -> bool:
    items = content_of(part)
    first = content_of(items[0])[:1] if items else []
    # an item that begins with another block is not tight, and writing that here would double the work at each level
    begins = bool(first) and first[0]["type"] == "paragraph" and _block(first[0], 0) is not None
    starts = part["type"] != "orderedList" or whole(attrs_of(part).get("start"), 1) == 1
    return begins and starts and all(_is_tight(item) for item in items)


def _tight(parts: Sequence[RichNode]) -> str:
    return "\n".join(block for block in (_block(part, 0) for part in parts) if block is not None)


def _indented(text: str, first: str, rest: str) -> str:
    lines = text.split("\n")
    return "\n".join(
        (f"{rest if n else first}{line}" if line else (rest if n else first).rstrip()) for n, line in enumerate(lines)
    )


def _code(part: RichNode) -> str:
    code = plain_text(content_of(part))
    longest = max((len(found) for found in _FENCE.findall(code)), default=2)
    fence = "`" * (longest + 1)
    language = _NO_LANGUAGE.sub("", string_of(attrs_of(part).get("language")) or "")
    return f"{fence}{language}\n{code}\n{fence}" if code else f"{fence}{language}\n{fence}"


def _table(rows: Sequence[RichNode]) -> str | None:
    """A table; its first row becomes the header."""
    cells = [[_cell(cell) for cell in content_of(row)] for row in rows]
    width = max(map(len, cells), default=0)
    if not width:
        return None
    cells[0] += [""] * (width - len(cells[0]))  # others may be shorter: a wide one would multiply them
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join([lines[0], "|" + " --- |" * width, *lines[1:]])


def _cell(cell: RichNode) -> str:
    shown = []
    for block in content_of(cell):
        inline = content_of(block) if block["type"] != "codeBlock" else [{"type": "text", "text": plain_text([block])}]
        if inline and inline[0]["type"] not in INLINE and inline[0]["type"] != "image":
            inline = [{"type": "text", "text": plain_text([block])}]
        shown.append(
            inline_markdown([block] if block["type"] in (*INLINE, "image") else inline, one_line=True, in_cell=True)
        )
    return " ".join(filter(None, shown))
