"""Merging of Yjs updates."""

from __future__ import annotations

from collections.abc import Sequence

import pycrdt

# pycrdt.merge_updates is quadratic above about a hundred updates (10,000: 400 ms flat, 8 ms as a tree of 32).
_FAN_OUT = 32


def merge(updates: Sequence[bytes]) -> bytes:
    """Merge updates that passed the gate, in any order, into one update with the same effect."""
    while len(updates) > _FAN_OUT:
        updates = [_merge(updates[at : at + _FAN_OUT]) for at in range(0, len(updates), _FAN_OUT)]
    return _merge(updates)


def _merge(updates: Sequence[bytes]) -> bytes:
    return updates[0] if len(updates) == 1 else pycrdt.merge_updates(*updates)
