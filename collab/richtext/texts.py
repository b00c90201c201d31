"""The texts of a document, for search: a paragraph, a row of a table, or a string in each."""

from __future__ import annotations

from collections.abc import Iterator

from collab.contents.tree import ContentValue, Embed, Node, Run
from collab.errors import InvalidRequest
from collab.richtext.forms import read_rich, schema_of
from collab.richtext.model import lines_of

_XML = ("fragment", "element", "xml_text")


def texts_of(value: ContentValue) -> Iterator[str]:
    """The texts of a root, or of anything in it: those of rich text as editors show it, and strings inside others.

    Numbers are none: in maps and arrays they are places, sizes and colours.
    """
    match value:
        case Node():
            yield from _rich_texts(value) if value.kind in _XML else _texts_in(value)
        case str():
            yield value
        case dict():
            for name in sorted(value):
                yield from texts_of(value[name])
        case list():
            for item in value:
                yield from texts_of(item)


def _rich_texts(node: Node) -> Iterator[str]:
    root = node if node.kind != "element" else Node("fragment", children=[Embed(node, {})])
    try:
        schema = schema_of(root)
    except InvalidRequest:  # no known editor has written this
        yield from _texts_in(root)
    else:
        yield from lines_of(read_rich(root.children, schema or "tiptap"))


def _texts_in(node: Node) -> Iterator[str]:
    """What a type holds: characters up to the next other element are one text."""
    if node.kind == "map":
        for name in sorted(node.entries):
            yield from texts_of(node.entries[name])
    characters: list[str] = []
    for child in node.children:
        if isinstance(child, Run):
            characters.append(child.text)
            continue
        if characters:
            yield "".join(characters)
            characters = []
        inner = child.value
        if isinstance(inner, Node) and inner.kind in _XML and node.kind in _XML:
            yield from _texts_in(inner)
        elif isinstance(inner, Node) or node.kind == "array":  # what else is inside a text is its format
            yield from texts_of(inner)
    if characters:
        yield "".join(characters)
