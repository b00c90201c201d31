"""Feeds hostile frames to gate and CRDT library, in a process that may crash.

    python -m tests.fuzz.child FIRST COUNT FRAMES [SAMPLE]

Runs sequences FIRST ... FIRST + COUNT - 1 of FRAMES frames each, one fresh document a sequence. On standard output,
a JSON object a line: ``{"begin": sequence}`` before each, ``{"problem": ..., "sequence": ..., "frame": ...}`` for
whatever must not be, at last ``{"counts": ..., "slowest": seconds of CPU for one frame}``. Every SAMPLE-th sequence
is also told as ``{"sample": sequence, "frames": [hex], "state": hex, "full": hex, "text": ...}``; the text is null
where there was malice.
"""

from __future__ import annotations

import json
import resource
import sys
from collections import Counter
from random import Random
from time import process_time
from typing import Any

from pycrdt import Doc, Text

from collab.gate.checked import Checked
from collab.gate.gate import Gate
from collab.gate.struct_content import Malformed
from collab.gate.structs import decode_state_vector
from tests.fuzz.author import Author
from tests.fuzz.replica import Replica

MEMORY = 2 * 1024**3
BATCH = 8
MAPPED = ("m", "x")
MALICE = (0.0, 0.01, 0.05, 0.05, 0.2)


class ProblemError(Exception):
    """A violated invariant."""


def run(sequence: int, length: int, counts: Counter[str]) -> tuple[list[bytes], Doc[Any], float]:
    """Run one sequence: returns the accepted frames, the document, and the CPU seconds of the slowest frame."""
    author = Author(Random(sequence), malice=MALICE[sequence % len(MALICE)])
    replica = Replica(mapped=MAPPED)
    replica.text("t")
    taken: list[bytes] = []
    slowest = 0.0
    for number in range(length):
        frame = author.write()
        started = process_time()
        try:
            checked = replica.check(frame)
        except Malformed as error:
            counts[f"malformed: {error}"] += 1
        else:
            try:
                replica.take(frame)
            except BaseException as error:
                raise ProblemError(f"taking in raised {error!r}", number) from None
            _check_revision(replica, checked, number)
            if not checked.leaves:
                author.accepted()
            revision = checked.revision
            if revision is None:
                counts["taken in"] += 1
            else:
                counts["taken in in part"] += revision.leaves
                counts["cut"] += bool(revision.cuts)
                for one in revision.refused:
                    counts[f"deleted: {one.why}"] += 1
            taken.append(checked.update)
            slowest = max(slowest, process_time() - started)
        if number % BATCH == BATCH - 1:
            _inspect(replica, number, agrees=not author.malice)
    _inspect(replica, length, agrees=not author.malice)
    joiner: Doc[Any] = Doc()
    joiner.apply_update(replica.doc.get_update())
    counts["sequences after which joiners see another text"] += str(joiner.get("t", type=Text)) != replica.text("t")
    return taken, replica.doc, slowest


def _check_revision(replica: Replica, checked: Checked, number: int) -> None:
    """Check that accepted frames, sent again, change nothing and are not rejected."""
    again = replica.gate.check(checked.update, limit=len(checked.update))
    if again.leaves or again.before or again.cuts or (again.revision is not None and again.revision.refused):
        raise ProblemError(f"what was taken in is not taken in again: {again.revision}", number)


def _inspect(replica: Replica, number: int, *, agrees: bool) -> None:
    gate, doc = replica.gate, replica.doc
    try:
        full = doc.get_update()
        again: Doc[Any] = Doc()
        again.apply_update(full)
        again.get_update()
        fresh = Gate(MAPPED)
        fresh.commit(fresh.check_all(full))
    except BaseException as error:
        raise ProblemError(f"the document cannot be loaded again: {error!r}", number) from None
    states = [decode_state_vector(doc.get_state()), decode_state_vector(again.get_state()), fresh.state, gate.state]
    if states.count(states[0]) != len(states):
        raise ProblemError(f"different state vectors: {states}", number)
    if fresh.heads("m") != gate.heads("m"):
        raise ProblemError("the document loaded again has other heads", number)
    other = replica.replayed()
    differs = agrees and str(other.get("t", type=Text)) != replica.text("t")
    if differs or decode_state_vector(other.get_state()) != gate.state:
        raise ProblemError("the log makes another document", number)
    index = gate.index()
    restored = Gate.from_index(index)
    if restored.index() != index or restored.state != gate.state or restored.roots != gate.roots:
        raise ProblemError("the gate's index does not restore the gate", number)


def _tell(**values: object) -> None:
    print(json.dumps(values), flush=True)


def main(first: int, count: int, length: int, sample: int = 0) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    counts: Counter[str] = Counter()
    slowest = 0.0
    for sequence in range(first, first + count):
        _tell(begin=sequence)
        try:
            taken, doc, seconds = run(sequence, length, counts)
        except ProblemError as problem:
            _tell(problem=problem.args[0], sequence=sequence, frame=problem.args[1])
            continue
        except Exception as error:
            _tell(problem=f"escaped: {error!r}", sequence=sequence, frame=-1)
            continue
        slowest = max(slowest, seconds)
        if sample and sequence % sample == 0:
            _tell(
                sample=sequence,
                frames=[frame.hex() for frame in taken],
                state=doc.get_state().hex(),
                full=doc.get_update().hex(),
                text=None if MALICE[sequence % len(MALICE)] else str(doc.get("t", type=Text)),
            )
    _tell(counts=counts, slowest=slowest)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
