"""Rich text at random, as a reader of a format would give it, and documents that hold it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

from hypothesis import strategies as st

from collab.contents.replica import Replica
from collab.contents.tree import Node, kind_of, node_of
from collab.gate.gate import Gate
from collab.richtext.model import RichNode, joined, node, text
from collab.richtext.names import ReadFormat, RichSchema, WriteFormat
from collab.richtext.reading import read_root
from collab.richtext.setting import set_root

ROOT = "content"
SCHEMAS: tuple[RichSchema, ...] = ("tiptap", "prosemirror", "milkdown", "blocknote", "lexical", "quill")

_WORDS = (
    st.text("ab é😀*_`#[]()<>&!|~\\-+.1=\"'/:", min_size=1, max_size=8).map(lambda s: " ".join(s.split())).filter(bool)
)
_MARKS: st.SearchStrategy[dict[str, dict[str, Any]]] = st.dictionaries(
    st.sampled_from(["bold", "italic", "strike", "code"]), st.just({}), max_size=2
)
_LINK: st.SearchStrategy[dict[str, dict[str, Any]]] = st.builds(
    dict, link=st.builds(dict, href=st.sampled_from(["https://x.y/a_b?c=1&d=(e)", "/r", "mailto:a@b.c"]))
)
TEXTS = st.builds(lambda a, b, c: text(a, {**b, **c}), _WORDS, _MARKS, st.just({}) | _LINK)


def _in_a_row(first: RichNode, others: Sequence[tuple[str, RichNode]]) -> list[RichNode]:
    """Inline nodes, each with what stands before it."""
    return list(joined([first, *(each for space, part in others for each in (text(space), part))]))


INLINE = st.builds(_in_a_row, TEXTS, st.lists(st.tuples(st.sampled_from(["", " "]), TEXTS), max_size=3))
PARAGRAPH = INLINE.map(lambda inline: node("paragraph", inline))
HEADING = st.builds(lambda inline, level: node("heading", inline, level=level), INLINE, st.integers(1, 6))
_CODE = st.text("ab `\n~#", max_size=12).map(lambda code: code.strip("\n"))
CODE = st.builds(
    lambda code, language: node("codeBlock", [text(code)] if code else [], language=language),
    _CODE,
    st.none() | st.just("py"),
)


def _items(kind: str, blocks: st.SearchStrategy[RichNode] | None) -> st.SearchStrategy[RichNode]:
    name = {"taskList": "taskItem"}.get(kind, "listItem")
    content = st.builds(
        lambda first, rest: [first, *rest],
        PARAGRAPH,
        st.lists(blocks, max_size=1) if blocks is not None else st.just([]),
    )
    checked = st.booleans() if kind == "taskList" else st.none()
    item = st.builds(lambda inside, checked: node(name, inside, checked=checked), content, checked)
    start = st.sampled_from([1, 7]) if kind == "orderedList" else st.none()
    return st.builds(lambda items, start: node(kind, items, start=start), st.lists(item, min_size=1, max_size=3), start)


LISTS = st.recursive(
    st.one_of(*(_items(kind, None) for kind in ("bulletList", "orderedList", "taskList"))),
    lambda inner: st.one_of(*(_items(kind, inner) for kind in ("bulletList", "orderedList", "taskList"))),
    max_leaves=4,
)
QUOTE = st.lists(PARAGRAPH, min_size=1, max_size=2).map(lambda blocks: node("blockquote", blocks))


@st.composite
def _tables(draw: st.DrawFn) -> RichNode:
    width = draw(st.integers(1, 3))
    row = st.lists(PARAGRAPH, min_size=width, max_size=width)
    rows = draw(st.lists(row, min_size=1, max_size=3))
    kinds = ["tableHeader", *["tableCell"] * (len(rows) - 1)]
    return node(
        "table",
        [node("tableRow", [node(kind, [cell]) for cell in cells]) for kind, cells in zip(kinds, rows, strict=True)],
    )


IMAGE = st.builds(lambda alt: node("image", src="https://i.png", alt=alt), st.none() | _WORDS)
SIMPLE = st.one_of(PARAGRAPH, HEADING, CODE, LISTS, QUOTE)
"""Blocks that each editor has."""
BLOCKS = st.one_of(SIMPLE, _tables(), IMAGE, st.just(node("horizontalRule")))
DOCUMENTS = st.lists(BLOCKS, max_size=5)
SIMPLE_DOCUMENTS = st.lists(SIMPLE, max_size=5)


class Document:
    """A document behind the gate, which each edit passes."""

    def __init__(self, client: int = 1000) -> None:
        self.replica = Replica()
        self.gate = Gate()
        self.updates: list[bytes] = []
        self._clients = count(client)
        self._ids = count()

    def apply(self, update: bytes) -> None:
        self.gate.commit(self.gate.check_all(update))
        self.replica.apply(update)
        self.updates.append(update)

    def set(self, form: WriteFormat, content: str, schema: RichSchema | None = None, root: str = ROOT) -> bytes | None:
        update = self.edit(form, content, schema, root)
        if update is not None:
            self.apply(update)
        return update

    def edit(self, form: WriteFormat, content: str, schema: RichSchema | None = None, root: str = ROOT) -> bytes | None:
        """The edit that :meth:`set` would apply."""
        client = next(self._clients)
        return set_root(
            self.replica, root, form, content, schema=schema, client=client, new_id=lambda: f"b{next(self._ids)}"
        )

    def node(self, root: str = ROOT) -> Node:
        type_ = self.replica.root(root)
        return node_of(type_, kind_of(type_) or "fragment")

    def read(self, form: ReadFormat, root: str = ROOT) -> str:
        return read_root(self.node(root), form)


def document(updates: Sequence[bytes], client: int) -> Document:
    """A replica, whose edits have client ids from ``client`` on."""
    made = Document(client)
    for update in updates:
        made.apply(update)
    return made


def doc(*content: RichNode) -> dict[str, Any]:
    return {"type": "doc", "content": list(content)}
