"""The acceptable part of an update that cannot be applied as it came.

An update is not all or nothing. Structs that refer to something unknown stay outside, along with everything that their
writer wrote after them; the rest is applied. An element refused for its content (a sub-document, a type nested too
deeply) becomes a deleted element in the same place, or garbage if there is no such place. So everything written after
it has its anchor, and all replicas agree as soon as its writer learns that it is deleted. Text that Yrs cannot split is
encoded as Yjs has it after the split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from collab.gate.encode import encode_deletes, encode_update
from collab.gate.pairs import Cuts, cut_strings
from collab.gate.stage import Stage
from collab.gate.struct_content import DELETED, GC, SKIP
from collab.gate.structs import DeletedRange, Parts, Refused, Struct

_NOTHING: Mapping[int, Any] = MappingProxyType({})


class Revision(NamedTuple):
    """The difference between the original update and the applied one.

    ``leaves``: something was left out because it does not fit the history, or not yet; ``awaited`` maps a client id to
    the clock of an element with which more of it may fit. ``refused`` elements were deleted instead of applied.
    ``lost`` is what the writer must delete: refused elements, and elements inside garbage. ``cuts`` are surrogate pairs
    in the document to replace by two characters (:func:`collab.gate.pairs.mend`) before applying the update.
    """

    leaves: bool = False
    awaited: Mapping[int, int] = _NOTHING
    refused: Sequence[Refused] = ()
    lost: Sequence[DeletedRange] = ()
    cuts: Cuts = _NOTHING

    def undo(self) -> bytes | None:
        """An update for the writer that deletes what is lost; ``None`` if nothing is."""
        return b"\0" + encode_deletes(self.lost) if self.lost else None


def is_as_sent(parts: Parts, stage: Stage) -> bool:
    """Whether the whole update may be applied as it is."""
    if stage.leaves or stage.repeats or stage.refused or stage.early:
        return False
    return parts.as_sent and not (stage.cuts and stage.cuts_new())


def rewrite(parts: Parts, stage: Stage, state: Mapping[int, int]) -> tuple[bytes, Revision]:
    """The update with all new, accepted parts that deletes the refused ones; its difference from ``parts``."""
    ends = stage.ends
    structs = [
        _filled(struct, stage.fillers.get(struct[:2]))
        for struct in parts.structs
        if struct[3] != SKIP and state.get(struct[0], 0) < struct[1] + struct[2] <= ends[struct[0]]
    ]
    refused = []
    for client, clock, length, why in (*parts.refused, *stage.refused):
        first = max(clock, state.get(client, 0))
        if first < clock + length <= ends[client]:
            refused.append(Refused(client, first, clock + length - first, why))
    source, structs = cut_strings(parts.source, structs, stage.cuts)
    deleted = [one[:3] for one in refused]
    update = encode_update(source, structs, [*stage.deletes, *stage.early, *deleted])
    return update, Revision(stage.leaves, stage.awaited, refused, [*deleted, *stage.lost])


def _filled(struct: Struct, filler: int | None) -> Struct:
    if filler is None:
        return struct
    client, clock, length, _, origin, right, parent, key, start, _ = struct
    if filler == GC:
        return (client, clock, length, GC, None, None, None, None, start, start)
    return (client, clock, length, DELETED, origin, right, parent, key, start, start)
