"""Documents as they were, and the edit that makes one be so again. Runs in the child process."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pycrdt

from collab.sandbox.work import read_roots
from collab.wire.update import Gate

Doc = pycrdt.Doc[Any]
_KINDS: Mapping[str, Any] = {
    "map": pycrdt.Map,
    "array": pycrdt.Array,
    "text": pycrdt.Text,
    "xml": pycrdt.XmlFragment,
}
_EMPTY = b"\x00\x00"


def load(updates: Sequence[bytes]) -> tuple[Doc, dict[str, str]]:
    """A document of updates that passed the gate once, and the kinds of its roots. Raises what the gate raises."""
    doc: Doc = pycrdt.Doc()
    gate = Gate()
    for update in updates:
        if update != _EMPTY:
            gate.commit(gate.check(update, limit=len(update)))
            doc.apply_update(update)
    return doc, dict(gate.roots)


def read_past(updates: Sequence[bytes], without: Collection[str]) -> dict[str, Any]:
    """All roots but some as plain values (see :func:`collab.sandbox.work.read_json`)."""
    doc, kinds = load(updates)
    return read_roots(doc, {name: kind for name, kind in kinds.items() if name not in without})


def restore(now: bytes, updates: Sequence[bytes], owned: Collection[str]) -> bytes | None:
    """An update for the document ``now`` after which its roots, but for ``owned``, are like those of ``updates``.

    What is the same in both stays as it is, with the cursors in it; what differs is deleted and written anew. ``None``
    if nothing differs. Raises what the gate raises.
    """
    old, kinds = load(updates)
    new, now_kinds = load([now])
    before = new.get_state()
    deleted = new.get_update(before)
    with new.transaction():
        for name, kind in {**kinds, **now_kinds}.items():
            if name not in owned:
                root = _KINDS[kind]
                _rewrite(new.get(name, type=root), old.get(name, type=root))
    update = new.get_update(before)
    return None if update == deleted else update


def _rewrite(new: Any, old: Any) -> None:
    match new:
        case pycrdt.Text() | pycrdt.XmlText():
            _rewrite_text(new, _chunks(old))
        case pycrdt.Array():
            _rewrite_list(new, list(_items(old)))
        case pycrdt.Map():
            entries = dict(old.items())
            for key in list(new.keys()):
                if key not in entries:
                    del new[key]
            for key, value in entries.items():
                if key not in new or not _same(new[key], value):
                    new[key] = _clone(value)
                    _fill(new[key], value)
        case pycrdt.XmlFragment() | pycrdt.XmlElement():
            _rewrite_list(new.children, _children(old))


def _rewrite_list(new: Any, old: list[Any]) -> None:
    """Replace what lies between the equal beginning and the equal end; go into a single element that is alike."""
    mine = [new[index] for index in range(len(new))]
    start = 0
    while start < min(len(mine), len(old)) and _same(mine[start], old[start]):
        start += 1
    end = 0
    while end < min(len(mine), len(old)) - start and _same(mine[-1 - end], old[-1 - end]):
        end += 1
    gone, come = mine[start : len(mine) - end], old[start : len(old) - end]
    if len(gone) == len(come) == 1 and _alike(gone[0], come[0]):
        _rewrite(gone[0], come[0])
        return
    for index in reversed(range(start, start + len(gone))):
        del new[index]
    for index, value in enumerate(come, start):
        new.insert(index, _clone(value))
        _fill(new[index], value)


def _rewrite_text(new: Any, chunks: list[tuple[Any, Any]]) -> None:
    mine = _chunks(new)
    if mine == chunks:
        return
    if isinstance(new, pycrdt.Text) and _is_bare(mine) and _is_bare(chunks):
        was = mine[0][0] if mine else ""
        want = chunks[0][0] if chunks else ""
        start = 0
        while start < min(len(was), len(want)) and was[start] == want[start]:
            start += 1
        end = 0
        while end < min(len(was), len(want)) - start and was[-1 - end] == want[-1 - end]:
            end += 1
        at = len(was[:start].encode())
        gone = len(was[start : len(was) - end].encode())
        if gone:
            del new[at : at + gone]
        if text := want[start : len(want) - end]:
            new.insert(at, text)
        return
    new.clear()
    _write(new, chunks)


def _write(text: Any, chunks: list[tuple[Any, Any]]) -> None:
    at = 0
    for value, attributes in chunks:
        if isinstance(value, str):
            text.insert(at, value, attributes)
            at += len(value.encode())
        else:
            text.insert_embed(at, value, attributes)
            at += 1


def _chunks(text: Any) -> list[tuple[Any, Any]]:
    return [(value, attributes or None) for value, attributes in text.diff()]


def _is_bare(chunks: list[tuple[Any, Any]]) -> bool:
    return not chunks or (len(chunks) == 1 and isinstance(chunks[0][0], str) and not chunks[0][1])


def _items(array: Any) -> Sequence[Any]:
    return [array[index] for index in range(len(array))]


def _children(node: Any) -> list[Any]:
    return list(node.children)


def _attributes(node: Any) -> dict[str, Any]:
    return dict(iter(node.attributes))


def _clone(value: Any) -> Any:
    """The same, not in a document yet; :func:`_fill` gives it what only what is in a document can have."""
    match value:
        case pycrdt.Text():
            return pycrdt.Text()
        case pycrdt.Array():
            return pycrdt.Array()
        case pycrdt.Map():
            return pycrdt.Map()
        case pycrdt.XmlText():
            return pycrdt.XmlText()
        case pycrdt.XmlElement():
            return pycrdt.XmlElement(value.tag or "", _attributes(value), [])
        case pycrdt.XmlFragment():
            return pycrdt.XmlFragment()
        case _:
            return value


def _fill(new: Any, old: Any) -> None:
    match old:
        case pycrdt.Text() | pycrdt.XmlText():
            _write(new, _chunks(old))
            if isinstance(old, pycrdt.XmlText):
                for name, value in _attributes(old).items():
                    new.attributes[name] = value
        case pycrdt.Array():
            for index, value in enumerate(_items(old)):
                new.insert(index, _clone(value))
                _fill(new[index], value)
        case pycrdt.Map():
            for key, value in old.items():
                new[key] = _clone(value)
                _fill(new[key], value)
        case pycrdt.XmlElement() | pycrdt.XmlFragment():
            for value in _children(old):
                new.children.append(_clone(value))
                _fill(new.children[len(new.children) - 1], value)


def _same(one: Any, other: Any) -> bool:
    return bool(_shape(one) == _shape(other))


def _alike(one: Any, other: Any) -> bool:
    """Whether one can be made the other from the inside."""
    if type(one) is not type(other):
        return False
    if isinstance(one, pycrdt.XmlElement):
        return bool(one.tag == other.tag) and _attributes(one) == _attributes(other)
    return isinstance(one, pycrdt.Text | pycrdt.XmlText | pycrdt.Array | pycrdt.Map)


def _shape(value: Any) -> Any:
    """All that can be seen of a value, to be compared."""
    match value:
        case pycrdt.Text():
            return "text", _chunks(value)
        case pycrdt.XmlText():
            return "xmltext", _chunks(value), _attributes(value)
        case pycrdt.Array():
            return "array", [_shape(item) for item in _items(value)]
        case pycrdt.Map():
            return "map", {key: _shape(item) for key, item in value.items()}
        case pycrdt.XmlElement():
            return "element", value.tag, _attributes(value), [_shape(child) for child in _children(value)]
        case pycrdt.XmlFragment():
            return "fragment", [_shape(child) for child in _children(value)]
        case _:
            return type(value).__name__, value
