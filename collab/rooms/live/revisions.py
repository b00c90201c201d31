"""How a room handles updates that it applied only in part, or changed (:mod:`collab.gate.revision`)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pycrdt

from collab.errors import printable
from collab.gate.pairs import Cuts, mend
from collab.gate.revision import Revision
from collab.metrics import Metrics
from collab.names import RoomKey
from collab.rooms.live.session import Session

log = logging.getLogger(__name__)

_LOGGED = 20  # reasons logged while a room is open; the metric counts all
_LONGEST_NAME = 500  # characters of a user id that are logged
_CLIENTS = 64  # per session; if edits wait for more clients, the next handshake brings them at the latest


class Gaps:
    """Sessions with edits that depend on somebody else's, so that we ask for them when those have arrived.

    Maps a Yjs client id to the sessions that wait for one of its elements, and the clock of that element.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: dict[int, dict[Session, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def wait(self, session: Session, awaited: Mapping[int, int]) -> None:
        """Let a session wait for these elements, and no longer for others."""
        self.leave(session)
        for client, clock in list(awaited.items())[:_CLIENTS]:
            self._waiting.setdefault(client, {})[session] = clock

    def leave(self, session: Session) -> None:
        """Stop a session's waiting."""
        for client in [client for client, sessions in self._waiting.items() if session in sessions]:
            del self._waiting[client][session]
            if not self._waiting[client]:
                del self._waiting[client]

    def filled(self, after: Mapping[int, int]) -> list[Session]:
        """Remove and return the sessions that have an awaited element now, given the next clocks ``after``."""
        found = {
            session: None
            for client, end in after.items()
            for session, clock in self._waiting.get(client, {}).items()
            if clock < end
        }
        for session in found:
            self.leave(session)
        return list(found)


class Revisions:
    """Tells writers, log and metrics what was deleted instead of applied. ``gaps``: which sessions wait for what."""

    __slots__ = ("_key", "_logged", "_metrics", "gaps")

    def __init__(self, key: RoomKey, metrics: Metrics) -> None:
        self.gaps = Gaps()
        self._key = key
        self._metrics = metrics
        self._logged: set[str] = set()

    def tell(self, session: Session, revision: Revision) -> None:
        """Have the writer delete what we refused, too, so that all replicas agree. Note what the session waits for."""
        if revision.leaves:
            self._metrics.resyncs += 1
            self.gaps.wait(session, revision.awaited)
        undo = revision.undo()
        if undo is not None:
            session.outbox.reply(session.framing.update(undo))
        self._metrics.refused_elements += sum(one.length for one in revision.refused)
        user_id = session.identity.user_id
        for one in revision.refused:
            if one.why not in self._logged and len(self._logged) < _LOGGED:
                self._logged.add(one.why)
                log.warning(
                    "%s: an edit of user %s was deleted, because it is %s; logged once per reason",
                    self._key,
                    user_id and printable(user_id[:_LONGEST_NAME]),
                    one.why,
                )


def mended(doc: pycrdt.Doc[Any], cuts: Cuts, *, keep_deleted: bool) -> pycrdt.Doc[Any]:
    """The document with two U+FFFD for each split surrogate pair in ``cuts``.

    A loaded document cannot be changed in this way, so it is loaded again. ``keep_deleted``: the document keeps the
    content of deleted elements.
    """
    whole = doc.get_update()
    update = mend(whole, cuts)
    if update is whole:
        return doc  # the pairs are deleted
    again: pycrdt.Doc[Any] = pycrdt.Doc(client_id=doc.client_id, skip_gc=keep_deleted)
    again.apply_update(update)
    return again
