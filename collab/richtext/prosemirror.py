"""ProseMirror documents in Yjs, as y-prosemirror writes them: elements, and texts with marks."""

from __future__ import annotations

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from hashlib import sha256
from typing import Any, TypeAlias

from collab.contents.tree import Embed, Node, Run, as_json
from collab.errors import InvalidRequest
from collab.richtext.model import RichNode, attrs_of, content_of, is_inline, joined, node, without_images
from collab.richtext.names import OTHER_ATTRIBUTES, OTHER_NAMES, RichSchema, mark_name, tiptap_attribute, tiptap_name

_DEPTH = 100

MarkNames: TypeAlias = Mapping[tuple[str, str], str]
"""A mark's name and its attributes as JSON -> its name in Yjs."""


def read_json(children: Sequence[Run | Embed]) -> list[RichNode]:
    """The children of a fragment or an element as ProseMirror's JSON, with the names that they have there."""
    return list(joined(part for child in children for part in _read(child)))


def _read(child: Run | Embed) -> Iterator[RichNode]:
    if isinstance(child, Run) or not isinstance(child.value, Node):
        return
    inner = child.value
    if inner.kind == "element":
        attrs = {key: as_json(value) for key, value in inner.entries.items() if key != "ychange"}
        yield node(inner.name, read_json(inner.children), **attrs)
    elif inner.kind in ("xml_text", "text"):
        for run in inner.children:
            if isinstance(run, Run):
                part: RichNode = {"type": "text", "text": run.text}
                marks = [_mark(name, value) for name, value in run.marks.items() if name != "ychange"]
                if marks:
                    part["marks"] = marks
                yield part


def _mark(name: str, value: Any) -> RichNode:
    attrs = {key: item for key, item in value.items() if item is not None} if isinstance(value, dict) else {}
    return node(mark_name(name), **attrs)


def mark_names(children: Sequence[Run | Embed]) -> MarkNames:
    """The names that the marks of a document have in Yjs."""
    found: dict[tuple[str, str], str] = {}
    for child in children:
        if isinstance(child, Embed) and isinstance(child.value, Node):
            found |= mark_names(child.value.children)
        for name, value in child.marks.items():
            found.setdefault(_key(_mark(name, value)), name)
    return found


def _key(mark: RichNode) -> tuple[str, str]:
    return mark["type"], json.dumps(attrs_of(mark), sort_keys=True, default=repr)


def _named(part: RichNode, known: MarkNames, several: Set[str]) -> dict[str, Any]:
    """The marks of a text by their names in Yjs; those of which ``several`` may stand together have one each."""
    marks: list[RichNode] = part.get("marks") or []
    counts = Counter(mark["type"] for mark in marks)
    found: dict[str, Any] = {}
    for mark in marks:
        name, attrs = key = _key(mark)
        if name in several or counts[name] > 1:
            digest = b64encode(sha256(attrs.encode()).digest()[:6]).decode()
            name = known.get(key, name) if known.get(key, name) != name else f"{name}--{digest}"
        found[name] = dict(attrs_of(mark))
    return found


def write_json(parts: Sequence[RichNode], known: MarkNames | None = None) -> list[Run | Embed]:
    """ProseMirror's JSON as the children of a fragment or an element, with the mark names ``known`` there."""
    names = known or {}
    return _write(parts, names, {kind for (kind, _), name in names.items() if kind != name})


def _write(parts: Sequence[RichNode], known: MarkNames, several: Set[str]) -> list[Run | Embed]:
    children: list[Run | Embed] = []
    texts: list[Run | Embed] = []
    for part in joined(parts):
        if part["type"] == "text":
            texts.append(Run(part["text"], _named(part, known, several)))
            continue
        if texts:
            children.append(Embed(Node("xml_text", children=texts), {}))
            texts = []
        entries = {key: value for key, value in attrs_of(part).items() if value is not None}
        children.append(Embed(Node("element", part["type"], entries, _write(content_of(part), known, several)), {}))
    if texts:
        children.append(Embed(Node("xml_text", children=texts), {}))
    return children


def to_tiptap(parts: Sequence[RichNode]) -> list[RichNode]:
    """The same with Tiptap's names."""
    return [_renamed(part) for part in parts]


def _renamed(part: RichNode) -> RichNode:
    name = part["type"]
    made: RichNode = {**part, "type": tiptap_name(name)}
    if "attrs" in part:
        made["attrs"] = {tiptap_attribute(name, key): value for key, value in part["attrs"].items()}
    if "content" in part:
        made["content"] = to_tiptap(part["content"])
    if "marks" in part:
        made["marks"] = [{**mark, "type": tiptap_name(mark["type"])} for mark in part["marks"]]
    if name == "list_item" and isinstance(attrs_of(part).get("checked"), bool):
        made["type"] = "taskItem"
    if made["type"] == "bulletList" and any(item["type"] == "taskItem" for item in content_of(made)):
        made["type"] = "taskList"
        made["content"] = [{**item, "type": "taskItem"} for item in content_of(made)]
    return made


