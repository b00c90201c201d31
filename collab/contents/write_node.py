"""Plain values and trees as new elements of a document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from collab.contents.draft import Draft
from collab.contents.items import ARRAY, ELEMENT, FRAGMENT, MAP, TEXT, XML_TEXT
from collab.contents.tree import ContentValue, Embed, Node, Run, TypeKind
from collab.contents.values import encode_units, equal, units_of
from collab.gate.any_values import write_any
from collab.gate.struct_content import ANY, EMBED, FORMAT, STRING, TYPE
from collab.gate.structs import Id
from presence.lib0 import encode_string, encode_uint

_KINDS: Mapping[TypeKind, int] = {
    "array": ARRAY,
    "map": MAP,
    "text": TEXT,
    "element": ELEMENT,
    "fragment": FRAGMENT,
    "xml_text": XML_TEXT,
}


def write_value(
    draft: Draft,
    value: ContentValue,
    origin: Id | None,
    right: Id | None,
    parent: Id | str,
    key: str | None = None,
    *,
    embedded: bool = False,
) -> Id:
    """Write one value behind ``origin``, with everything in it; return its element. ``embedded``: into a text."""
    if not isinstance(value, Node):
        if embedded:
            return draft.add(EMBED, encode_string(msgspec.json.encode(value).decode()), 1, origin, right, parent, key)
        return draft.add(ANY, encode_uint(1) + write_any(value), 1, origin, right, parent, key)
    kind = _KINDS[value.kind]
    content = encode_uint(kind) + (encode_string(value.name) if kind == ELEMENT else b"")
    first = draft.add(TYPE, content, 1, origin, right, parent, key)
    for name, entry in value.entries.items():
        if entry is not None:
            write_value(draft, entry, None, None, first, name)
    if value.kind in ("text", "xml_text"):
        _write_text(draft, value.children, first)
    else:
        last: Id | None = None
        for child in value.children:
            assert isinstance(child, Embed)
            last = write_value(draft, child.value, last, None, first)
    return first


def _write_text(draft: Draft, children: Sequence[Run | Embed], parent: Id) -> None:
    last: Id | None = None
    marks: Mapping[str, Any] = {}
    for child in children:
        last = write_marks(draft, marks, child.marks, last, None, parent)
        marks = child.marks
        if isinstance(child, Run):
            last = write_characters(draft, child.text, last, None, parent) if child.text else last
        else:
            last = write_value(draft, child.value, last, None, parent, embedded=True)
    write_marks(draft, marks, {}, last, None, parent)


def write_characters(draft: Draft, text: str, origin: Id | None, right: Id | None, parent: Id | str) -> Id:
    """Write characters; return the last element."""
    units = units_of(text)
    client, clock = draft.add(STRING, encode_units(units), len(units), origin, right, parent)
    return client, clock + len(units) - 1


def write_marks(
    draft: Draft,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    origin: Id | None,
    right: Id | None,
    parent: Id | str,
) -> Id | None:
    """Write what turns some marks into others; return the last element, ``origin`` if nothing is needed."""
    for name in sorted({*before, *after}):
        value = after.get(name)
        if not equal(before.get(name), value) and not (before.get(name) is None and value is None):
            content = encode_string(name) + encode_string(msgspec.json.encode(value).decode())
            origin = draft.add(FORMAT, content, 1, origin, right, parent)
    return origin
