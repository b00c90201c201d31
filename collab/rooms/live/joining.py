"""The sync handshake of a session and a room: the room answers each SyncStep1 and then sends its own.

Encoding a large document while others edit it is paced: all clients that asked meanwhile are answered together.

A returning client must send more than what we lack. It omits everything that our state vector covers, and another
client may have written other elements under its Yjs client id while it was away. Stock clients reveal that id (in
awareness) only after their SyncStep1, so the answer waits a moment for it. Refused: ask at once, and again when the id
is known. By then the client has learnt what was deleted, and no longer shows what it wrote there.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter

from collab.access.rules import Access
from collab.gate.gate import Gate
from collab.gate.struct_content import Malformed
from collab.gate.structs import check_state_vector, decode_state_vector
from collab.rooms.live.pacing import Pacer
from collab.rooms.live.session import Session
from collab.rooms.live.shared_state import SharedState
from collab.rooms.live.withheld import Withheld
from presence.lib0 import DecodeError
from presence.state import read_entries

INTRODUCTION_SECONDS = 0.2
"""Seconds that a returning client has to reveal its own Yjs client id."""
_COSTLY = 0.002  # seconds: gather joiners if encoding takes longer than this
_EMPTY_UPDATE = b"\x00\x00"
_EMPTY_STATE_VECTOR = b"\x00"


def is_worth_a_look(update: bytes, solicited: bool, limit: int) -> bool:
    """Whether to check if a read-only client's update is news.

    Checking an update costs far more than sending it. So of read-only clients only the answers to our own SyncStep1 are
    checked, up to ``limit`` bytes, because they repeat old deletions.
    """
    return update == _EMPTY_UPDATE or (solicited and len(update) <= limit)


class Joining:
    """Open handshakes of one room's sessions. A session waits up to ``longest`` seconds to be answered with others."""

    def __init__(self, shared: SharedState, gate: Gate, longest: float) -> None:
        self._shared = shared
        self._gate = gate
        self.withheld = Withheld()  # meanwhile nobody is answered
        self._pacer = Pacer(0.0, longest)
        self._asking: dict[Session, bytes] = {}
        self._strangers: dict[Session, float] = {}  # asked, but did not send awareness yet: until when to wait

    def __bool__(self) -> bool:
        """Whether any session waits for an answer."""
        return bool(self._asking)

    def hear(self, session: Session, state_vector: bytes, now: float) -> None:
        """Take a client's SyncStep1. A session that is not answered at once waits until :meth:`due`.

        Raises :class:`collab.gate.gate.Malformed`.
        """
        check_state_vector(state_vector)
        session.unanswered = True
        if not session.synced:
            session.returns = session.returns or state_vector != _EMPTY_STATE_VECTOR
        if session in self._strangers or (self._compares(session) and not session.introduced):
            self._asking[session] = state_vector
            self._strangers.setdefault(session, now + INTRODUCTION_SECONDS)
        elif not self.withheld and (
            self._pacer.due(now) <= now or self._shared.has(state_vector, session.framing.address)
        ):
            self._asking.pop(session, None)
            self.answer(session, state_vector, now)
        else:
            self._asking[session] = state_vector

    def introduce(self, session: Session, presence: bytes, now: float) -> None:
        """Take a client's first awareness message, in which a stock client describes only itself."""
        if session.introduced:
            return
        session.introduced = True
        try:
            entries = read_entries(presence)
        except DecodeError:
            entries = []
        if len(entries) == 1:
            session.yjs_id = entries[0][0]
        if self._strangers.pop(session, None) is not None:
            self.hear(session, self._asking.pop(session), now)

    def due(self, now: float) -> float | None:
        """When to answer the waiting sessions; ``None`` if none wait."""
        if self.withheld:
            return None
        if len(self._asking) > len(self._strangers):
            return self._pacer.due(now)
        return max(self._pacer.due(now), min(self._strangers.values())) if self._strangers else None

    def take_due(self, now: float) -> dict[Session, bytes]:
        """Remove the sessions that are due, and return them with their state vectors."""
        if self.withheld or self._pacer.due(now) > now:
            return {}
        self._strangers = {session: until for session, until in self._strangers.items() if until > now}
        due = {session: asked for session, asked in self._asking.items() if session not in self._strangers}
        for session in due:
            del self._asking[session]
        return due

    def take_all(self) -> dict[Session, bytes]:
        """Remove all waiting sessions, and return them with their state vectors."""
        asking, self._asking = self._asking, {}
        self._strangers.clear()
        return asking

    def leave(self, session: Session) -> None:
        """Stop waiting for an answer."""
        self._asking.pop(session, None)
        self._strangers.pop(session, None)

    def answer(self, session: Session, state_vector: bytes, now: float) -> None:
        """Send a client the update that it lacks, and ask for what we lack."""
        started = perf_counter()
        framing = session.framing
        answer = self._shared.answer(state_vector, framing.address, framing.sync_step2, now)
        cost = perf_counter() - started
        if cost > _COSTLY:
            self._pacer.flushed(now, cost)
        known = None
        if self._compares(session):
            session.compares = True
            known = self._gate.asked_again(session.yjs_id, _clients_in(state_vector))
        session.synced = True
        session.unanswered = False
        # Send our SyncStep1 first, as stock servers do: after merging our state a client can no longer report which of
        # its values lost against it.
        self.ask(session, counted=True, known=known)
        session.outbox.reply(answer)

    def ask(self, session: Session, *, counted: bool, known: bytes | None = None) -> None:
        """Ask a client for what we lack, or for everything beyond the state vector ``known``.

        A Hocuspocus client counts the answer as unsaved only if it asked first. A client that asks again before it has
        answered is not asked again: its answer would hold the same.
        """
        if counted in session.asked:
            return
        session.asked.append(counted)
        session.outbox.reply(session.framing.sync_step1(known or self._shared.state_vector))

    def _compares(self, session: Session) -> bool:
        """Whether a client must send its state before it gets ours."""
        return session.returns and not session.synced and session.access >= Access.WRITE


def _clients_in(state_vector: bytes) -> Mapping[int, int] | None:
    """Decode a state vector; ``None`` if it is empty or malformed."""
    if state_vector == _EMPTY_STATE_VECTOR:
        return None
    try:
        return decode_state_vector(state_vector)
    except Malformed:
        return None
