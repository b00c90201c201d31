"""Encoded states that concurrent joiners share.

Encoding a large document takes tens of milliseconds and as much memory as the document. Joiners with the same state
vector (it is empty for a crowd of new clients) get the same bytes object as long as nobody edits. While somebody does,
the room paces the encodings, and answers all waiting joiners with one.

Refused: send an older encoding followed by later updates. Clients consider themselves synced at the first answer, and
some seed a document that is empty then.
"""

from __future__ import annotations

from collections.abc import Callable

from collab.gate.checked import Checked
from collab.rooms.live.delete_set import DeleteSet

_EMPTY = b"\x00"  # state vector
_NOBODY = "\x00"  # not the address of any session


class SharedState:
    """A cache of ``encode(state_vector)``, the document's diff against a state vector in the Yjs encoding v1.

    It keeps the encoded answer, not the diff inside: a large document should exist once, not once for each joiner and
    once more.
    """

    def __init__(
        self,
        encode: Callable[[bytes], bytes],
        encode_state_vector: Callable[[], bytes],
        *,
        entries: int = 8,
        lifetime: float = 10.0,
    ) -> None:
        self._encode = encode
        self._encode_state_vector = encode_state_vector
        self._state_vector: bytes | None = None
        self._deletions: DeleteSet | None = None
        self._limit = entries
        self._lifetime = lifetime
        self._answers: dict[tuple[bytes, str], bytes] = {}
        self._used_at = 0.0

    def follow(self, encode: Callable[[bytes], bytes], encode_state_vector: Callable[[], bytes]) -> None:
        """The document was replaced by another object."""
        self._encode, self._encode_state_vector = encode, encode_state_vector
        self.changed(deletes=True)

    def changed(self, *, deletes: bool) -> None:
        """The document changed; ``deletes``: more of it is deleted."""
        self._state_vector = None
        if deletes:
            self._deletions = None
        if self._answers:
            self._answers.clear()

    @property
    def state_vector(self) -> bytes:
        """The document's state vector, encoded. With 20,000 clients it takes 120 KB and 3 ms, so it is cached."""
        if self._state_vector is None:
            self._state_vector = self._encode_state_vector()
        return self._state_vector

    @property
    def deletions(self) -> DeleteSet:
        """The document's delete set, cached until it grows."""
        if self._deletions is None:
            self._deletions = DeleteSet(self._encode(self.state_vector))
        return self._deletions

    def is_news(self, checked: Checked, *, live: bool) -> bool:
        """Whether the document lacks any of an update. A deletion that arrives ``live`` counts, without a look.

        A reconnecting client repeats every deletion that it knows. If they were relayed and logged, each reconnect
        would grow the log by the whole delete set.
        """
        if checked.before or not checked.has_deletes:
            return bool(checked.before)
        return live or not self.deletions.covers(checked.deletes)

    def has(self, state_vector: bytes, address: str) -> bool:
        """Whether :meth:`answer` has this answer in its cache."""
        return (state_vector, address) in self._answers

    def answer(self, state_vector: bytes, address: str, frame: Callable[[bytes], bytes], now: float) -> bytes:
        """The update that a replica at ``state_vector`` lacks, as encoded by ``frame``, which depends only on
        ``address``.
        """
        self._used_at = now
        key = state_vector, address
        answer = self._answers.get(key)
        if answer is None:
            answer = frame(self._encode(state_vector))
            if len(self._answers) >= self._limit:
                self._answers.pop(next(iter(self._answers)))
            self._answers[key] = answer
        return answer

    def whole(self, now: float) -> bytes:
        """The whole document as one update, for readers that read it repeatedly."""
        return self.answer(_EMPTY, _NOBODY, bytes, now)

    def expire(self, now: float) -> None:
        """Drop the cached answers if none was used for a while."""
        if self._answers and self._used_at + self._lifetime <= now:
            self._answers.clear()
