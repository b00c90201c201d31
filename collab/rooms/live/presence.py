"""The presence of a room: who is there, who watches, and what sessions are told of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from collab.metrics import Metrics
from collab.names import RoomKey
from collab.rooms.live.faults import closing, tell
from collab.rooms.live.relay import Relay
from collab.rooms.live.ring import RoomOptions
from collab.rooms.live.session import Session
from presence.awareness import Awareness, Change
from presence.lib0 import DecodeError
from presence.state import User


class RoomPresence:
    """Changes of ``awareness`` go to ``relay``. What returns a bool says whether the room must look when that is due.

    ``watchers`` are called when it changes. It refers to no room: a cycle would outlive it for long.
    """

    __slots__ = ("_key", "_metrics", "_relay", "awareness", "watchers")

    def __init__(self, key: RoomKey, relay: Relay, options: RoomOptions, metrics: Metrics) -> None:
        self.awareness = Awareness(timeout=options.presence_timeout, max_state_bytes=options.presence_bytes)
        self.watchers: set[Callable[[], None]] = set()
        self._key = key
        self._relay = relay
        self._metrics = metrics

    def succeed(self, old: RoomPresence) -> None:
        """Go on with the people and watchers of the room that is replaced."""
        self.awareness = old.awareness
        self.watchers = old.watchers

    def receive(self, session: Session, payload: bytes, now: float) -> bool:
        """Apply what a session says as far as possible. It never affects edits: invalid parts are left out."""
        self._metrics.presence_in += 1
        identity = session.identity
        user = User(identity.user_id, identity.name) if identity.verified else None
        try:
            change = self.awareness.apply(payload, session, user, now)
        except DecodeError as error:
            change = Change(refused=(str(error),))
        for reason in change.refused:
            self._metrics.refusals.note("presence", str(self._key), identity.user_id, reason, self._key.project)
        if change.nudge is not None:
            session.outbox.reply(session.framing.awareness(change.nudge))
        return self.show(change, session)

    def renew(self, sessions: Mapping[Session, None], now: float) -> bool:
        """Renew cursors of live connections, and forget the other silent ones."""
        renewed, nudges = self.awareness.renew(now)
        for session in sessions.keys() & nudges.keys():
            with closing(session):
                session.outbox.reply(session.framing.awareness(nudges[session]))
        is_shown = self.show(renewed, None)
        return self.show(self.awareness.expire(now), None) or is_shown

    def show(self, change: Change, author: Session | None) -> bool:
        """Relay a change to everybody except its only author."""
        if not change.clients:
            return False
        self._relay.add_presence(change.clients, author)
        for watcher in list(self.watchers):
            tell(watcher)
        return True
