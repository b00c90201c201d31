"""The delete set of a document, to tell new deletions from repeated ones."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from collab.gate.structs import DeletedRange, decode


class DeleteSet:
    """A document's delete set, read from any update that holds all of it (Yjs encodes it into every diff)."""

    __slots__ = ("_ranges",)

    def __init__(self, update: bytes) -> None:
        spans: dict[int, list[tuple[int, int]]] = {}
        for client, clock, length in decode(update)[1]:
            spans.setdefault(client, []).append((clock, clock + length))
        self._ranges = {client: _merge(sorted(of_client)) for client, of_client in spans.items()}

    def covers(self, deletes: Iterable[DeletedRange]) -> bool:
        """Whether all of ``deletes``, each ``(client, clock, length)``, are deleted already."""
        for client, clock, length in deletes:
            ranges = self._ranges.get(client)
            if ranges is None:
                return False
            at = bisect_right(ranges, (clock, 1 << 62)) - 1
            if at < 0 or ranges[at][1] < clock + length:
                return False
        return True


def _merge(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in spans:
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
