"""Lexical's documents in Yjs: texts inside texts. Attributes ``__…`` say what each is; a map begins a run of
characters.

Facts: https://github.com/facebook/lexical ``packages/lexical-yjs/src/Collab*.ts``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from collab.contents.tree import Embed, Node, Run
from collab.errors import InvalidRequest
from collab.richtext.model import (
    Marks,
    RichNode,
    attrs_of,
    content_of,
    display_text,
    grouped,
    joined,
    level_of,
    marks_of,
    node,
    plain_text,
    string_of,
    text,
    whole,
)

FORMATS = {
    "bold": 1,
    "italic": 2,
    "strike": 4,
    "underline": 8,
    "code": 16,
    "subscript": 32,
    "superscript": 64,
    "highlight": 128,
}
"""Marks, as bits of a run's ``__format``."""
_LINKS = frozenset({"link", "autolink"})
_LISTS = {"bulletList": "bullet", "orderedList": "number", "taskList": "check"}
_TEXT: Mapping[str, Any] = {"__style": "", "__mode": 0, "__detail": 0}
_BLOCK: Mapping[str, Any] = {"__format": 0, "__style": "", "__indent": 0}


def type_of(value: Any) -> str:
    """What Lexical calls a node."""
    found = value.entries.get("__type") if isinstance(value, Node) else None
    return found if isinstance(found, str) else ""


def read_lexical(children: Sequence[Run | Embed]) -> list[RichNode]:
    """The children of the root, or of an element, as rich text."""
    found: list[RichNode] = []
    inline: list[Run | Embed] = []
    for child in children:
        if isinstance(child, Run) or _is_inline(child.value):
            inline.append(child)
            continue
        found += _inline(inline, {})
        inline = []
        found += _block(child.value)
    return list(joined([*found, *_inline(inline, {})]))


def _is_inline(value: Any) -> bool:
    return isinstance(value, Node) and (value.kind == "map" or type_of(value) in _LINKS)


def _inline(children: Sequence[Run | Embed], marks: Marks) -> Iterator[RichNode]:
    current: Marks = dict(marks)
    for child in children:
        if isinstance(child, Run):
            yield text(child.text, current)
            continue
        value = child.value
        if not isinstance(value, Node):
            continue
        if value.kind == "map":
            if type_of(value) == "linebreak":
                yield node("hardBreak")
                continue
            bits = whole(value.entries.get("__format"), 0)
            current = {**marks, **{name: {} for name, bit in FORMATS.items() if bits & bit}}
        elif type_of(value) in _LINKS:
            link = {"href": value.entries.get("__url"), "title": value.entries.get("__title")}
            known = {name: attr for name, attr in link.items() if isinstance(attr, str)}
            yield from _inline(value.children, {**marks, "link": known})
        else:
            yield from _inline(value.children, marks)


def _block(value: Any) -> Iterator[RichNode]:
    if not isinstance(value, Node):
        return
    match type_of(value):
        case "paragraph":
            yield node("paragraph", read_lexical(value.children))
        case "heading":
            tag = value.entries.get("__tag")
            level = int(tag[1]) if isinstance(tag, str) and tag in ("h1", "h2", "h3", "h4", "h5", "h6") else 1
            yield node("heading", read_lexical(value.children), level=level)
        case "quote":
            yield node("blockquote", _blocks(value))
        case "list":
            yield _list(value)
        case "listitem":
            yield _item(value, "listItem")
        case "code":
            code = plain_text(read_lexical(value.children))
            yield node("codeBlock", [text(code)] if code else [], language=string_of(value.entries.get("__language")))
        case "horizontalrule":
            yield node("horizontalRule")
        case "image":
            source = string_of(value.entries.get("__src"))
            yield node("image", src=source, alt=string_of(value.entries.get("__altText")))
        case "table":
            yield node("table", read_lexical(value.children))
        case "tablerow":
            yield node("tableRow", read_lexical(value.children))
        case "tablecell":
            is_header = whole(value.entries.get("__headerState"), 0) > 0
            yield node("tableHeader" if is_header else "tableCell", _blocks(value))
        case _:
            yield from read_lexical(value.children)


def _blocks(value: Node) -> list[RichNode]:
    """The children of an element as blocks, of which there is at least one."""
    return grouped(read_lexical(value.children)) or [node("paragraph")]


def _list(value: Node) -> RichNode:
    kind = value.entries.get("__listType")
    name = next((name for name, each in _LISTS.items() if each == kind), "bulletList")
    items: list[RichNode] = []
    for child in value.children:
        if isinstance(child, Run) or not isinstance(child.value, Node):
            continue
        item = _item(child.value, "taskItem" if name == "taskList" else "listItem")
        if items and content_of(item) and _is_nesting(child.value):
            items[-1] = {**items[-1], "content": [*content_of(items[-1]), *content_of(item)]}
        else:
            items.append(item)
    start = whole(value.entries.get("__start"), 1)
    return node(name, items, start=start if name == "orderedList" and start != 1 else None)


def _is_nesting(item: Node) -> bool:
    """Whether an item has nothing but a list: that of the item before it."""
    return bool(item.children) and all(isinstance(c, Embed) and type_of(c.value) == "list" for c in item.children)


def _item(value: Node, name: str) -> RichNode:
    inside = read_lexical(value.children) if _is_nesting(value) else _blocks(value)
    checked = value.entries.get("__checked") is True if name == "taskItem" else None
    return node(name, inside, checked=checked)


