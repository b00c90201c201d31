"""Relaying to a room's sessions: changes are gathered after a flush, merged, and sent when due."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from time import perf_counter

from collab.metrics import Metrics
from collab.rooms.live.merge import merge
from collab.rooms.live.pacing import Pacer, SendCost
from collab.rooms.live.session import Session

log = logging.getLogger(__name__)


class Relay:
    """Updates and presence on their way to the sessions of one room, each at its own pace.

    A flush is not sent to a session that is the only author of its content.
    """

    __slots__ = (
        "_before",
        "_edit_pacer",
        "_editors",
        "_metrics",
        "_movers",
        "_presence_pacer",
        "_present",
        "_send_cost",
        "_updates",
    )

    def __init__(self, edit_pacer: Pacer, presence_pacer: Pacer, send_cost: SendCost, metrics: Metrics) -> None:
        self._edit_pacer = edit_pacer
        self._presence_pacer = presence_pacer
        self._send_cost = send_cost
        self._metrics = metrics
        self._updates: list[bytes] = []
        self._before: dict[int, int] = {}
        self._editors: set[Session | None] = set()
        self._present: set[int] = set()
        self._movers: set[Session | None] = set()

    def add_update(self, update: bytes, before: Mapping[int, int], author: Session | None) -> None:
        """Gather an accepted update. ``before`` holds the clock before it of each client that it writes for."""
        for client, clock in before.items():
            self._before.setdefault(client, clock)
        self._updates.append(update)
        self._editors.add(author)

    def add_presence(self, clients: Iterable[int], author: Session | None) -> None:
        """Gather clients whose awareness states changed."""
        self._present.update(clients)
        self._movers.add(author)

    def flush(
        self, now: float, sessions: Collection[Session], states: Callable[[Iterable[int]], bytes], *, all_: bool = False
    ) -> float | None:
        """Queue for ``sessions`` everything that is due, or everything if ``all_``. ``states`` encodes awareness
        states.

        Returns when what is left is due, ``None`` if nothing is.
        """
        left = None
        if self._updates:
            due = self._edit_pacer.due(now)
            if all_ or due <= now:
                started = perf_counter()
                sent = self._flush_updates(sessions)
                cost = perf_counter() - started + sent * self._send_cost.seconds
                self._edit_pacer.flushed(now, cost, sent)
                self._metrics.flush_seconds.observe(cost)
            else:
                left = due
        if self._present:
            due = self._presence_pacer.due(now)
            if all_ or due <= now:
                started = perf_counter()
                sent = self._flush_presence(sessions, states)
                self._presence_pacer.flushed(now, perf_counter() - started + sent * self._send_cost.seconds)
            elif left is None or due < left:
                left = due
        return left

    def _flush_updates(self, sessions: Collection[Session]) -> int:
        updates, self._updates = self._updates, []
        before, self._before = self._before, {}
        lone = _lone(self._editors)
        readers = [session for session in sessions if session.synced and session is not lone]
        if readers:
            try:
                update = merge(updates)
                frames = _Frames()
                for session in readers:
                    session.outbox.update(frames.of(session, session.framing.update, update), before)
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException:  # yrs panics arrive as PanicException, which is no Exception
                log.exception("an update could not be relayed; its readers get a diff instead")
                for session in readers:
                    session.outbox.miss(before)
            self._metrics.updates_out += len(readers)
        return len(readers)

    def _flush_presence(self, sessions: Collection[Session], states: Callable[[Iterable[int]], bytes]) -> int:
        clients, self._present = frozenset(self._present), set()
        lone = _lone(self._movers)
        readers = [session for session in sessions if session is not lone]
        if readers:
            try:
                payload = states(clients)
                frames = _Frames()
                for session in readers:
                    session.outbox.presence(frames.of(session, session.framing.awareness, payload), clients)
            except Exception:
                log.exception("presence could not be relayed")  # the next state of each client replaces it
        return len(readers)


class _Frames(dict[str, bytes]):
    """One frame for all sessions whose framings are equal."""

    def of(self, session: Session, encode: Callable[[bytes], bytes], payload: bytes) -> bytes:
        address = session.framing.address
        frame = self.get(address)
        if frame is None:
            frame = self[address] = encode(payload)
        return frame


def _lone(authors: set[Session | None]) -> Session | None:
    lone = next(iter(authors)) if len(authors) == 1 else None
    authors.clear()
    return lone
