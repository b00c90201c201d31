"""How each editor stores rich text in a root: found out from its content."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set

from collab.contents.tree import Embed, Node, Run, TypeKind
from collab.errors import InvalidRequest
from collab.richtext.blocknote import read_blocknote, write_blocknote
from collab.richtext.lexical import read_lexical, type_of, types_in, write_lexical
from collab.richtext.model import RichNode
from collab.richtext.names import OTHER_NAMES, TIPTAP_NAMES, RichSchema
from collab.richtext.prosemirror import (
    from_tiptap,
    has_inline_images,
    read_json,
    to_tiptap,
    write_json,
)
from collab.richtext.quill import read_quill, write_quill

PROSEMIRROR: frozenset[RichSchema] = frozenset({"tiptap", "prosemirror", "milkdown", "blocknote"})
"""Schemas of editors that are built on ProseMirror."""
_OTHERWISE = frozenset(name for names in OTHER_NAMES.values() for name in names)
_TELLING = _OTHERWISE | TIPTAP_NAMES.keys()


def schema_of(root: Node, hint: RichSchema | None = None) -> RichSchema | None:
    """The schema of a root; ``None`` if it is empty. ``hint`` counts if the content fits several.

    Raises :class:`InvalidRequest` if it is no rich text.
    """
    if root.kind in ("map", "array"):
        raise no_rich_text(root.kind)
    if not root.children:
        return "quill" if root.kind == "text" else None
    embedded = [child.value for child in root.children if isinstance(child, Embed) and isinstance(child.value, Node)]
    if any(type_of(value) for value in embedded):
        return "lexical"
    if root.kind == "text":
        return "quill"
    elements = [value for value in embedded if value.kind == "element"]
    if len(elements) < len(root.children) - sum(value.kind == "xml_text" for value in embedded) or (
        embedded and not elements and any(value.entries for value in embedded)
    ):
        raise InvalidRequest("no known editor writes such a root")
    names = {name for element in elements for name in _names(element)}
    if any(element.name == "blockGroup" for element in elements):
        return "blocknote"
    if any("spread" in each.entries for element in elements for each in _below(element)):
        return "milkdown"
    fitting = [schema for schema in OTHER_NAMES if names & _TELLING <= _names_of(schema)]
    return hint if hint in fitting else fitting[0] if fitting else "tiptap"


def no_rich_text(kind: TypeKind) -> InvalidRequest:
    """The error for a map or an array."""
    return InvalidRequest(f"this root is {'an array' if kind == 'array' else 'a map'}, not rich text")


def _names_of(schema: RichSchema) -> Set[str]:
    """How a schema names what others name otherwise."""
    return {OTHER_NAMES[schema].get(name, name) for name in _OTHERWISE}


def _below(element: Node) -> Iterator[Node]:
    yield element
    for child in element.children:
        if isinstance(child, Embed) and isinstance(child.value, Node):
            yield from _below(child.value)


def _names(element: Node) -> Iterator[str]:
    for each in _below(element):
        if each.kind == "element":
            yield each.name
        for child in each.children:
            yield from child.marks


def read_rich(children: Sequence[Run | Embed], schema: RichSchema) -> list[RichNode]:
    """The children of a root, or of anything in it, as rich text."""
    match schema:
        case "quill":
            return read_quill(children)
        case "lexical":
            return read_lexical(children)
        case "blocknote":
            return read_blocknote(read_json(children))
        case _:
            return to_tiptap(read_json(children))


def write_rich(parts: Sequence[RichNode], schema: RichSchema, present: Node, new_id: Callable[[], str]) -> Node:
    """Rich text as a root, for the editor that wrote ``present``. ``new_id`` names new blocks.

    Raises :class:`InvalidRequest` for nodes that this editor does not have.
    """
    match schema:
        case "quill":
            return Node("text", children=write_quill(parts))
        case "lexical":
            return Node("xml_text", children=write_lexical(parts, types_in(present.children)))
        case "blocknote":
            return Node("fragment", children=write_json(write_blocknote(parts, new_id)))
        case _:
            inline = has_inline_images(read_rich(present.children, schema))
            return Node("fragment", children=write_json(from_tiptap(parts, schema, inline_images=inline)))
