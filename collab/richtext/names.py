"""Names of nodes, marks and attributes in the schemas of ProseMirror editors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, TypeAlias

RichSchema: TypeAlias = Literal["tiptap", "prosemirror", "milkdown", "blocknote", "lexical", "quill"]
"""How an editor stores rich text in Yjs."""
RichForm: TypeAlias = Literal["markdown", "html", "prosemirror", "delta"]
ReadFormat: TypeAlias = Literal[RichForm, "text"]
WriteFormat: TypeAlias = Literal["markdown", "html", "prosemirror", "text"]

_BASIC = {
    "bulletList": "bullet_list",
    "orderedList": "ordered_list",
    "listItem": "list_item",
    "codeBlock": "code_block",
    "horizontalRule": "horizontal_rule",
    "hardBreak": "hard_break",
    "tableRow": "table_row",
    "tableHeader": "table_header",
    "tableCell": "table_cell",
    "bold": "strong",
    "italic": "em",
    "strike": "strikethrough",
}
_MILKDOWN = {
    **_BASIC,
    "horizontalRule": "hr",
    "hardBreak": "hardbreak",
    "italic": "emphasis",
    "code": "inlineCode",
    "strike": "strike_through",
}
OTHER_NAMES: Mapping[RichSchema, Mapping[str, str]] = {"tiptap": {}, "prosemirror": _BASIC, "milkdown": _MILKDOWN}
"""Tiptap's names -> those of each schema, where they differ."""
_MORE = {"table_header_row": "tableRow", "s": "strike", "del": "strike", "u": "underline", "sub": "subscript"}
TIPTAP_NAMES: Mapping[str, str] = {
    **_MORE,
    "sup": "superscript",
    **{other: name for names in OTHER_NAMES.values() for name, other in names.items()},
}
"""The names of all other schemas -> Tiptap's."""
_ATTRIBUTES = {("ordered_list", "order"): "start", ("code_block", "params"): "language"}
_SEVERAL = re.compile(r"(.*)--[A-Za-z0-9+/=]{8}", re.DOTALL)
OTHER_ATTRIBUTES = {("ordered_list", "start"): "order"}


def mark_name(name: str) -> str:
    """A mark's name without what y-prosemirror adds where several of a kind may stand: ``comment--hash``."""
    found = _SEVERAL.fullmatch(name)
    return found[1] if found is not None else name


def tiptap_name(name: str) -> str:
    """A node's or mark's name as Tiptap has it."""
    name = mark_name(name)
    return TIPTAP_NAMES.get(name, name)


def tiptap_attribute(name: str, attribute: str) -> str:
    """An attribute's name as Tiptap has it, by the node's own name."""
    return _ATTRIBUTES.get((name, attribute), attribute)
