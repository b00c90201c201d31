"""Rich text as HTML that may be shown as it is: everything is escaped, and no address runs anything."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import groupby
from typing import Any

from collab.richtext.addresses import safe_image, safe_link
from collab.richtext.model import (
    RichNode,
    attrs_of,
    content_of,
    display_text,
    level_of,
    marks_of,
    spans_of,
    string_of,
    whole,
)

_MARKS = {
    "bold": "strong",
    "italic": "em",
    "underline": "u",
    "strike": "s",
    "subscript": "sub",
    "superscript": "sup",
    "highlight": "mark",
    "code": "code",
}
_BLOCKS = {"paragraph": "p", "blockquote": "blockquote", "tableRow": "tr"}
_CELLS = {"tableHeader": "th", "tableCell": "td"}


def write_html(parts: Sequence[RichNode]) -> str:
    """Blocks as HTML elements."""
    out: list[str] = []
    for link, group in groupby(parts, key=_link):
        inside = "".join(map(_written, group))
        out.append(f"<a{link}>{inside}</a>" if link else inside)
    return "".join(out)


def _link(part: RichNode) -> str:
    """The attributes of the link around a text."""
    link = marks_of(part).get("link", {})
    address = safe_link(link.get("href"))
    if address is None:
        return ""
    return _attributes(href=address, title=string_of(link.get("title")))


def _written(part: RichNode) -> str:
    attrs, content = attrs_of(part), content_of(part)
    match part["type"]:
        case "text":
            return _marked(escape(part["text"], quote=False), part)
        case "mention":
            return _marked(escape(display_text(part), quote=False), part)
        case "hardBreak":
            return "<br>"
        case "heading":
            level = level_of(part)
            return f"<h{level}>{write_html(content)}</h{level}>"
        case "bulletList":
            return f"<ul>{_items(content)}</ul>"
        case "orderedList":
            start = whole(attrs.get("start"), 1)
            return f"<ol{_attributes(start=start if start != 1 else None)}>{_items(content)}</ol>"
        case "taskList":
            return f'<ul data-type="taskList">{_items(content)}</ul>'
        case "codeBlock":
            language = string_of(attrs.get("language"))
            named = _attributes(**{"class": f"language-{language}" if language else None})
            return f"<pre><code{named}>{write_html(content)}</code></pre>"
        case "horizontalRule":
            return "<hr>"
        case "image":
            return _image(attrs)
        case "table":
            return f"<table><tbody>{write_html(content)}</tbody></table>"
        case "tableHeader" | "tableCell" as name:
            return f"<{_CELLS[name]}{_attributes(**spans_of(attrs))}>{write_html(content)}</{_CELLS[name]}>"
        case name if name in _BLOCKS:
            return f"<{_BLOCKS[name]}>{write_html(content)}</{_BLOCKS[name]}>"
        case _:
            return write_html(content)


def _items(items: Sequence[RichNode]) -> str:
    return "".join(_item(item) for item in items)


def _item(item: RichNode) -> str:
    shown = ""
    if item["type"] == "taskItem":
        shown = _attributes(
            **{"data-type": "taskItem", "data-checked": "true" if attrs_of(item).get("checked") is True else "false"}
        )
    return f"<li{shown}>{write_html(content_of(item))}</li>"


def _image(attrs: Any) -> str:
    address = safe_image(attrs.get("src"))
    if address is None:
        return ""
    return f"<img{_attributes(src=address, alt=string_of(attrs.get('alt')), title=string_of(attrs.get('title')))}>"


def _marked(shown: str, part: RichNode) -> str:
    marks = marks_of(part)
    for name, tag in reversed(_MARKS.items()):
        if name in marks:
            shown = f"<{tag}>{shown}</{tag}>"
    return shown


def _attributes(**attrs: Any) -> str:
    return "".join(f' {name}="{escape(str(value))}"' for name, value in attrs.items() if value is not None)
