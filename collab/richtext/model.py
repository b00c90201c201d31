"""Rich text as ProseMirror's JSON, with the names of Tiptap's extensions. Pure values.

A node is ``{"type", "attrs", "content"}``, a text ``{"type": "text", "text", "marks"}``, a mark ``{"type", "attrs"}``;
empty members are left out. Other nodes and marks may occur; whoever does not know them passes over them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, TypeAlias

from collab.contents.values import equal

RichNode: TypeAlias = dict[str, Any]
"""A node of rich text."""
Marks: TypeAlias = dict[str, dict[str, Any]]
"""Marks by their names, with their attributes."""

LISTS = {"bulletList": "listItem", "orderedList": "listItem", "taskList": "taskItem"}
"""Lists, and the name of their items."""
TEXT_BLOCKS = frozenset({"paragraph", "heading", "codeBlock"})
INLINE = frozenset({"text", "hardBreak", "mention"})
"""Inline nodes; ``image`` may stand inside a paragraph or beside it."""


def node(name: str, content: Sequence[RichNode] = (), /, **attrs: Any) -> RichNode:
    """A node; attributes that are ``None`` are left out."""
    made: RichNode = {"type": name}
    known = {key: value for key, value in attrs.items() if value is not None}
    if known:
        made["attrs"] = known
    if content:
        made["content"] = list(content)
    return made


def text(characters: str, marks: Mapping[str, Mapping[str, Any]] | None = None) -> RichNode:
    """A text."""
    made: RichNode = {"type": "text", "text": characters}
    if marks:
        made["marks"] = [
            {"type": name, "attrs": dict(attrs)} if attrs else {"type": name} for name, attrs in marks.items()
        ]
    return made


def attrs_of(part: RichNode) -> Mapping[str, Any]:
    found = part.get("attrs")
    return found if isinstance(found, dict) else {}


def content_of(part: RichNode) -> list[RichNode]:
    found = part.get("content")
    return found if isinstance(found, list) else []


def marks_of(part: RichNode) -> Marks:
    found = part.get("marks")
    return {mark["type"]: dict(attrs_of(mark)) for mark in found} if isinstance(found, list) else {}


def string_of(value: Any) -> str | None:
    """A string attribute; ``None`` for anything else, and for an empty one."""
    return value if isinstance(value, str) and value else None


def whole(value: Any, default: int) -> int:
    """A whole number attribute."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**9 else default


def level_of(heading: RichNode) -> int:
    """The level of a heading, 1 to 6."""
    return min(max(whole(attrs_of(heading).get("level"), 1), 1), 6)


def spans_of(attrs: Mapping[str, Any]) -> dict[str, int]:
    """The columns and rows that a cell spans, where it is more than one."""
    spans = {name: whole(attrs.get(name), 1) for name in ("colspan", "rowspan")}
    return {name: span for name, span in spans.items() if 1 < span <= 1000}


def grouped(parts: Sequence[RichNode]) -> list[RichNode]:
    """Blocks; inline nodes beside them as paragraphs."""
    found: list[RichNode] = []
    for inline, group in groupby(parts, key=is_inline):
        run = list(group)
        found += [node("paragraph", run)] if inline else run
    return found


def without_images(paragraph: RichNode) -> Iterator[RichNode]:
    """A paragraph, with the images in it beside it."""
    if not content_of(paragraph):
        yield paragraph
    for is_image, group in groupby(content_of(paragraph), key=lambda part: part["type"] == "image"):
        run = list(group)
        yield from run if is_image else [{**paragraph, "content": run}]


def joined(parts: Iterable[RichNode]) -> Iterator[RichNode]:
    """The same, with adjacent texts of equal marks as one, and without empty texts."""
    last: RichNode | None = None
    for part in parts:
        if part["type"] != "text":
            if last is not None:
                yield last
            last = None
            yield part
        elif part["text"]:
            if last is not None and _have_same_marks(last, part):
                last = {**last, "text": last["text"] + part["text"]}
                continue
            if last is not None:
                yield last
            last = part
    if last is not None:
        yield last


def _have_same_marks(one: RichNode, other: RichNode) -> bool:
    mine, theirs = one.get("marks") or [], other.get("marks") or []
    if equal(mine, theirs):
        return True
    known = marks_of(one)  # several marks of a kind count each
    return len(mine) == len(theirs) == len(known) and equal(known, marks_of(other))


def is_inline(part: RichNode) -> bool:
    return part["type"] in INLINE


def display_text(part: RichNode) -> str:
    """What an inline node that is no text shows as text: the label of a mention."""
    if part["type"] != "mention":
        return ""
    attrs = attrs_of(part)
    label = string_of(attrs.get("label")) or string_of(attrs.get("id"))
    sign = string_of(attrs.get("mentionSuggestionChar")) or "@"
    return f"{sign}{label}" if label else ""


def plain_text(parts: Sequence[RichNode]) -> str:
    """The characters of blocks, one block a line; cells of a table are separated by tabs."""
    return "\n".join(lines_of(parts))


def lines_of(parts: Sequence[RichNode]) -> Iterator[str]:
    """The lines of :func:`plain_text`; one with breaks in it is several there."""
    line: list[str] = []
    is_open = False
    for part in parts:
        name = part["type"]
        if name == "text":
            line.append(part["text"])
        elif name == "hardBreak":
            line.append("\n")
        elif name == "mention":
            line.append(display_text(part))
        elif name == "tableRow":
            yield "\t".join(" ".join(lines_of(content_of(cell))).replace("\n", " ") for cell in content_of(part))
            continue
        elif name in ("image", "horizontalRule"):
            continue
        else:
            if is_open:
                yield "".join(line)
            line, is_open = [], False
            yield from lines_of(content_of(part)) if content_of(part) else [""]
            continue
        is_open = True
    if is_open:
        yield "".join(line)
