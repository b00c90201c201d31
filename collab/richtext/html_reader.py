"""HTML as rich text. Only what rich text knows is taken: scripts, styles, forms and their like are left out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from selectolax.lexbor import LexborHTMLParser, LexborNode

from collab.errors import InvalidRequest
from collab.richtext.addresses import safe_image, safe_link
from collab.richtext.model import Marks, RichNode, content_of, joined, node, spans_of, text, whole

_DEPTH = 200  # of elements
_OPEN = 2000  # elements around a place, also where nothing is read
_PORTION = 64 * 1024  # characters
_MARKS = {
    **dict.fromkeys(("strong", "b"), "bold"),
    **dict.fromkeys(("em", "i"), "italic"),
    **dict.fromkeys(("u", "ins"), "underline"),
    **dict.fromkeys(("s", "strike", "del"), "strike"),
    **dict.fromkeys(("code", "kbd", "samp", "tt"), "code"),
    "sub": "subscript",
    "sup": "superscript",
    "mark": "highlight",
}
_LEFT_OUT = frozenset(
    {
        *("script", "style", "template", "noscript", "iframe", "object", "embed", "applet", "head", "title"),
        *("meta", "link", "base", "svg", "math", "canvas", "audio", "video", "input", "button"),
        *("select", "textarea", "option", "datalist", "frame", "frameset", "noframes", "noembed"),
        *("xmp", "plaintext"),
    }
)
_BLOCKS = frozenset(
    {
        *("p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre", "hr", "table"),
        *("div", "section", "article", "main", "header", "footer", "nav", "aside", "figure", "figcaption"),
        *("address", "details", "summary", "dl", "dt", "dd", "center", "fieldset", "body", "html", "thead"),
        *("tbody", "tfoot", "tr", "td", "th", "caption", "form", "dialog"),
    }
)
_SPACES = re.compile(r"[\t\n\r\f ]+")
_LANGUAGE = re.compile(r"(?:^|\s)language-(\S+)")


def read_html(html: str) -> list[RichNode]:
    """The blocks of an HTML document or fragment. Raises :class:`InvalidRequest` if they are nested too deeply."""
    _bound_open(html)
    root = LexborHTMLParser(html).body
    return [] if root is None else _blocks(root, 0)


def _bound_open(html: str) -> None:
    """See that no portion of a long text leaves very many elements open: the parser goes through them at each tag."""
    step = max(_PORTION, len(html) // 8)
    for end in range(step, len(html), step):
        part, depth = LexborHTMLParser(html[:end]).root, 0
        while part is not None:
            part, depth = part.last_child, depth + 1
        if depth > _OPEN:
            raise _too_deep()


@dataclass(slots=True)
class _Flow:
    """Blocks under way; inline nodes between them become paragraphs."""

    blocks: list[RichNode] = field(default_factory=list)
    inline: list[RichNode] = field(default_factory=list)

    def close(self) -> None:
        inline, self.inline = collapsed(self.inline), []
        if inline and all(part["type"] == "image" for part in inline):
            self.blocks += inline
        elif inline:
            self.blocks.append(node("paragraph", inline))


def _blocks(parent: LexborNode, depth: int) -> list[RichNode]:
    flow = _Flow()
    for child in parent.iter(include_text=True):
        _take(child, flow, {}, depth + 1)
    flow.close()
    return flow.blocks


def _take(part: LexborNode, flow: _Flow, marks: Marks, depth: int) -> None:
    tag = part.tag or ""
    _bound(depth)
    if tag not in _BLOCKS:
        inline = _inline(part, flow, marks, depth)  # may close the flow
        flow.inline += inline
        return
    flow.close()
    flow.blocks += _block(part, tag, depth)


def _bound(depth: int) -> None:
    if depth > _DEPTH:
        raise _too_deep()


def _too_deep() -> InvalidRequest:
    return InvalidRequest(f"elements are nested more than {_DEPTH} levels deep")


def _block(part: LexborNode, tag: str, depth: int) -> Iterator[RichNode]:
    match tag:
        case "p":
            blocks = _blocks(part, depth)
            yield from blocks or [node("paragraph")]
        case "h1" | "h2" | "h3" | "h4" | "h5" | "h6":
            yield node("heading", collapsed(_only_inline(part, depth)), level=int(tag[1]))
        case "ul" | "ol":
            yield from _list(part, tag, depth)
        case "blockquote":
            yield node("blockquote", _blocks(part, depth))
        case "pre":
            yield _code(part)
        case "hr":
            yield node("horizontalRule")
        case "table":
            for caption in part.iter():
                if caption.tag == "caption":
                    yield from _blocks(caption, depth + 1)
            rows = [_row(row, depth) for row in part.css("tr") if _table_of(row) == part.mem_id]
            if rows:
                yield node("table", rows)
        case _:
            yield from _blocks(part, depth)


def _list(part: LexborNode, tag: str, depth: int) -> Iterator[RichNode]:
    attrs = part.attributes
    is_tasks = tag == "ul" and attrs.get("data-type") == "taskList"
    items: list[RichNode] = []
    for child in part.iter(include_text=True):
        if child.tag == "li":
            content = _blocks(child, depth + 1)
            if is_tasks:
                items.append(node("taskItem", content, checked=_is_checked(child)))
            else:
                items.append(node("listItem", content))
            continue
        flow = _Flow()
        _take(child, flow, {}, depth + 1)
        flow.close()
        if not flow.blocks:
            continue
        if items:  # not valid, but common
            items[-1] = {**items[-1], "content": [*content_of(items[-1]), *flow.blocks]}
        else:
            items.append(node("taskItem", flow.blocks, checked=False) if is_tasks else node("listItem", flow.blocks))
    if not items:
        return
    if tag == "ol":
        yield node("orderedList", items, start=whole(attrs.get("start"), 1))
    else:
        yield node("taskList" if is_tasks else "bulletList", items)


def _is_checked(item: LexborNode) -> bool:
    return item.attributes.get("data-checked") == "true"


def _code(part: LexborNode) -> RichNode:
    inner = part.css_first("code")
    classes = (inner if inner is not None else part).attributes.get("class") or ""
    language = _LANGUAGE.search(classes)
    code = "".join(_code_texts(part)).removesuffix("\n")
    return node("codeBlock", [text(code)] if code else [], language=language[1] if language else None)


def _code_texts(part: LexborNode) -> Iterator[str]:
    for inside in part.traverse(include_text=True):
        if inside.tag == "-text":
            yield inside.text_content or ""
        elif inside.tag == "br":
            yield "\n"


def _table_of(row: LexborNode) -> int | None:
    parent = row.parent
    while parent is not None and parent.tag != "table":
        parent = parent.parent
    return parent.mem_id if parent is not None else None


def _row(row: LexborNode, depth: int) -> RichNode:
    cells = []
    for cell in row.iter():
        if cell.tag in ("th", "td"):
            content = _blocks(cell, depth + 3) or [node("paragraph")]
            kind = "tableHeader" if cell.tag == "th" else "tableCell"
            cells.append(node(kind, content, **spans_of(cell.attributes)))
    return node("tableRow", cells)


def _only_inline(part: LexborNode, depth: int) -> list[RichNode]:
    """Everything below an element as inline nodes."""
    found: list[RichNode] = []
    for child in part.iter(include_text=True):
        if child.tag in _BLOCKS:
            found.append(text(" "))  # the words of two blocks stay apart
        found += _inline(child, None, {}, depth + 1)
    return found


def _inline(part: LexborNode, flow: _Flow | None, marks: Marks, depth: int) -> list[RichNode]:
    tag = part.tag or ""
    _bound(depth)
    if tag in _LEFT_OUT:
        return []
    if tag == "-text":
        return [text(part.text_content or "", marks)]
    attrs = part.attributes
    if tag == "br":
        return [node("hardBreak")]
    if tag == "img":
        source = safe_image(attrs.get("src"))
        return (
            [node("image", src=source, alt=attrs.get("alt") or None, title=attrs.get("title") or None)]
            if source
            else []
        )
    marks = {**marks, **_mark(tag, attrs)}
    found: list[RichNode] = []
    for child in part.iter(include_text=True):
        if flow is not None and child.tag in _BLOCKS:  # a block inside of inline elements ends the paragraph
            flow.inline += found
            found = []
            _take(child, flow, marks, depth + 1)
        else:
            if child.tag in _BLOCKS:
                found.append(text(" "))  # the words of two blocks stay apart
            found += _inline(child, flow, marks, depth + 1)
    return found


def _mark(tag: str, attrs: Mapping[str, str | None]) -> Marks:
    if tag == "a":
        href, title = safe_link(attrs.get("href")), attrs.get("title")
        return {"link": {"href": href, **({"title": title} if title else {})}} if href is not None else {}
    return {_MARKS[tag]: {}} if tag in _MARKS else {}


def collapsed(parts: Sequence[RichNode]) -> list[RichNode]:
    """Inline nodes with spaces as HTML shows them: several are one, and none stand at the ends and around breaks."""
    found: list[RichNode] = []
    is_open = False  # whether a space would show
    for part in joined(parts):
        if part["type"] != "text":
            if part["type"] == "hardBreak":
                _strip_end(found)
            is_open = part["type"] != "hardBreak"
            found.append(part)
            continue
        shown = _SPACES.sub(" ", part["text"])
        if not is_open:
            shown = shown.removeprefix(" ")
        if shown:
            is_open = not shown.endswith(" ")
            found.append({**part, "text": shown})
    _strip_end(found)
    return list(joined(found))


def _strip_end(found: list[RichNode]) -> None:
    while found and found[-1]["type"] == "text":
        found[-1] = {**found[-1], "text": found[-1]["text"].removesuffix(" ")}
        if found[-1]["text"]:
            return
        found.pop()
