"""What edits did to the content of a document, in the words of Yjs events. Runs in the child process.

The library counts text in bytes of UTF-8, and JavaScript in units of UTF-16. What has to be counted anew for a deletion
is no longer there afterwards: so a second document follows, one turn behind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pycrdt

from collab.wire.plain import plain

MAX_BYTES = 64 * 1024
"""Of the change of one root in one turn, as JSON; a larger one is only said to be there."""
TRUNCATED = {"truncated": True}

_ROOTS = {"map": pycrdt.Map, "array": pycrdt.Array, "text": pycrdt.Text, "xml": pycrdt.XmlFragment}
_TEXTS = (pycrdt.Text, pycrdt.XmlText)
_NEW = object()  # instead of a place: where something was put just now

Delta = list[dict[str, Any]]
Event = tuple[list[str | int], bool, Delta, dict[str, Any]]  # path, whether of a text, delta, keys


def changes(base: Sequence[bytes], turns: Sequence[Sequence[bytes]], roots: Mapping[str, str]) -> list[dict[str, Any]]:
    """For each turn, by changed root, what it did to the document that ``base`` makes and the turns before.

    ``roots`` are the roots to look at, and their kinds (``map``, ``array``, ``text``, ``xml``). A change is
    ``{"delta": [...]}`` of a text, ``{"paths": [{"path", "delta" or "keys"}, ...]}`` of all else, outermost first, or
    ``{"truncated": True}``, which can also stand for one of the paths. What lies in something new is not told again.
    """
    doc, before = _load(base), _load(base)
    watched = {name: _Watched(doc, before, name, kind) for name, kind in roots.items() if kind in _ROOTS}
    found = []
    for turn in turns:
        with doc.transaction():
            for update in turn:
                doc.apply_update(update)
        found.append({name: change for name, root in watched.items() if (change := root.change())})
        with before.transaction():
            for update in turn:
                before.apply_update(update)
    return found


def _load(updates: Sequence[bytes]) -> pycrdt.Doc[Any]:
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    with doc.transaction():
        for update in updates:
            doc.apply_update(update)
    return doc


class _Watched:
    """One root: takes down what happens to it."""

    def __init__(self, doc: pycrdt.Doc[Any], before: pycrdt.Doc[Any], name: str, kind: str) -> None:
        self._kind = kind
        self._before: Any = before.get(name, type=_ROOTS[kind])
        self._events: list[Event] = []
        root: Any = doc.get(name, type=_ROOTS[kind])
        self._subscription = root.observe_deep(self._note)

    def _note(self, events: Sequence[Any]) -> None:
        # an event is only readable in here
        for event in events:
            delta = [{key: _shown(item) for key, item in part.items()} for part in getattr(event, "delta", ())]
            keys = {key: _shown_key(change) for key, change in (getattr(event, "keys", None) or {}).items()}
            if delta or keys:
                self._events.append((list(event.path), isinstance(event.target, _TEXTS), delta, keys))

    def change(self) -> dict[str, Any] | None:
        """What happened since the last call; ``None`` if nothing."""
        events, self._events = sorted(self._events, key=lambda event: len(event[0])), []
        if not events:
            return None
        parents = {tuple(path): (delta, keys) for path, _, delta, keys in events}
        paths = []
        for path, is_text, delta, keys in events:
            old = _old_path(path, parents)
            if old is None:
                continue
            entry: dict[str, Any] = {"path": path}
            if is_text:
                counted = _in_utf16(delta, self._before, old)
                if counted is None:
                    paths.append(entry | TRUNCATED)
                    continue
                delta = counted
            if delta:
                entry["delta"] = delta
            if keys:
                entry["keys"] = keys
            paths.append(entry)
        if self._kind == "text" and len(paths) == 1 and not paths[0]["path"] and "keys" not in paths[0]:
            change: dict[str, Any] = {"delta": paths[0]["delta"]}
        else:
            change = {"paths": paths}
        return change if len(msgspec.json.encode(change)) <= MAX_BYTES else TRUNCATED


def _shown(item: Any) -> Any:
    """Part of a delta as JSON: an insert, a number, or attributes."""
    if isinstance(item, list):
        return [_shown(element) for element in item]
    if isinstance(item, pycrdt.Map | pycrdt.Array):
        return plain(item.to_py())
    if isinstance(item, pycrdt.Text):
        return str(item)
    return plain(item)


def _shown_key(change: Mapping[str, Any]) -> dict[str, Any]:
    """What happened to one key. Of a shared type that is gone there is nothing left to show."""
    shown: dict[str, Any] = {"action": change["action"]}
    if "oldValue" in change and not isinstance(change["oldValue"], _SHARED):
        shown["oldValue"] = plain(change["oldValue"])
    if "newValue" in change:
        shown["newValue"] = _shown(change["newValue"])
    return shown


_SHARED = (pycrdt.Map, pycrdt.Array, pycrdt.Text, pycrdt.XmlElement, pycrdt.XmlText, pycrdt.XmlFragment)


def _old_path(
    path: Sequence[str | int], parents: Mapping[tuple[str | int, ...], tuple[Delta, Mapping[str, Any]]]
) -> list[str | int] | None:
    """Where a type was before the turn; ``None`` if the turn has put it there, or something around it."""
    old: list[str | int] = []
    for depth, step in enumerate(path):
        place: object = step
        if tuple(path[:depth]) in parents:
            delta, keys = parents[tuple(path[:depth])]
            place = _old_place(delta, step) if isinstance(step, int) else _NEW if step in keys else step
        if not isinstance(place, str | int):
            return None
        old.append(place)
    return old


def _old_place(delta: Delta, place: int) -> object:
    new = shift = 0  # shift: what was before, less what is now
    for part in delta:
        if "retain" in part:
            if place < new + part["retain"]:
                return place + shift
            new += part["retain"]
        elif "delete" in part:
            shift += part["delete"]
        else:
            insert = part["insert"]
            size = len(insert) if isinstance(insert, list) else len(insert.encode()) if isinstance(insert, str) else 1
            if place < new + size:
                return _NEW
            new += size
            shift -= size
    return place + shift


def _pieces(root: Any, path: Sequence[str | int]) -> list[Any] | None:
    """What a text holds, strings and embeds; ``None`` if ``path`` does not lead to one."""
    for step in path:
        if isinstance(root, pycrdt.XmlFragment | pycrdt.XmlElement) and isinstance(step, int):
            root = root.children[step]
        elif isinstance(root, pycrdt.Array | pycrdt.Map) and isinstance(step, str) == isinstance(root, pycrdt.Map):
            container: Any = root
            root = container[step]
        else:
            return None
    return [piece for piece, _ in root.diff()] if isinstance(root, _TEXTS) else None


def _in_utf16(delta: Delta, root: Any, path: Sequence[str | int]) -> Delta | None:
    """A text's delta counted as JavaScript does, by the text that was at ``path``; ``None`` if there was none."""
    if not any("retain" in part or "delete" in part for part in delta):
        return delta
    pieces = _pieces(root, path)
    if pieces is None:
        return None
    if all(isinstance(piece, str) and piece.isascii() for piece in pieces):
        return delta
    text = b"".join(piece.encode() if isinstance(piece, str) else b"\0" for piece in pieces)
    counted, at = [], 0
    for part in delta:
        for word in ("retain", "delete"):
            if word in part:
                end = at + part[word]
                part = {**part, word: len(text[at:end].decode(errors="replace").encode("utf-16-le")) // 2}
                at = end
        counted.append(part)
    return counted
