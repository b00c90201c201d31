"""The work inside a sandbox: documents in, documents or plain values out. Runs in the child process."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from time import process_time
from typing import Any

import pycrdt

from collab.contents.replica import Replica
from collab.contents.tree import ROOTS, Node, as_json, kind_of, node_of
from collab.gate.gate import Gate
from collab.gate.replay import Replay
from collab.gate.structs import decode_state_vector, read
from collab.sandbox.messages import Compacted

_ROUNDS = 4


class NotReproducedError(Exception):
    """The document cannot be encoded as one update with the same content."""


def compact(
    snapshot: bytes | None,
    index: bytes | None,
    updates: Sequence[bytes],
    mapped: Collection[str] = (),
    *,
    keep_deleted: bool = False,
) -> Compacted:
    """Merge a snapshot and the log rows behind it into one update, and verify it by loading it again.

    Raises :class:`NotReproducedError` if something would be lost, and the gate's errors if a row is malformed or
    depends on missing elements: Yrs would hold such a row back and leave it out of the result.
    """
    doc: pycrdt.Doc[Any] = pycrdt.Doc(skip_gc=keep_deleted)
    gate = Gate(mapped)
    replay = Replay()
    if snapshot is not None:
        gate = Gate.of_snapshot(snapshot, index, mapped)
        replay = Replay([snapshot])
    for update in updates:
        checked = gate.check_all(update)
        gate.commit(checked)
        replay.add(checked)
    for update in replay.updates():
        doc.apply_update(update)
    expected = _clocks(gate.state)
    if _clocks(decode_state_vector(doc.get_state())) != expected:
        raise NotReproducedError("the document holds other clocks than its log")
    update, load_seconds = _settle(doc, expected, keep_deleted=keep_deleted)
    return Compacted(update, gate.index(), load_seconds)


def _settle(doc: pycrdt.Doc[Any], expected: Mapping[int, int], *, keep_deleted: bool) -> tuple[bytes, float]:
    """An encoding of ``doc`` that a fresh document loads and re-encodes identically; the seconds that loading takes.

    A loaded document may merge adjacent blocks that the first one kept apart: then the shorter encoding is tried in
    turn.
    """
    update = doc.get_update()
    for _ in range(_ROUNDS):
        again: pycrdt.Doc[Any] = pycrdt.Doc(skip_gc=keep_deleted)
        began = process_time()
        again.apply_update(update)
        seconds = process_time() - began
        if _clocks(decode_state_vector(again.get_state())) != expected:
            raise NotReproducedError("the encoded document does not load completely")
        before, update = update, again.get_update()
        if _is_reproduced(before, update):
            return update, seconds
    raise NotReproducedError("the encoded document changes each time it is loaded")


def _is_reproduced(before: bytes, after: bytes) -> bool:
    """Whether two encodings are the same but for the order of members inside JSON objects.

    The library keeps those in hash maps, and writes them in another order each time.
    """
    if before == after:
        return True
    if len(before) != len(after):
        return False
    one, other = read(before, len(before)), read(after, len(after))
    return (
        one.deletes == other.deletes
        and len(one.structs) == len(other.structs)
        and all(
            left[:8] == right[:8] and sorted(one.source[left[8] : left[9]]) == sorted(other.source[right[8] : right[9]])
            for left, right in zip(one.structs, other.structs, strict=True)
        )
    )


def _clocks(state: Mapping[int, int]) -> dict[int, int]:
    return {client: clock for client, clock in state.items() if clock}


def read_json(update: bytes, roots: Mapping[str, str], edit: bytes | None = None) -> dict[str, Any]:
    """Roots as JSON (:mod:`collab.contents.tree`), after the part of ``edit`` that the gate accepts.

    Raises the errors of the decoder.
    """
    replica = Replica()
    replica.apply(update)
    if edit is not None:
        gate = Gate()
        gate.commit(gate.check_all(update, limit=len(update)))
        replica.apply(gate.check(edit).update)
    return {name: as_json(_root(replica, name, kind)) for name, kind in roots.items()}


def _root(replica: Replica, name: str, kind: str) -> Node:
    root = replica.root(name)
    return node_of(root, kind_of(root, ROOTS[kind]))
