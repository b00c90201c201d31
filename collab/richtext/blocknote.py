"""BlockNote's documents: containers with one block and a group of nested ones. Items are blocks themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from collab.richtext.model import (
    INLINE,
    LISTS,
    RichNode,
    attrs_of,
    content_of,
    is_inline,
    level_of,
    node,
    string_of,
    text,
    whole,
    without_images,
)

_ITEMS = {
    "bulletListItem": "bulletList",
    "toggleListItem": "bulletList",
    "numberedListItem": "orderedList",
    "checkListItem": "taskList",
}
_LISTED = {"bulletList": "bulletListItem", "orderedList": "numberedListItem", "taskList": "checkListItem"}


def read_blocknote(parts: Sequence[RichNode]) -> list[RichNode]:
    """BlockNote's nodes, in ProseMirror's JSON, as rich text."""
    found: list[RichNode] = []
    for part in parts:
        for block in _read(part):
            last = found[-1] if found else None
            if last is not None and last["type"] == block["type"] in LISTS and "start" not in attrs_of(block):
                found[-1] = {**last, "content": [*content_of(last), *content_of(block)]}
            else:
                found.append(block)
    return found


def _read(part: RichNode) -> Iterator[RichNode]:
    name, attrs, content = part["type"], attrs_of(part), content_of(part)
    match name:
        case "blockGroup" | "columnList" | "column":
            yield from read_blocknote(content)
        case "blockContainer":
            yield from _container(content)
        case "tableParagraph":
            yield node("paragraph", content)
        case "quote":
            yield node("blockquote", [node("paragraph", content)])
        case "divider":
            yield node("horizontalRule")
        case "image":
            yield node("image", src=attrs.get("url"), alt=string_of(attrs.get("caption")))
        case "codeBlock":
            language = attrs.get("language")
            yield node("codeBlock", content, language=language if language != "text" else None)
        case _ if name in _ITEMS:
            yield _item(part, [])
        case _ if name in INLINE:
            yield part
        case _:
            yield {**part, "content": read_blocknote(content)} if content else part


def _container(content: Sequence[RichNode]) -> Iterator[RichNode]:
    if not content:
        return
    nested = read_blocknote(content[1:])
    if content[0]["type"] in _ITEMS:
        yield _item(content[0], nested)
    else:
        yield from _read(content[0])
        yield from nested


def _item(part: RichNode, nested: Sequence[RichNode]) -> RichNode:
    name = _ITEMS[part["type"]]
    attrs = attrs_of(part)
    inside = [node("paragraph", content_of(part)), *nested]
    if name == "taskList":
        return node(name, [node("taskItem", inside, checked=attrs.get("checked") is True)])
    start = whole(attrs.get("start"), 1) if name == "orderedList" else 1
    return node(name, [node("listItem", inside)], start=start if start != 1 else None)


def write_blocknote(parts: Sequence[RichNode], new_id: Callable[[], str]) -> list[RichNode]:
    """Rich text as the one group of a BlockNote document; ``new_id`` names its blocks."""
    return [node("blockGroup", list(_containers(parts, new_id)))]


def _containers(parts: Sequence[RichNode], new_id: Callable[[], str]) -> Iterator[RichNode]:
    def container(block: RichNode, nested: Sequence[RichNode] = ()) -> RichNode:
        group = list(_containers(nested, new_id))
        return node("blockContainer", [block, *([node("blockGroup", group)] if group else [])], id=new_id())

    for part in parts:
        name, attrs, content = part["type"], attrs_of(part), content_of(part)
        match name:
            case "paragraph":
                for block in without_images(part):
                    yield container(block if block["type"] == "paragraph" else _image(block))
            case "heading":
                yield container(node("heading", _inline(content), level=level_of(part)))
            case "bulletList" | "orderedList" | "taskList":
                for n, item in enumerate(content):
                    blocks = content_of(item)
                    has_text = bool(blocks) and blocks[0]["type"] == "paragraph"
                    start = whole(attrs.get("start"), 1) if name == "orderedList" and not n else 1
                    block = node(
                        _LISTED[name],
                        _inline(content_of(blocks[0])) if has_text else [],
                        checked=attrs_of(item).get("checked") is True if name == "taskList" else None,
                        start=start if start != 1 else None,
                    )
                    yield container(block, blocks[1:] if has_text else blocks)
            case "blockquote":
                for block in content:
                    if block["type"] in ("paragraph", "heading"):
                        yield container(node("quote", _inline(content_of(block))))
                    else:
                        yield from _containers([block], new_id)
            case "codeBlock":
                yield container(node("codeBlock", content, language=string_of(attrs.get("language")) or "text"))
            case "horizontalRule":
                yield container(node("divider"))
            case "image":
                yield container(_image(part))
            case "table":
                yield container(node("table", [node("tableRow", list(_cells(row))) for row in content]))
            case _ if name in INLINE:
                yield container(node("paragraph", [part]))
            case _:
                yield from _containers(content, new_id)


def _image(part: RichNode) -> RichNode:
    attrs = attrs_of(part)
    return node("image", url=attrs.get("src"), caption=string_of(attrs.get("alt")))


def _inline(content: Sequence[RichNode]) -> list[RichNode]:
    return [part for part in content if is_inline(part)]


def _cells(row: RichNode) -> Iterator[RichNode]:
    for cell in content_of(row):
        inside: list[RichNode] = []
        for block in content_of(cell):
            inline = _inline(content_of(block))
            inside += [text(" "), *inline] if inside and inline else inline
        attrs = {name: value for name, value in attrs_of(cell).items() if name in ("colspan", "rowspan")}
        yield node(cell["type"], [node("tableParagraph", inside)], **attrs)
