"""Quill's documents in Yjs: one text, whose line breaks carry the formats of their lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from collab.contents.tree import Embed, Run, as_json
from collab.errors import InvalidRequest
from collab.richtext.model import (
    LISTS,
    Marks,
    RichNode,
    attrs_of,
    content_of,
    display_text,
    joined,
    level_of,
    marks_of,
    node,
    plain_text,
    string_of,
    text,
    whole,
)

_SIMPLE = ("bold", "italic", "underline", "strike", "code")
_SCRIPTS = {"sub": "subscript", "super": "superscript"}
_LISTS = {"bullet": "bulletList", "ordered": "orderedList", "checked": "taskList", "unchecked": "taskList"}
BLOCK_FORMATS = frozenset({"header", "list", "blockquote", "code-block", "indent"})
"""Formats of lines that rich text knows."""


def read_delta(children: Sequence[Run | Embed]) -> list[dict[str, Any]]:
    """A text as Quill's delta."""
    found: list[dict[str, Any]] = []
    for child in children:
        made: dict[str, Any] = {"insert": child.text if isinstance(child, Run) else as_json(child.value)}
        if child.marks:
            made["attributes"] = {name: as_json(value) for name, value in child.marks.items()}
        found.append(made)
    return found


@dataclass(slots=True)
class _Line:
    formats: Mapping[str, Any] = field(default_factory=dict)
    inline: list[RichNode] = field(default_factory=list)


def read_quill(children: Sequence[Run | Embed]) -> list[RichNode]:
    """A text as rich text."""
    found: list[RichNode] = []
    last: _Line | None = None
    for line in _lines(children):
        _append(found, line, last)
        last = line
    return found


def _lines(children: Sequence[Run | Embed]) -> Iterator[_Line]:
    line = _Line()
    is_open = False
    for child in children:
        if isinstance(child, Embed):
            line.inline += _embed(child)
            is_open = True
            continue
        parts = child.text.split("\n")
        for n, part in enumerate(parts):
            if part:
                line.inline.append(text(part, _marks(child.marks)))
                is_open = True
            if n < len(parts) - 1:
                line.formats = child.marks
                yield line
                line, is_open = _Line(), False
    if is_open:
        yield line


def _marks(formats: Mapping[str, Any]) -> Marks:
    marks: Marks = {name: {} for name in _SIMPLE if formats.get(name)}
    if isinstance(formats.get("link"), str):
        marks["link"] = {"href": formats["link"]}
    script = formats.get("script")
    if isinstance(script, str) and script in _SCRIPTS:
        marks[_SCRIPTS[script]] = {}
    return marks


def _embed(child: Embed) -> Iterator[RichNode]:
    if isinstance(child.value, dict) and isinstance(child.value.get("image"), str):
        marks = _marks(child.marks)
        image = node("image", src=child.value["image"], alt=string_of(child.marks.get("alt")))
        yield {**image, "marks": [node(name, **attrs) for name, attrs in marks.items()]} if marks else image


def _append(found: list[RichNode], line: _Line, last: _Line | None) -> None:
    formats = line.formats
    paragraph = node("paragraph", list(joined(line.inline)))
    if (code := formats.get("code-block")) is not None and code is not False:
        written = plain_text([paragraph])
        if last is not None and last.formats.get("code-block") == code and found and found[-1]["type"] == "codeBlock":
            before = plain_text(content_of(found[-1]))
            found[-1] = {**found[-1], "content": [text(f"{before}\n{written}")]}
        else:
            language = code if isinstance(code, str) and code != "plain" else None
            found.append(node("codeBlock", [text(written)] if written else [], language=language))
    elif isinstance(kind := formats.get("list"), str) and kind in _LISTS:
        _nest(found, node("taskItem" if kind.endswith("checked") else "listItem", [paragraph]), kind, _indent(formats))
    elif header := whole(formats.get("header"), 0):
        found.append(node("heading", content_of(paragraph), level=min(max(header, 1), 6)))
    elif formats.get("blockquote"):
        if last is not None and last.formats.get("blockquote") and found and found[-1]["type"] == "blockquote":
            found[-1] = {**found[-1], "content": [*content_of(found[-1]), paragraph]}
        else:
            found.append(node("blockquote", [paragraph]))
    else:
        found.append(paragraph)