def types_in(children: Sequence[Run | Embed]) -> set[str]:
    """The types of all nodes."""
    found: set[str] = set()
    for child in children:
        if isinstance(child, Embed) and isinstance(child.value, Node):
            found |= {type_of(child.value)} | types_in(child.value.children)
    return found


def write_lexical(parts: Sequence[RichNode], known: Collection[str]) -> list[Run | Embed]:
    """Rich text as children of the root.

    An editor fails on types of nodes that it does not know, so images, tables and rules are written only if ``known``,
    the types in the document, has them; else this raises :class:`InvalidRequest`.
    """
    return [child for part in parts for child in _write(part, known)]


def _write(part: RichNode, known: Collection[str]) -> Iterator[Run | Embed]:
    name, attrs, content = part["type"], attrs_of(part), content_of(part)
    match name:
        case "paragraph":
            yield _element("paragraph", list(_write_inline(content, known)))
        case "heading":
            yield _element("heading", list(_write_inline(content, known)), __tag=f"h{level_of(part)}")
        case "blockquote":
            yield from _write_quote(content, known)
        case "bulletList" | "orderedList" | "taskList":
            yield _write_list(part, known)
        case "codeBlock":
            yield _element("code", list(_write_code(plain_text(content))), __language=string_of(attrs.get("language")))
        case "horizontalRule":
            yield _decorator("horizontalrule", known)
        case "image":
            yield _element("paragraph", list(_write_part(part, known)))
        case "table":
            _require("table", known)
            yield _element("table", write_lexical(content, known))
        case "tableRow":
            yield _element("tablerow", write_lexical(content, known))
        case "tableHeader" | "tableCell":
            state = 1 if name == "tableHeader" else 0
            yield _element("tablecell", write_lexical(content, known), __headerState=state, __colSpan=1, __rowSpan=1)
        case _:
            yield from write_lexical(content, known)


def _write_quote(content: Sequence[RichNode], known: Collection[str]) -> Iterator[Run | Embed]:
    """A quote of Lexical has no blocks inside: each paragraph is one."""
    for block in content:
        if block["type"] in ("paragraph", "heading"):
            yield _element("quote", list(_write_inline(content_of(block), known)))
        else:
            yield from _write(block, known)


def _write_list(part: RichNode, known: Collection[str]) -> Embed:
    name = part["type"]
    start = whole(attrs_of(part).get("start"), 1) if name == "orderedList" else 1
    children: list[Run | Embed] = []
    value = start
    for item in content_of(part):
        inside = content_of(item)
        inline: list[Run | Embed] = []
        nested: list[Embed] = []
        for block in inside:
            if block["type"] in _LISTS:
                nested.append(_write_list(block, known))
                continue
            if inline:
                inline.append(_linebreak())
            is_text = block["type"] in ("paragraph", "heading")
            inline += _write_inline(content_of(block) if is_text else [text(plain_text([block]))], known)
        checked = {"__checked": attrs_of(item).get("checked") is True} if name == "taskList" else {}
        children.append(_element("listitem", inline, __value=value, **checked))
        value += 1
        children += (_element("listitem", [each], __value=value) for each in nested)
    tag = "ol" if name == "orderedList" else "ul"
    return _element("list", children, __tag=tag, __start=start, __listType=_LISTS[name])


def _write_inline(parts: Sequence[RichNode], known: Collection[str]) -> Iterator[Run | Embed]:
    link: dict[str, Any] | None = None
    inside: list[Run | Embed] = []
    for part in [*joined(parts), None]:
        found = marks_of(part).get("link") if part is not None else None
        if link is not None and found != link:
            yield _element("link", inside, __url=link.get("href") or "", __title=string_of(link.get("title")))
            inside = []
        link = found
        if part is not None:
            made = list(_write_part(part, known))
            if link is None:
                yield from made
            else:
                inside += made


def _write_part(part: RichNode, known: Collection[str]) -> Iterator[Run | Embed]:
    match part["type"]:
        case "hardBreak":
            yield _linebreak()
        case "image":
            attrs = attrs_of(part)
            yield _decorator("image", known, __src=attrs.get("src"), __altText=string_of(attrs.get("alt")) or "")
        case _:
            characters = part["text"] if part["type"] == "text" else display_text(part)
            if characters:
                bits = sum(FORMATS.get(name, 0) for name in marks_of(part))
                yield Embed(Node("map", entries={"__type": "text", "__format": bits, **_TEXT}), {})
                yield Run(characters, {})


def _write_code(code: str) -> Iterator[Run | Embed]:
    for n, line in enumerate(code.split("\n")):
        if n:
            yield _linebreak()
        if line:
            yield Embed(Node("map", entries={"__type": "code-highlight", "__format": 0, **_TEXT}), {})
            yield Run(line, {})


def _linebreak() -> Embed:
    return Embed(Node("map", entries={"__type": "linebreak"}), {})


def _element(kind: str, children: Sequence[Run | Embed], **entries: Any) -> Embed:
    return Embed(Node("xml_text", "", {"__type": kind, **_BLOCK, **entries}, list(children)), {})


def _decorator(kind: str, known: Collection[str], **entries: Any) -> Embed:
    _require(kind, known)
    return Embed(Node("element", "UNDEFINED", {"__type": kind, **entries}), {})


def _require(kind: str, known: Collection[str]) -> None:
    if kind not in known:
        raise InvalidRequest(f"this Lexical document has no node of the type {kind}, so its editor may not know it")
