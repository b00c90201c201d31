"""The edit that makes a root say something else in a format."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import msgspec

from collab.contents.replica import Replica
from collab.contents.rewrite import Meaning, rewrite
from collab.contents.tree import ContentValue, Embed, Node, Run, TypeKind, kind_of, node_of
from collab.contents.values import equal
from collab.errors import InvalidRequest
from collab.richtext.forms import PROSEMIRROR, no_rich_text, read_rich, schema_of, write_rich
from collab.richtext.html_reader import read_html
from collab.richtext.html_writer import write_html
from collab.richtext.lexical import FORMATS, type_of
from collab.richtext.markdown_reader import read_markdown
from collab.richtext.markdown_writer import write_markdown
from collab.richtext.model import RichNode, attrs_of, content_of, marks_of, node, whole
from collab.richtext.names import RichSchema, WriteFormat, tiptap_name
from collab.richtext.prosemirror import check, mark_names, read_json, write_json
from collab.richtext.quill import BLOCK_FORMATS

_MARKDOWN_MARKS = frozenset({"bold", "italic", "strike", "code", "link"})
_HTML_MARKS = frozenset({*_MARKDOWN_MARKS, "underline", "subscript", "superscript", "highlight"})
_ATTRIBUTES = {
    "heading": ("level",),
    "orderedList": ("start",),
    "taskItem": ("checked",),
    "codeBlock": ("language",),
    "image": ("src", "alt", "title"),
    "link": ("href", "title"),
    "tableCell": ("colspan", "rowspan"),
    "tableHeader": ("colspan", "rowspan"),
}
_SAYABLE = frozenset(
    {
        *("level", "start", "order", "checked", "language", "params", "src", "alt", "title", "url", "href", "caption"),
        *("__tag", "__start", "__listType", "__checked", "__language", "__url", "__title", "__src", "__altText"),
    }
)
_DEFAULTS = {"start": 1, "colspan": 1, "rowspan": 1, "checked": False, "title": "", "alt": "", "language": ""}
_AROUND = {"listItem": "bulletList", "taskItem": "taskList", "tableRow": "table"}
_KNOWN = frozenset(
    {
        *("paragraph", "heading", "bulletList", "orderedList", "taskList", "listItem", "taskItem"),
        *("blockquote", "codeBlock", "horizontalRule", "hardBreak", "image", "table", "tableRow"),
        *("tableCell", "tableHeader", "text", "mention"),
    }
)


def set_root(
    now: Replica,
    name: str,
    form: WriteFormat,
    content: str,
    *,
    known: TypeKind | None = None,
    schema: RichSchema | None,
    client: int,
    new_id: Callable[[], str],
) -> bytes | None:
    """An update (Yjs encoding v1) of ``client`` after which a root says ``content``; ``None`` if it does already.

    ``known`` is what the root was before it was emptied, if it was. ``schema`` is the one of an empty root, by default
    Tiptap's. Raises :class:`InvalidRequest` if the content cannot be read, or not be written for the editor of this
    document.
    """
    if known in ("map", "array"):
        raise no_rich_text(known)  # whatever else somebody has put there
    kind = kind_of(now.root(name), known)
    empty: TypeKind = "text" if form == "text" or schema == "quill" else "fragment"
    root = node_of(now.root(name), kind or empty)
    if root.kind in ("map", "array"):
        raise no_rich_text(root.kind)
    if form == "text":
        return _set_text(now, name, root, content, client)
    found = schema_of(root, schema)
    if found is not None and schema is not None and found != schema:
        raise InvalidRequest(f"this document has the form of {found}, not of {schema}")
    using: RichSchema = found or schema or "tiptap"
    if using == "quill" and root.kind != "text":
        raise InvalidRequest("this root is XML, not a text as Quill has it")
    parts = _parsed(content, form)
    if form == "prosemirror" and using in PROSEMIRROR:
        if equal(read_json(root.children), parts):
            return None  # also where Yjs holds more than this JSON can say
        return rewrite(
            now, name, Node("fragment", children=write_json(parts, mark_names(root.children))), _EXACT, client
        )
    saying = Saying(form, using)
    if saying.of_blocks(read_rich(root.children, using)) == saying.wanted_blocks(parts):
        return None
    return rewrite(now, name, write_rich(parts, using, root, new_id), saying.meaning(), client)


def _set_text(now: Replica, name: str, root: Node, content: str, client: int) -> bytes | None:
    if root.kind != "text":
        raise InvalidRequest("this root has more than plain text; write Markdown, HTML or ProseMirror JSON")
    wanted = Node("text", children=[Run(content, {})] if content else [])
    return rewrite(now, name, wanted, _CHARACTERS, client)


def _parsed(content: str, form: WriteFormat) -> list[RichNode]:
    match form:
        case "markdown":
            return read_markdown(content)
        case "html":
            return read_html(content)
        case _:
            try:
                value = msgspec.json.decode(content)
            except (msgspec.MsgspecError, RecursionError) as error:
                raise InvalidRequest(f"the body is not JSON: {error}") from None
            return check(value)


class Saying:
    """What a format says of the nodes of a schema."""

    def __init__(self, form: WriteFormat, schema: RichSchema) -> None:
        self._form = form
        self._schema = schema
        self._marks = {"markdown": _MARKDOWN_MARKS, "html": _HTML_MARKS}.get(form)

    def meaning(self) -> Meaning:
        return Meaning(
            self._of,
            self._wanted,
            self._blank,
            self._knows,
            self._has,
            keeps=frozenset({"id"}),
            lines=self._schema == "quill",
        )

    def of_blocks(self, parts: Sequence[RichNode]) -> tuple[Hashable, ...]:
        """What is said of blocks: what a reader of the format understands of what a writer says of them."""
        try:
            match self._form:
                case "markdown":
                    return self.wanted_blocks(read_markdown(write_markdown(parts)))
                case "html":
                    return self.wanted_blocks(read_html(write_html(parts)))
                case _:
                    return self.wanted_blocks(parts)
        except InvalidRequest:  # nested more deeply than the format may be: nothing that is wanted equals it
            return (("too deep", repr(parts)),)

    def wanted_blocks(self, parts: Sequence[RichNode]) -> tuple[Hashable, ...]:
        """The same of blocks that come from a reader of the format."""
        return tuple(self._canonical(parts))

    def _of(self, value: ContentValue) -> Sequence[Hashable]:
        return self._said(value, self._projected)

    def _wanted(self, value: ContentValue) -> Sequence[Hashable]:
        return self._said(value, self.wanted_blocks)

    def _said(
        self, value: ContentValue, blocks: Callable[[Sequence[RichNode]], tuple[Hashable, ...]]
    ) -> Sequence[Hashable]:
        if not isinstance(value, Node):
            shown = value.get("image") if isinstance(value, dict) and self._schema == "quill" else None
            return (("image", shown),) if isinstance(shown, str) else ()
        if value.kind == "text":
            return self._said_line(value, blocks)
        if value.kind == "map" and type_of(value) != "linebreak":
            if not type_of(value):
                return ()
            bits = whole(value.entries.get("__format"), 0)
            known = sum(bit for name, bit in FORMATS.items() if self._marks is None or name in self._marks)
            return (("run", bits & known),)
        return blocks(self._read(value))

    def _said_line(
        self, line: Node, blocks: Callable[[Sequence[RichNode]], tuple[Hashable, ...]]
    ) -> Sequence[Hashable]:
        """What is said of one line of Quill: with its depth, which a line alone does not show otherwise."""
        said = blocks(self._read_children(line.children))
        formats = line.children[-1].marks if line.children else {}
        return ((whole(formats.get("indent"), 0) if formats.get("list") else 0, said),) if said else ()

    def _read(self, value: Node) -> list[RichNode]:
        return self._read_children([Embed(value, {})])

    def _read_children(self, children: Sequence[Run | Embed]) -> list[RichNode]:
        return read_rich(children, self._schema)

    def _projected(self, parts: Sequence[RichNode]) -> tuple[Hashable, ...]:
        """What is said of parts of a document; an item or a row stands in a list or a table of its own."""
        if len(parts) != 1:
            return self.of_blocks(parts)
        (part,) = parts
        if part["type"] in ("hardBreak", "image", "text", "mention"):
            return self.wanted_blocks(parts)
        if part["type"] in ("tableCell", "tableHeader"):
            return self._inside(self._inside(self.of_blocks([node("table", [node("tableRow", parts)])])))
        around = _AROUND.get(part["type"])
        return self._inside(self.of_blocks([node(around, parts)])) if around is not None else self.of_blocks(parts)

    def _inside(self, said: tuple[Hashable, ...]) -> tuple[Hashable, ...]:
        first = said[0] if said else ()
        inside = first[-1] if isinstance(first, tuple) and first else ()
        return inside if isinstance(inside, tuple) else ()

    def _blank(self, value: ContentValue) -> bool:
        if not isinstance(value, Node) or value.kind not in ("element", "xml_text"):
            return False
        return all(part["type"] == "paragraph" and not content_of(part) for part in self._read(value))

    def _knows(self, mark: str) -> bool:
        if self._schema == "quill" and (mark in BLOCK_FORMATS or mark == "alt"):
            return True
        if self._schema == "quill" and mark == "script":
            return self._form != "markdown"
        return self._marks is None or tiptap_name(mark) in self._marks

    def _has(self, attribute: str, value: Any) -> bool:
        """Whether the format says that an attribute has a value."""
        if attribute.endswith("span"):
            return self._form != "markdown" and value != 1
        if attribute.endswith("checked"):
            return value is not None  # ProseMirror's list items have it if they are tasks
        return attribute in _SAYABLE and value is not None and value != _DEFAULTS.get(attribute)

    def _canonical(self, parts: Sequence[RichNode]) -> Iterator[Hashable]:
        run: list[tuple[str, Hashable]] = []
        for part in parts:
            name, content = part["type"], content_of(part)
            if name == "text":
                marks = self._canonical_marks(part)
                if run and run[-1][1] == marks:
                    run[-1] = (run[-1][0] + part["text"], marks)
                else:
                    run.append((part["text"], marks))
                continue
            yield from (("text", *each) for each in run)
            run = []
            if (name not in _KNOWN and self._marks is not None) or (
                name == "paragraph" and (not content or all(inner["type"] == "image" for inner in content))
            ):
                yield from self._canonical(content)
            elif name != "image" or attrs_of(part).get("src"):
                is_markdown = self._form == "markdown"
                shown = "tableCell" if is_markdown and name == "tableHeader" else name
                yield shown, self._canonical_attrs(name, attrs_of(part)), tuple(self._canonical(content))
        yield from (("text", *each) for each in run)

    def _canonical_marks(self, part: RichNode) -> Hashable:
        return frozenset(
            (name, self._canonical_attrs(name, attrs))
            for name, attrs in marks_of(part).items()
            if self._marks is None or name in self._marks
        )

    def _canonical_attrs(self, name: str, attrs: Any) -> Hashable:
        known = _ATTRIBUTES.get(name, ()) if self._marks is not None else sorted(attrs)
        if self._form == "markdown" and name in ("tableCell", "tableHeader"):
            known = ()
        shown = ((key, attrs.get(key)) for key in known)
        return tuple((key, _frozen(value)) for key, value in shown if value is not None and value != _DEFAULTS.get(key))


def _frozen(value: Any) -> Hashable:
    return value if isinstance(value, str | int | float | None) else json.dumps(value, sort_keys=True)


def _exactly(value: ContentValue) -> Sequence[Hashable]:
    return (json.dumps(read_json([Embed(value, {})]), sort_keys=True),)


_CHARACTERS = Meaning(
    lambda value: (), lambda value: (), lambda value: False, lambda mark: False, lambda key, value: False
)
_EXACT = Meaning(_exactly, _exactly, lambda value: False, lambda mark: True, lambda key, value: True)