def _indent(formats: Mapping[str, Any]) -> int:
    return min(max(whole(formats.get("indent"), 0), 0), 8)


def _nest(found: list[RichNode], item: RichNode, kind: str, depth: int) -> None:
    """Append an item to the list of its depth; levels without a list are left out."""
    if item["type"] == "taskItem":
        item = {**item, "attrs": {"checked": kind == "checked"}}
    name = _LISTS[kind]
    last = found[-1] if found else None
    if depth and last is not None and last["type"] in LISTS:
        items = content_of(last)
        inside = list(content_of(items[-1]))
        _nest(inside, item, kind, depth - 1)
        found[-1] = {**last, "content": [*items[:-1], {**items[-1], "content": inside}]}
    elif last is not None and last["type"] == name:
        found[-1] = {**last, "content": [*content_of(last), item]}
    else:
        found.append(node(name, [item]))


def write_quill(parts: Sequence[RichNode]) -> list[Run | Embed]:
    """Rich text as a text. Raises :class:`InvalidRequest` for tables and rules, which Quill does not have."""
    return [child for part in parts for child in _write(part, {}, 0)]


def _write(part: RichNode, formats: Mapping[str, Any], depth: int) -> Iterator[Run | Embed]:
    name, attrs, content = part["type"], attrs_of(part), content_of(part)
    match name:
        case "paragraph":
            yield from _line(content, formats)
        case "heading":
            yield from _line(content, {"header": level_of(part)})
        case "bulletList" | "orderedList" | "taskList":
            for item in content:
                yield from _write_item(part, item, depth)
        case "blockquote":
            for block in content:
                yield from _write(block, {"blockquote": True}, depth)
        case "codeBlock":
            kind = string_of(attrs.get("language")) or "plain"
            for line in plain_text(content).split("\n"):
                if line:
                    yield Run(line, {})
                yield Run("\n", {"code-block": kind})
        case "image":
            yield from _line([part], formats)
        case "table" | "horizontalRule":
            raise InvalidRequest(f"a document of Quill has no {'table' if name == 'table' else 'rule'}")
        case _:
            for block in content:
                yield from _write(block, formats, depth)


def _write_item(part: RichNode, item: RichNode, depth: int) -> Iterator[Run | Embed]:
    kinds = {"bulletList": "bullet", "orderedList": "ordered"}
    kind = kinds.get(part["type"]) or ("checked" if attrs_of(item).get("checked") is True else "unchecked")
    formats = {"list": kind, **({"indent": depth} if depth else {})}
    blocks = content_of(item)
    if not blocks or blocks[0]["type"] != "paragraph":
        yield Run("\n", formats)
    for block in blocks:
        if block["type"] in LISTS:
            yield from _write(block, {}, depth + 1)
        else:
            yield from _write(block, formats, depth)


def _line(content: Sequence[RichNode], formats: Mapping[str, Any]) -> Iterator[Run | Embed]:
    for part in joined(content):
        marks = marks_of(part)
        inline: dict[str, Any] = {name: True for name in _SIMPLE if name in marks}
        if isinstance(marks.get("link", {}).get("href"), str):
            inline["link"] = marks["link"]["href"]
        for short, name in _SCRIPTS.items():
            if name in marks:
                inline["script"] = short
        match part["type"]:
            case "hardBreak":
                yield Run("\n", formats)
            case "image":
                alt = string_of(attrs_of(part).get("alt"))
                yield Embed({"image": attrs_of(part).get("src")}, {**inline, **({"alt": alt} if alt else {})})
            case "text":
                yield Run(part["text"].replace("\n", " "), inline)
            case _:
                if shown := display_text(part):
                    yield Run(shown, inline)
    yield Run("\n", formats)
