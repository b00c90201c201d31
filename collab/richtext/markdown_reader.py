"""Markdown as rich text: CommonMark, with GitHub's tables, task lists and strikethrough. HTML in it is text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markdown_it.tree import SyntaxTreeNode

from collab.errors import InvalidRequest
from collab.richtext.addresses import safe_image, safe_link
from collab.richtext.model import Marks, RichNode, joined, node, text

_MARKS = {"strong": "bold", "em": "italic", "s": "strike"}
_DEPTH = 100  # of lists and quotes, and of their items
_CONTAINERS = frozenset({"blockquote_open", "list_item_open"})
_BOX = re.compile(r"\[([ xX])\](?:[ \t]|$)")


def read_markdown(markdown: str) -> list[RichNode]:
    """The blocks of a Markdown text. Raises :class:`InvalidRequest` if they are nested too deeply."""
    parser = (
        MarkdownIt("commonmark", {"html": False, "maxNesting": _DEPTH})
        .enable(["table", "strikethrough"])
        .disable("text_join")
    )
    parser.validateLink = _is_safe  # type: ignore[assignment,method-assign]
    parser.normalizeLink = str  # type: ignore[assignment,method-assign]
    tokens = parser.parse(markdown)
    if any(map(_is_cut, tokens)):
        raise InvalidRequest(f"lists and quotes are nested more than {_DEPTH} levels deep")
    return _blocks(SyntaxTreeNode(tokens).children)


def _is_cut(token: Token) -> bool:
    """Whether the parser left out what is inside, in silence."""
    return token.type in _CONTAINERS and token.level + 1 >= _DEPTH


def _is_safe(address: str) -> bool:
    return safe_link(address) is not None or safe_image(address) is not None


def _blocks(parts: Sequence[SyntaxTreeNode]) -> list[RichNode]:
    return [block for part in parts for block in _block(part)]


def _block(part: SyntaxTreeNode) -> Iterator[RichNode]:
    match part.type:
        case "paragraph":
            inline = _inline(part)
            if inline and all(each["type"] == "image" for each in inline):
                yield from inline
            elif inline:
                yield node("paragraph", inline)
        case "heading":
            yield node("heading", _inline(part), level=int(part.tag[1:]))
        case "bullet_list":
            yield from _list(part)
        case "ordered_list":
            start = part.attrs.get("start")
            yield node("orderedList", _items(part), start=int(start) if start is not None else 1)
        case "blockquote":
            yield node("blockquote", _blocks(part.children))
        case "fence" | "code_block":
            code = part.content.removesuffix("\n")
            language = part.info.split()[0] if part.info.strip() else None
            yield node("codeBlock", [text(code)] if code else [], language=language)
        case "hr":
            yield node("horizontalRule")
        case "table":
            yield node("table", [_row(row) for group in part.children for row in group.children])
        case _:
            yield from _blocks(part.children)


def _items(part: SyntaxTreeNode) -> list[RichNode]:
    return [node("listItem", _item(item)) for item in part.children]


def _item(item: SyntaxTreeNode) -> list[RichNode]:
    """The blocks of a list item. Beginning with an image, it has a paragraph around that: items begin with one."""
    blocks = _blocks(item.children)
    if blocks and blocks[0]["type"] == "image":
        blocks[0] = node("paragraph", [blocks[0]])
    return blocks


def _list(part: SyntaxTreeNode) -> Iterator[RichNode]:
    """A bullet list; its items with a box form task lists."""
    items: list[RichNode] = []
    is_tasks = False
    for item in part.children:
        made = _task(item) or node("listItem", _item(item))
        if items and (made["type"] == "taskItem") != is_tasks:
            yield node("taskList" if is_tasks else "bulletList", items)
            items = []
        is_tasks = made["type"] == "taskItem"
        items.append(made)
    if items:
        yield node("taskList" if is_tasks else "bulletList", items)


def _task(item: SyntaxTreeNode) -> RichNode | None:
    first = item.children[0] if item.children else None
    parts = first.children[0].children if first is not None and first.type == "paragraph" and first.children else []
    box = _BOX.match(parts[0].content) if parts and parts[0].type == "text" else None
    if box is None:
        return None
    rest = list(joined([text(parts[0].content[box.end() :].lstrip(" \t")), *_parts(parts[1:], {})]))
    blocks = _blocks(item.children[1:])
    return node("taskItem", [node("paragraph", rest), *blocks] if rest or blocks else [], checked=box[1] != " ")


def _characters(part: SyntaxTreeNode) -> str:
    """The characters of a description."""
    return part.content if not part.children else "".join(map(_characters, part.children))


def _row(row: SyntaxTreeNode) -> RichNode:
    return node(
        "tableRow",
        [
            node("tableHeader" if cell.tag == "th" else "tableCell", [node("paragraph", _inline(cell))])
            for cell in row.children
        ],
    )


def _inline(part: SyntaxTreeNode) -> list[RichNode]:
    found: list[RichNode] = []
    for inline in part.children:
        found += _parts(inline.children, {})
    return list(joined(found))


def _parts(parts: Sequence[SyntaxTreeNode], marks: Marks) -> Iterator[RichNode]:
    for part in parts:
        match part.type:
            case "text" | "text_special":
                yield text(part.content, marks)
            case "code_inline":
                yield text(part.content, {**marks, "code": {}})
            case "softbreak":
                yield text(" ", marks)
            case "hardbreak":
                yield node("hardBreak")
            case "link":
                href, title = safe_link(part.attrs.get("href")), part.attrs.get("title")
                link = {"link": {"href": href, **({"title": title} if title else {})}} if href is not None else {}
                yield from _parts(part.children, {**marks, **link})
            case "image":
                source = safe_image(part.attrs.get("src"))
                if source is not None:
                    yield node(
                        "image", src=source, alt=_characters(part) or None, title=part.attrs.get("title") or None
                    )
                else:
                    yield text(_characters(part), marks)
            case _:
                mark: Marks = {_MARKS[part.type]: {}} if part.type in _MARKS else {}
                yield from _parts(part.children, {**marks, **mark})
