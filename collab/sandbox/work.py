"""What happens inside a sandbox: documents in, documents or plain values out. Runs in the child process."""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import pycrdt

from collab.sandbox.messages import Compacted
from collab.wire.update import Gate, decode_state_vector

_ROUNDS = 4
_SAFE_INTEGER = 2**53 - 1


class NotReproducedError(Exception):
    """The document cannot be put into one update that says the same."""


def compact(snapshot: bytes | None, index: bytes | None, updates: Sequence[bytes]) -> Compacted:
    """Merge a snapshot and the log rows behind it into one update, and prove it by loading that again.

    Raises :class:`NotReproducedError` if something would be lost, and what the gate raises if a row is malformed or
    continues what is not there: yrs would hold such a row back and leave it out of the result.
    """
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    gate = Gate() if index is None else Gate.from_index(index)
    if snapshot is not None:
        if index is None:
            gate.commit(gate.check(snapshot, limit=len(snapshot)))
        doc.apply_update(snapshot)
    for update in updates:
        gate.commit(gate.check(update))
        doc.apply_update(update)
    expected = _clocks(gate.state)
    if _clocks(decode_state_vector(doc.get_state())) != expected:
        raise NotReproducedError("the document holds other clocks than its log")
    return Compacted(_settle(doc, expected), gate.index())


def _settle(doc: pycrdt.Doc[Any], expected: Mapping[int, int]) -> bytes:
    """An encoding of ``doc`` that a fresh document takes in and gives back byte for byte.

    A loaded document may join neighbouring blocks that the first one kept apart: then the shorter encoding is
    tried in turn.
    """
    update = doc.get_update()
    for _ in range(_ROUNDS):
        again: pycrdt.Doc[Any] = pycrdt.Doc()
        again.apply_update(update)
        if _clocks(decode_state_vector(again.get_state())) != expected:
            raise NotReproducedError("the encoded document does not load completely")
        before, update = update, again.get_update()
        if update == before:
            return update
    raise NotReproducedError("the encoded document changes each time it is loaded")


def _clocks(state: Mapping[int, int]) -> dict[int, int]:
    return {client: clock for client, clock in state.items() if clock}


def read_json(update: bytes, roots: Mapping[str, str]) -> dict[str, Any]:
    """All roots as values that JSON knows: maps, arrays, and text or XML as strings.

    Binary values become base64, numbers that JSON lacks become ``None``.
    """
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    doc.apply_update(update)
    return {name: _plain(_value(doc, name, kind)) for name, kind in roots.items()}


def read_text(update: bytes, root: str, kind: str) -> str:
    """One root as a string: text without its formatting, XML with its tags."""
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    doc.apply_update(update)
    return str(_value(doc, root, kind))


def _value(doc: pycrdt.Doc[Any], name: str, kind: str) -> Any:
    # never as an array what may be text: one emoji, read as an array, does not come to an end
    match kind:
        case "map":
            return doc.get(name, type=pycrdt.Map).to_py()
        case "array":
            return doc.get(name, type=pycrdt.Array).to_py()
        case "xml":
            return str(doc.get(name, type=pycrdt.XmlFragment))
        case _:
            return str(doc.get(name, type=pycrdt.Text))


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case bytes() | bytearray():
            return b64encode(value).decode()
        case float():
            # JavaScript has one kind of number: 1 comes as 1.0
            if value.is_integer() and abs(value) <= _SAFE_INTEGER:
                return int(value)
            return value if math.isfinite(value) else None
        case None | bool() | int() | str():
            return value
        case _:
            return str(value)
