"""Encoded states that concurrent joiners share.

Encoding a large document costs tens of milliseconds and as much memory as the document. Joiners with the same
state vector (a storm of new clients has the empty one) get the same bytes object, as long as nobody edits. While
somebody does, the room paces the encodings, and answers all who have asked meanwhile with one.

Refused: an older encoding followed by what came since. Clients count themselves as synced at the first answer, and
some seed a document that is empty then.
"""

from __future__ import annotations

from collections.abc import Callable


class SharedState:
    """A cache of ``encode(state_vector)``, the document's diff against a state vector in the Yjs encoding v1."""

    def __init__(self, encode: Callable[[bytes], bytes], *, entries: int = 8, lifetime: float = 10.0) -> None:
        self._encode = encode
        self._limit = entries
        self._lifetime = lifetime
        self._encoded: dict[bytes, bytes] = {}
        self._used_at = 0.0

    def changed(self) -> None:
        """The document is another one now."""
        if self._encoded:
            self._encoded.clear()

    def has(self, state_vector: bytes) -> bool:
        """Whether the answer to ``state_vector`` is at hand."""
        return state_vector in self._encoded

    def diff(self, state_vector: bytes, now: float) -> bytes:
        """What a replica at ``state_vector`` lacks."""
        self._used_at = now
        encoded = self._encoded.get(state_vector)
        if encoded is None:
            encoded = self._encode(state_vector)
            if len(self._encoded) >= self._limit:
                self._encoded.pop(next(iter(self._encoded)))
            self._encoded[state_vector] = encoded
        return encoded

    def expire(self, now: float) -> None:
        """Let go of what nobody asked for in a while."""
        if self._encoded and self._used_at + self._lifetime <= now:
            self._encoded.clear()
