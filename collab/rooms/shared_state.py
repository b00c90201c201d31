"""Encoded states that concurrent joiners share.

Encoding a large document costs tens of milliseconds and as much memory as the document. Joiners with the same
state vector (a storm of new clients has the empty one) get the same bytes object, even while others edit:
what was accepted since the encoding follows as one merged update.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from collab.rooms.merge import merge


class _Encoded:
    __slots__ = ("merged", "merged_upto", "since", "state", "used_at")

    def __init__(self, state: bytes, since: int, now: float) -> None:
        self.state = state
        self.since = since  # absolute index into the tail
        self.merged = b""
        self.merged_upto = since
        self.used_at = now


class SharedState:
    """A cache of ``encode(state_vector)`` that stays usable across edits.

    ``encode`` is the document's diff against a state vector, both as bytes of the Yjs encoding v1.
    """

    def __init__(
        self,
        encode: Callable[[bytes], bytes],
        *,
        entries: int = 8,
        lifetime: float = 10.0,
        slack: int = 65536,
    ) -> None:
        self._encode = encode
        self._limit = entries
        self._lifetime = lifetime
        self._slack = slack
        self._encoded: dict[bytes, _Encoded] = {}
        self._tail: list[bytes] = []
        self._tail_start = 0
        self._tail_bytes = 0

    def accepted(self, update: bytes) -> None:
        """Take note of an update that the document has just taken in."""
        if self._encoded:
            self._tail.append(update)
            self._tail_bytes += len(update)

    def diff(self, state_vector: bytes, now: float) -> Sequence[bytes]:
        """What a replica at ``state_vector`` lacks: one update, or an older one and what came since."""
        entry = self._encoded.get(state_vector)
        end = self._tail_start + len(self._tail)
        if entry is None or self._outgrown(entry):
            self._encoded.pop(state_vector, None)
            entry = self._encoded[state_vector] = _Encoded(self._encode(state_vector), end, now)
            if len(self._encoded) > self._limit:
                self._encoded.pop(next(iter(self._encoded)))
            self._trim()
        entry.used_at = now
        if entry.since == end:
            return (entry.state,)
        if entry.merged_upto != end:
            fresh = self._tail[entry.merged_upto - self._tail_start :]
            entry.merged = merge([entry.merged, *fresh] if entry.merged else fresh)
            entry.merged_upto = end
        return (entry.state, entry.merged)

    def expire(self, now: float) -> None:
        """Let go of what nobody joined with for a while."""
        stale = [vector for vector, entry in self._encoded.items() if entry.used_at + self._lifetime <= now]
        for vector in stale:
            del self._encoded[vector]
        if stale:
            self._trim()

    def clear(self) -> None:
        """Forget everything, for a document that was replaced."""
        self._encoded.clear()
        self._trim()

    def _outgrown(self, entry: _Encoded) -> bool:
        since = len(entry.merged) + self._tail_bytes
        return since > max(self._slack, len(entry.state) // 4)

    def _trim(self) -> None:
        end = self._tail_start + len(self._tail)
        # an entry with a merged tail still needs only what follows that merge
        needed = min((entry.merged_upto for entry in self._encoded.values()), default=end)
        del self._tail[: needed - self._tail_start]
        self._tail_start = needed
        self._tail_bytes = sum(map(len, self._tail))