def from_tiptap(parts: Sequence[RichNode], schema: RichSchema, *, inline_images: bool) -> list[RichNode]:
    """The same with the names of a schema, and with the paragraphs that ProseMirror requires."""
    return [_fitted(part, schema) for part in _placed(parts, inline_images or schema != "tiptap")]


def _fitted(part: RichNode, schema: RichSchema) -> RichNode:
    names = OTHER_NAMES[schema]
    name = part["type"]
    content = content_of(part)
    if name in ("listItem", "taskItem", "tableCell", "tableHeader") and (
        not content or (content[0]["type"] != "paragraph" and name.endswith("Item"))
    ):
        content = [node("paragraph"), *content]
    if name == "blockquote" and not content:
        content = [node("paragraph")]
    attrs = dict(attrs_of(part))
    if schema != "tiptap" and name in ("taskList", "taskItem"):
        name = {"taskList": "bulletList", "taskItem": "listItem"}[name]
    other = names.get(name, name)
    made: RichNode = {**part, "type": other}
    if attrs:
        made["attrs"] = {_attribute(other, key, schema): value for key, value in attrs.items()}
    if content:
        made["content"] = [_fitted(inner, schema) for inner in content]
    if "marks" in part:
        made["marks"] = [{**mark, "type": names.get(mark["type"], mark["type"])} for mark in part["marks"]]
    return made


def _attribute(name: str, key: str, schema: RichSchema) -> str:
    if schema == "prosemirror" and (name, key) == ("code_block", "language"):
        return "params"
    return OTHER_ATTRIBUTES.get((name, key), key)


def _placed(parts: Sequence[RichNode], inline_images: bool) -> Iterator[RichNode]:
    """Put images into paragraphs, or beside them, as the schema wants them."""
    for part in parts:
        if part["type"] == "image" and inline_images:
            yield node("paragraph", [part])
            continue
        content = content_of(part)
        if part["type"] == "paragraph":
            yield from [part] if inline_images else without_images(part)
        elif part["type"] == "heading" and not inline_images:
            content = [inner for inner in content if inner["type"] != "image"]
            yield {**part, "content": content}
        elif content and not is_inline(content[0]):
            yield {**part, "content": list(_placed(content, inline_images))}
        else:
            yield part


def has_inline_images(parts: Sequence[RichNode]) -> bool:
    """Whether images stand inside paragraphs."""
    return any(
        (part["type"] == "paragraph" and any(inner["type"] == "image" for inner in content_of(part)))
        or has_inline_images(content_of(part))
        for part in parts
    )


def check(value: Any) -> list[RichNode]:
    """The content of a ``doc`` in ProseMirror's JSON. Raises :class:`InvalidRequest` for anything else."""
    if not isinstance(value, dict) or value.get("type") != "doc":
        raise InvalidRequest('ProseMirror JSON is an object with "type": "doc"')
    return [_checked(part, f"content[{n}]", 1) for n, part in enumerate(_list(value, "content", "the document"))]


def _checked(value: Any, place: str, depth: int) -> RichNode:
    if depth > _DEPTH:
        raise InvalidRequest(f"{place}: nested more than {_DEPTH} levels deep")
    name = _name(value, place)
    made: RichNode = {"type": name}
    if name == "text":
        if not isinstance(value.get("text"), str) or not value["text"]:
            raise InvalidRequest(f"{place}: a text needs a text that is not empty")
        made["text"] = value["text"]
        marks = [_checked_mark(mark, f"{place}.marks[{n}]") for n, mark in enumerate(_list(value, "marks", place))]
        if marks:
            made["marks"] = marks
        return made
    attrs = _attrs(value, place)
    if attrs:
        made["attrs"] = attrs
    content = _list(value, "content", place)
    if content:
        made["content"] = [_checked(part, f"{place}.content[{n}]", depth + 1) for n, part in enumerate(content)]
    return made


def _checked_mark(value: Any, place: str) -> RichNode:
    return node(_name(value, place), **_attrs(value, place))


def _name(value: Any, place: str) -> str:
    if not isinstance(value, dict):
        raise InvalidRequest(f"{place}: must be an object")
    name = value.get("type")
    if not isinstance(name, str) or not name or len(name) > 100:
        raise InvalidRequest(f"{place}: needs a type")
    return name


def _attrs(value: Mapping[str, Any], place: str) -> dict[str, Any]:
    attrs = value.get("attrs")
    if attrs is not None and not isinstance(attrs, dict):
        raise InvalidRequest(f"{place}.attrs: must be an object")
    return {key: item for key, item in (attrs or {}).items() if item is not None}


def _list(value: Mapping[str, Any], member: str, place: str) -> list[Any]:
    found = value.get(member)
    if found is not None and not isinstance(found, list):
        raise InvalidRequest(f"{place}.{member}: must be a list")
    return found or []
