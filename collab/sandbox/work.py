"""What happens inside a sandbox: documents in, documents or plain values out. Runs in the child process."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pycrdt

from collab.sandbox.messages import Compacted
from collab.wire.plain import plain
from collab.wire.update import Gate, decode_state_vector

_ROUNDS = 4


class NotReproducedError(Exception):
    """The document cannot be put into one update that says the same."""


def compact(
    snapshot: bytes | None, index: bytes | None, updates: Sequence[bytes], mapped: Collection[str] = ()
) -> Compacted:
    """Merge a snapshot and the log rows behind it into one update, and prove it by loading that again.

    Raises :class:`NotReproducedError` if something would be lost, and what the gate raises if a row is malformed or
    continues what is not there: yrs would hold such a row back and leave it out of the result.
    """
    doc: pycrdt.Doc[Any] = pycrdt.Doc()
    gate = Gate(mapped)
    if snapshot is not None:
        gate = gate_of(snapshot, index, mapped)
        doc.apply_update(snapshot)
    for update in updates:
        gate.commit(gate.check(update))
        doc.apply_update(update)
    expected = _clocks(gate.state)
    if _clocks(decode_state_vector(doc.get_state())) != expected:
        raise NotReproducedError("the document holds other clocks than its log")
    return Compacted(_settle(doc, expected), gate.index())


def gate_of(snapshot: bytes, index: bytes | None, mapped: Collection[str]) -> Gate:
    """What the gate knows of a snapshot: from its index, or read anew if that was written by another version."""
    if index is not None:
        try:
            return Gate.from_index(index, mapped)
        except ValueError:
            pass
    gate = Gate(mapped)
    gate.commit(gate.check(snapshot, limit=len(snapshot)))
    return gate


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
    return read_roots(doc, roots)


def read_roots(doc: pycrdt.Doc[Any], roots: Mapping[str, str]) -> dict[str, Any]:
    """The same of a loaded document."""
    return {name: plain(_value(doc, name, kind)) for name, kind in roots.items()}


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
