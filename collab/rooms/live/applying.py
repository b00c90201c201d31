"""Applying an update, and how long it took."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter, thread_time
from typing import Any, NamedTuple

import pycrdt

from collab.gate.checked import Checked
from collab.gate.fields import Write
from collab.gate.gate import Gate
from collab.rooms.live.faults import take_in

# Reading the CPU clock takes a system call. The other one also counts the machine's other work, so it is believed only
# in part: at most ``_AT_MOST`` seconds of a short edit in a document that is not large, for there it takes no longer
# whatever its values are, and for a check at most twice the time of applying.
_FEW_PARTS, _AT_MOST, _LARGE = 8, 0.002, 128 * 1024


class Taken(NamedTuple):
    """An update that was applied: the document, which may be a new one, the fields written, and CPU time."""

    doc: pycrdt.Doc[Any]
    writes: Sequence[Write]
    seconds: float


def take_in_timed(
    doc: pycrdt.Doc[Any], gate: Gate, checked: Checked, *, live: bool, keep_deleted: bool, whole: int
) -> Taken:
    """As :func:`collab.rooms.live.faults.take_in`, for a document whose log has ``whole`` bytes."""
    is_short = checked.parts <= _FEW_PARTS and whole < _LARGE
    clock = perf_counter if is_short else thread_time
    began = clock()
    doc, writes = take_in(doc, gate, checked, live=live, keep_deleted=keep_deleted)
    spent = clock() - began
    return Taken(doc, writes, min(spent, _AT_MOST) if is_short else spent)
