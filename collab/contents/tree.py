"""A document's content as a tree of plain values; and that tree as JSON, text and XML.

A shared type is a :class:`Node`, wherever it is; all other values are those of :mod:`values`: ``None``, ``bool``,
``int``, ``float``, ``str``, ``bytes``, ``list``, ``dict`` and :data:`~collab.contents.values.UNDEFINED`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from collab.contents.items import ARRAY, ELEMENT, FRAGMENT, HOOK, MAP, TEXT, XML_TEXT, ItemRun, Type
from collab.contents.values import (
    UNDEFINED,
    decode_binary,
    decode_embed,
    decode_format,
    decode_value,
    equal,
    text_of,
)
from collab.gate.struct_content import BINARY, EMBED, FORMAT, STRING
from collab.json_values import plain

TypeKind: TypeAlias = Literal["array", "map", "text", "element", "fragment", "xml_text"]
ContentValue: TypeAlias = Any
"""A :class:`Node`, or a plain value."""

_KINDS: Mapping[int, TypeKind] = {
    ARRAY: "array",
    MAP: "map",
    TEXT: "text",
    ELEMENT: "element",
    FRAGMENT: "fragment",
    HOOK: "map",
    XML_TEXT: "xml_text",
}
ROOTS: Mapping[str, TypeKind] = {"map": "map", "array": "array", "text": "text", "xml": "fragment"}
"""The gate's name for a root's kind -> the kind."""


class Run(NamedTuple):
    """Characters with the same marks."""

    text: str
    marks: Mapping[str, Any]


class Embed(NamedTuple):
    """One element of a list: of an array, a child of XML, or embedded in a text (then possibly with marks)."""

    value: ContentValue
    marks: Mapping[str, Any]


@dataclass(slots=True)
class Node:
    """A shared type: ``entries`` are a map's entries or any other type's attributes, ``children`` its list.

    ``name`` is the tag of an element.
    """

    kind: TypeKind
    name: str = ""
    entries: dict[str, ContentValue] = field(default_factory=dict)
    children: list[Run | Embed] = field(default_factory=list)


def node_of(type_: Type, kind: TypeKind | None = None) -> Node:
    """The current state of a shared type. ``kind`` is needed for a root."""
    return Node(
        kind or _KINDS.get(type_.kind, "array"),
        type_.name if type_.kind == ELEMENT else "",
        {key: value_of(item, -1) for key, item in type_.entries.items() if not item.deleted},
        list(children_of(type_)),
    )


def kind_of(root: Type, known: TypeKind | None = None) -> TypeKind | None:
    """The kind of a root, derived from its current content; ``known`` if it is empty.

    Yjs does not encode it. XML alone makes it a fragment; other values beside it an array, possibly of fragments.
    Characters make it a text, or with XML beside them an XML text.
    """
    found: set[TypeKind] = set()
    for item in root.items():
        if item.deleted:
            continue
        if isinstance(item.content, Type):
            found.add("fragment" if item.content.kind in (ELEMENT, HOOK, XML_TEXT) else "array")
        else:
            found.add("text" if item.ref in (STRING, EMBED, FORMAT) else "array")
    if "text" in found:
        return "xml_text" if "fragment" in found else "text"
    if found:
        return "array" if "array" in found else "fragment"
    return "map" if any(not item.deleted for item in root.entries.values()) else known


def children_of(type_: Type) -> Iterator[Run | Embed]:
    """The list of a shared type; adjacent characters with the same marks are joined."""
    marks: dict[str, Any] = {}
    text: list[str] = []
    for item in type_.items():
        if item.deleted:
            continue
        if item.ref == STRING:
            assert isinstance(item.content, str)
            text.append(item.content)
            continue
        if item.ref == FORMAT:
            changed = mark(marks, item)
            if equal(changed, marks):
                continue
        else:
            changed = marks
        if text:
            yield Run(text_of("".join(text)), marks)
            text = []
        marks = changed
        if item.ref != FORMAT:
            yield from (Embed(value, marks) for value in values_of(item))
    if text:
        yield Run(text_of("".join(text)), marks)


def mark(marks: Mapping[str, Any], item: ItemRun) -> dict[str, Any]:
    """The marks after the beginning or end of one."""
    key, value = format_of(item)
    changed = dict(marks)
    if value is None:
        changed.pop(key, None)
    else:
        changed[key] = value
    return changed


def format_of(item: ItemRun) -> tuple[str, Any]:
    """The name of a mark, and its value from here on; ``None`` where it ends."""
    assert isinstance(item.content, bytes)
    return decode_format(item.content)


def values_of(item: ItemRun) -> list[ContentValue]:
    """The elements of an item that is neither text nor a mark."""
    content = item.content
    if isinstance(content, Type):
        return [node_of(content)]
    if isinstance(content, list):
        return [decode_value(part) for part in content]
    return [value_of(item, 0)] * item.length


def value_of(item: ItemRun, at: int) -> ContentValue:
    content = item.content
    if isinstance(content, Type):
        return node_of(content)
    if isinstance(content, list):
        return decode_value(content[at])
    if isinstance(content, str):
        return text_of(content)
    if item.ref == BINARY:
        return decode_binary(content)
    if item.ref == EMBED:
        return decode_embed(content)
    return UNDEFINED


def as_json(value: ContentValue) -> Any:
    """A value as JSON, like Yjs ``toJSON``: a text becomes its characters, XML a string with tags."""
    match value:
        case Node("map"):
            return {key: as_json(item) for key, item in value.entries.items()}
        case Node("array"):
            return [child.text if isinstance(child, Run) else as_json(child.value) for child in value.children]
        case Node():
            return as_text(value)
        case dict():
            return {key: as_json(item) for key, item in value.items()}
        case list():
            return [as_json(item) for item in value]
        case _:
            return None if value is UNDEFINED else plain(value)


def as_text(node: Node) -> str:
    """A text without its marks and embeds; XML with its tags, like Yjs ``toString``: nothing is escaped.

    Embedded values that are neither text nor XML are left out.
    """
    if node.kind == "text":
        return "".join(child.text for child in node.children if isinstance(child, Run))
    inner = "".join(_xml(child) for child in node.children)
    if node.kind != "element":
        return inner
    return f"<{node.name}{_attributes(node.entries)}>{inner}</{node.name}>"


def _xml(child: Run | Embed) -> str:
    if isinstance(child, Run):
        text = child.text
    elif isinstance(child.value, Node) and child.value.kind not in ("map", "array"):
        text = as_text(child.value)
    else:
        return ""
    for name in sorted(child.marks, reverse=True):
        value = child.marks[name]
        text = f"<{name}{_attributes(value if isinstance(value, dict) else {})}>{text}</{name}>"
    return text


def _attributes(entries: Mapping[str, ContentValue]) -> str:
    return "".join(f' {key}="{_attribute(value)}"' for key, value in sorted(entries.items()))


def _attribute(value: ContentValue) -> str:
    if isinstance(value, Node):
        return as_text(value) if value.kind not in ("map", "array") else ""
    shown = as_json(value)
    if isinstance(shown, str):
        return shown
    return msgspec.json.encode(shown).decode()
