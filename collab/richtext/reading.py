"""What a format says of a root. Needs no parser, so that whoever only reads loads none."""

from __future__ import annotations

from typing import Any

import msgspec

from collab.contents.tree import Node, as_text
from collab.errors import InvalidRequest
from collab.richtext.forms import PROSEMIRROR, no_rich_text, read_rich, schema_of
from collab.richtext.html_writer import write_html
from collab.richtext.markdown_writer import write_markdown
from collab.richtext.model import node, plain_text
from collab.richtext.names import ReadFormat
from collab.richtext.prosemirror import read_json
from collab.richtext.quill import read_delta


def read_root(root: Node, form: ReadFormat) -> str:
    """A root in a format; those that are JSON are encoded. Raises :class:`InvalidRequest` if it cannot be read so."""
    if form == "text":
        return _read_text(root)
    schema = schema_of(root)
    if form == "delta":
        if schema not in (None, "quill"):
            raise InvalidRequest("only a text has a delta; this root is XML")
        return _encode(read_delta(root.children))
    if form == "prosemirror":
        parts = read_json(root.children) if schema in PROSEMIRROR else read_rich(root.children, schema or "tiptap")
        return _encode(node("doc", parts))
    parts = read_rich(root.children, schema or "tiptap")
    return write_markdown(parts) if form == "markdown" else write_html(parts)


def _read_text(root: Node) -> str:
    if root.kind in ("map", "array"):
        raise no_rich_text(root.kind)
    if root.kind == "text":
        return as_text(root)
    try:
        schema = schema_of(root)
    except InvalidRequest:
        return as_text(root)
    return plain_text(read_rich(root.children, schema or "tiptap"))


def _encode(value: Any) -> str:
    return msgspec.json.encode(value).decode()
