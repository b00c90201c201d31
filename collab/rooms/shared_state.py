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
    """A cache of ``encode(state_vector)``, the document's diff against a state vector in the Yjs encoding v1.

    What is kept is the answer as it goes out, not the diff that it was made of: of a large document there should be
    one copy, not one for each joiner and one more.
    """

    def __init__(self, encode: Callable[[bytes], bytes], *, entries: int = 8, lifetime: float = 10.0) -> None:
        self._encode = encode
        self._limit = entries
        self._lifetime = lifetime
        self._answers: dict[tuple[bytes, str], bytes] = {}
        self._used_at = 0.0

    def changed(self) -> None:
        """The document is another one now."""
        if self._answers:
            self._answers.clear()

    def has(self, state_vector: bytes, address: str) -> bool:
        """Whether the answer for :meth:`answer` is at hand."""
        return (state_vector, address) in self._answers

    def answer(self, state_vector: bytes, address: str, frame: Callable[[bytes], bytes], now: float) -> bytes:
        """What a replica at ``state_vector`` lacks, as ``frame`` puts it, which is the same for equal addresses."""
        self._used_at = now
        key = state_vector, address
        answer = self._answers.get(key)
        if answer is None:
            answer = frame(self._encode(state_vector))
            if len(self._answers) >= self._limit:
                self._answers.pop(next(iter(self._answers)))
            self._answers[key] = answer
        return answer

    def expire(self, now: float) -> None:
        """Let go of what nobody asked for in a while."""
        if self._answers and self._used_at + self._lifetime <= now:
            self._answers.clear()
