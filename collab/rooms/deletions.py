"""Whether a document already knows some deletions."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from collab.wire.update import Delete, decode


def contains_deletions(update: bytes, deletes: Iterable[Delete]) -> bool:
    """Whether the delete set of ``update`` covers all of ``deletes``, each ``(client, clock, length)``."""
    _, own = decode(update)
    ranges: dict[int, list[tuple[int, int]]] = {}
    for client, clock, length in own:
        ranges.setdefault(client, []).append((clock, clock + length))
    merged = {client: _merge(sorted(spans)) for client, spans in ranges.items()}
    for client, clock, length in deletes:
        spans = merged.get(client)
        if spans is None:
            return False
        at = bisect_right(spans, (clock, 1 << 62)) - 1
        if at < 0 or spans[at][1] < clock + length:
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
