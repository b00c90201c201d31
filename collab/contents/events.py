"""The changes that a turn made to a document, in the terms of Yjs events: deltas, keys and paths.

Text is counted in UTF-16 code units, as in JavaScript. Facts: https://github.com/yjs/yjs ``src/utils/YEvent.js``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import reduce
from itertools import takewhile
from typing import Any, TypeAlias

import msgspec

from collab.contents.items import ROOT, TEXT, XML_TEXT, ItemRun, Stretch, Type
from collab.contents.replica import Replica
from collab.contents.tree import ContentValue, Node, as_json, mark, value_of, values_of
from collab.contents.values import equal, text_of
from collab.gate.struct_content import FORMAT

MAX_BYTES = 64 * 1024
"""Limit for the change of one root in one turn, as JSON; a larger one is only mentioned."""
TRUNCATED: Mapping[str, Any] = {"truncated": True}

Delta: TypeAlias = list[dict[str, Any]]
ContentPath: TypeAlias = list[str | int]


def changes(replica: Replica, roots: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The changes of the current turn, by changed root. ``roots`` maps the roots to look at to their kinds.

    A change is ``{"delta": [...]}`` for a text, ``{"paths": [{"path", "delta" or "keys"}, ...]}`` for all others,
    outermost first, or ``{"truncated": True}``. Content inside something new is not listed again.
    """
    told: dict[str, list[dict[str, Any]]] = {}
    places = _Places(replica)
    for type_, keys in replica.touched.items():
        found = places.path(type_)
        if found is None or found[0] not in roots:
            continue
        name, path = found
        entry: dict[str, Any] = {"path": path}
        if delta := _delta(replica, type_, is_text=_is_text(type_, roots[name])):
            entry["delta"] = delta
        if changed := {key: change for key in sorted(keys) if (change := _key(replica, type_, key))}:
            entry["keys"] = changed
        if len(entry) > 1:
            told.setdefault(name, []).append(entry)
    return {name: _of_root(paths, roots[name]) for name, paths in told.items()}


def _of_root(paths: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    paths.sort(key=lambda entry: len(entry["path"]))
    if kind == "text" and len(paths) == 1 and not paths[0]["path"] and "keys" not in paths[0]:
        change: dict[str, Any] = {"delta": paths[0]["delta"]}
    else:
        change = {"paths": paths}
    return change if len(msgspec.json.encode(change)) <= MAX_BYTES else dict(TRUNCATED)


class _Places:
    """The current places of types."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._starts: dict[Type, dict[Stretch, int]] = {}

    def path(self, type_: Type) -> tuple[str, ContentPath] | None:
        """Root and path of a type that existed before the turn and still exists."""
        path: ContentPath = []
        while type_.item is not None:
            item = type_.item
            if item.deleted or item.parent is None or self._replica.is_new(item):
                return None
            path.append(item.key if item.key is not None else self._index(item.parent, item))
            type_ = item.parent
        path.reverse()
        return type_.name, path

    def _index(self, parent: Type, item: ItemRun) -> int:
        starts = self._starts.get(parent)
        if starts is None:
            starts = self._starts[parent] = {}
            index = 0
            for stretch in parent.stretches():
                starts[stretch] = index
                index += stretch.length
        assert item.stretch is not None
        before = takewhile(lambda other: other is not item, item.stretch.items())
        return starts[item.stretch] + sum(other.length for other in before if other.counts)


def _is_text(type_: Type, kind: str) -> bool:
    if type_.kind != ROOT:
        return type_.kind in (TEXT, XML_TEXT)
    return kind == "text" or type_.has_text


def _delta(replica: Replica, type_: Type, *, is_text: bool) -> Delta:
    """The delta of a type's list; empty if it has not changed."""
    delta: Delta = []
    before: dict[str, Any] = {}  # marks at this position, before and after the turn
    after: dict[str, Any] = {}
    same = True  # whether they are equal
    passed = 0
    for stretch in type_.stretches():
        if stretch.turn != replica.turn and same:
            passed += stretch.length
            if stretch.has_marks:
                before = after = reduce(mark, _living_marks(stretch), after)
            continue
        for item in stretch.items():
            was = not replica.is_new(item) and item.deleted in (0, replica.turn)
            if was and item.counts and same:
                passed += item.length
                continue
            if passed:
                _append(delta, {"retain": passed}, {})
                passed = 0
            if item.ref == FORMAT:
                if was:
                    before = mark(before, item)
                if not item.deleted:
                    after = mark(after, item)
                same = equal(before, after)
            elif not item.deleted and was:
                changed = {
                    key: as_json(after.get(key))
                    for key in (*after, *(key for key in before if key not in after))
                    if not equal(before.get(key), after.get(key))
                }
                _append(delta, {"retain": item.length}, changed)
            elif was:
                _append(delta, {"delete": item.length}, {})
            elif not item.deleted:
                marks = {key: as_json(value) for key, value in after.items()}
                for inserted in _inserted(item, is_text=is_text):
                    _append(delta, {"insert": inserted}, marks)
    while delta and delta[-1].keys() == {"retain"}:
        delta.pop()
    return [
        part | {"insert": text_of(part["insert"])} if isinstance(part.get("insert"), str) else part for part in delta
    ]


def _living_marks(stretch: Stretch) -> Iterator[ItemRun]:
    return (item for item in stretch.items() if item.ref == FORMAT and not item.deleted)


def _inserted(item: ItemRun, *, is_text: bool) -> Iterator[Any]:
    if isinstance(item.content, str):
        yield item.content if is_text else [text_of(item.content)]
        return
    if is_text:
        yield from map(_embedded, values_of(item))
    else:
        yield [as_json(value) for value in values_of(item)]


def _embedded(value: ContentValue) -> Any:
    """An embedded value as an object, so that it cannot be mistaken for characters."""
    shown = as_json(value)
    if isinstance(shown, dict):
        return shown
    if not isinstance(value, Node) or value.kind == "array":
        return {"value": shown}
    return {"text" if value.kind == "text" else "xml": shown}


def _append(delta: Delta, part: dict[str, Any], marks: Mapping[str, Any]) -> None:
    """Append a part; merge it into the last one if they are of the same kind."""
    if marks:
        part["attributes"] = marks
    last = delta[-1] if delta else {}
    if last.keys() == part.keys() and equal(last.get("attributes", {}), marks):
        for word in ("retain", "delete", "insert"):
            value = part.get(word)
            if isinstance(value, int | str | list) and isinstance(last[word], type(value)):
                last[word] += value
                return
    delta.append(part)


def _key(replica: Replica, type_: Type, key: str) -> dict[str, Any] | None:
    """The change of one key; ``None`` if there is none. A deleted shared type has no old value any more."""
    newest = type_.entries[key]
    old: ItemRun | None = newest
    while old is not None and replica.is_new(old):
        old = old.left
    was = old is not None and old.deleted in (0, replica.turn)
    if newest.deleted and not was:
        return None
    if newest is old and not newest.deleted:
        return None  # the incoming write lost against it
    change: dict[str, Any] = {"action": "delete" if newest.deleted else "update" if was else "add"}
    if was and old is not None and not isinstance(old.content, Type):
        change["oldValue"] = as_json(value_of(old, -1))
    if not newest.deleted:
        change["newValue"] = as_json(value_of(newest, -1))
    return change
