"""Sync of one document: frames in, frames out. Pure except for the document itself.

It speaks the protocol of a Hocuspocus provider: a token (empty: the session's), then SyncStep1 in both directions.
The server confirms each update, and the SyncStep2 that answers its first SyncStep1, once it is committed.
"""

from __future__ import annotations

import json
import logging
from typing import Any, Literal

import pycrdt

from collab.client.core.awareness import AwarenessChange, DocumentAwareness
from collab.client.core.failures import denied
from collab.errors import CollabError, PermissionDenied, TooLarge
from collab.wire import hocuspocus, yjs
from presence.lib0 import DecodeError, encode_string, read_string, read_uint
from presence.state import read_entries

log = logging.getLogger(__name__)

RENEW_SECONDS = 15.0
"""How often the own awareness state is sent again: a room drops clients that are silent for twice as long."""
_MERGE_AT = 64  # merging more than about a hundred updates becomes quadratic
_NOTHING = b"\x00\x00"
_NO_CLOCKS = b"\x00"

SyncState = Literal["away", "asking", "open", "ended"]


class DocumentSync:
    """Syncs ``doc`` and ``awareness`` with a server.

    ``address`` is the document's name, optionally followed by a NUL and a suffix that makes this opening unique.
    """

    def __init__(self, address: str, doc: pycrdt.Doc[Any], awareness: DocumentAwareness) -> None:
        self.address = address
        self.doc = doc
        self.awareness = awareness
        self.state: SyncState = "away"
        self.synced = False  # the server's state has arrived
        self.read_only = False
        self.error: CollabError | None = None
        self._replies: list[bytes] = []
        self._edits: list[bytes] = []
        self._unconfirmed = 0
        self._answered = False  # the server's SyncStep1, on this connection
        self._unsaved = doc.get_state() != _NO_CLOCKS  # existing content may be new to the server
        self._present = False  # the own awareness state must be sent
        self._renewed = 0.0
        self._applying = False
        self._observed = doc.observe(self._changed)
        self._watching = awareness.observe(self._moved)

    @property
    def name(self) -> str:
        """``collection/id``."""
        return hocuspocus.split_address(self.address)[0]

    @property
    def saved(self) -> bool:
        """Whether every local edit is committed."""
        return not self._unsaved

    # the link

    def opened(self) -> None:
        """A connection has opened."""
        if self.state != "ended":
            self.error = None  # of the last connection: what was refused is sent again
            self._reset("asking")
            self._replies.append(self._token())

    def lost(self) -> None:
        """The connection is gone; forget the awareness states of others."""
        if self.state == "ended":
            return
        self._reset("away")
        self.awareness.forget([client for client in self.awareness.states if client != self.awareness.client_id])

    def take(self, now: float, limit: int = 0) -> list[bytes]:
        """Return the frames to send now. ``limit`` is the server's maximum message size in bytes, 0 if unknown.

        A larger edit ends the document; a larger awareness state is not sent.
        """
        frames = []
        for frame in self._outgoing(now):
            if len(frame) <= limit or not limit:
                frames.append(frame)
            elif hocuspocus.read_head(frame)[1] == hocuspocus.AWARENESS:
                log.warning(
                    "%s: awareness state of %d bytes exceeds the server's limit %d", self.name, len(frame), limit
                )
            else:  # the server would refuse it on every attempt
                self._end(
                    TooLarge(f"{self.name}: edit of {len(frame)} bytes exceeds the server's limit {limit}", limit=limit)
                )
                return [encode_string(self.address) + bytes([hocuspocus.CLOSE])]
        return frames

    def _outgoing(self, now: float) -> list[bytes]:
        frames, self._replies = self._replies, []
        if self.state != "open":
            return frames
        if self._edits and self._answered:
            update = self._edits[0] if len(self._edits) == 1 else pycrdt.merge_updates(*self._edits)
            self._edits.clear()
            self._unconfirmed += 1
            frames.append(hocuspocus.update(self.address, update))
        if self._present:
            self._present = False
            self._renewed = now
            states = self.awareness.encode_awareness_update([self.awareness.client_id])
            frames.append(hocuspocus.awareness(self.address, states))
        return frames

    def renew_at(self) -> float | None:
        """When the own awareness state must be sent again."""
        if self.state == "open" and self.awareness.get_local_state() is not None:
            return self._renewed + RENEW_SECONDS
        return None

    def renew(self) -> None:
        """Send the own awareness state again."""
        self.awareness.set_local_state(self.awareness.get_local_state())

    def close(self) -> bytes:
        """Stop syncing. Returns the frame that tells the server."""
        self._end(None)
        return encode_string(self.address) + bytes([hocuspocus.CLOSE])

    def received(self, frame: bytes) -> None:
        """Process a frame of this document. Raises :class:`presence.lib0.DecodeError`."""
        if self.state in ("away", "ended"):
            return
        _, pos = read_string(frame, 0)
        kind, pos = read_uint(frame, pos)
        if kind in (hocuspocus.SYNC, hocuspocus.SYNC_REPLY):
            self._synchronize(yjs.read_sync(frame, pos))
        elif kind == hocuspocus.AWARENESS:
            self._meet(yjs.read_rest(frame, pos))
        elif kind == hocuspocus.AUTH:
            self._authenticated(frame, pos)
        elif kind == hocuspocus.QUERY_AWARENESS:
            self._present = self.awareness.get_local_state() is not None
        elif kind == hocuspocus.CLOSE:
            self._end(denied(self.name, read_string(frame, pos)[0]))
        elif kind == hocuspocus.SYNC_STATUS:
            self._confirmed(read_uint(frame, pos)[0] == 1)

    # details

    def _reset(self, state: SyncState) -> None:
        self.state = state
        self.synced = False
        self._replies.clear()
        self._edits.clear()  # SyncStep2 will contain them
        self._unconfirmed = 0
        self._answered = False
        self._present = False

    def _end(self, error: CollabError | None) -> None:
        if self.state == "ended":
            return
        self._reset("ended")
        self.error = error
        self.doc.unobserve(self._observed)
        self.awareness.unobserve(self._watching)

    def _token(self) -> bytes:
        return encode_string(self.address) + bytes([hocuspocus.AUTH, hocuspocus.TOKEN]) + encode_string("")

    def _authenticated(self, frame: bytes, pos: int) -> None:
        kind, pos = read_uint(frame, pos)
        if kind == hocuspocus.TOKEN:  # the server asks for the next token; the session handles that
            self._replies.append(self._token())
            return
        text, _ = read_string(frame, pos)
        if kind == hocuspocus.DENIED:
            self._end(denied(self.name, text))
        elif kind == hocuspocus.AUTHENTICATED:
            self.read_only = text == "readonly"
            if self.state == "asking":
                self.state = "open"
                self._replies.append(hocuspocus.sync_step1(self.address, self.doc.get_state()))
                self._present = True  # even without a state: it tells the server our client id

    def _synchronize(self, message: yjs.SyncMessage) -> None:
        match message:
            case yjs.SyncStep1(state_vector=state_vector):
                if not self._answered:  # the server confirms only the answer to its first SyncStep1
                    self._edits.clear()
                    self._answered = True
                    self._unconfirmed += 1
                self._replies.append(hocuspocus.sync_step2(self.address, self._missing(state_vector)))
            case yjs.SyncStep2(update=update):
                self._apply(update)
                self.synced = True
            case yjs.Update(update=update):
                self._apply(update)
            case _:
                pass

    def _apply(self, update: bytes) -> None:
        self._applying = True
        try:
            self.doc.apply_update(update)
        except ExceptionGroup as failed:  # pycrdt raises it after it has applied the update
            log.error("%s: an observer of the document failed", self.name, exc_info=failed)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # yrs panics arrive as PanicException, which is no Exception
            raise DecodeError(f"not an update: {error}") from None
        finally:
            self._applying = False

    def _missing(self, state_vector: bytes) -> bytes:
        try:
            return self.doc.get_update(state_vector)
        except (ValueError, RuntimeError) as error:
            raise DecodeError(f"not a state vector: {error}") from None

    def _meet(self, states: bytes) -> None:
        try:
            for _, _, state in read_entries(states):
                json.loads(state)
        except (ValueError, RecursionError) as error:
            raise DecodeError(f"not an awareness update: {error}") from None
        self.awareness.apply_awareness_update(states, "server")

    def _confirmed(self, saved: bool) -> None:
        if not saved:
            self.error = PermissionDenied(f"{self.name}: an edit was refused")
            return
        self._unconfirmed -= 1
        if self._unconfirmed <= 0 and self._answered and not self._edits:
            self._unsaved = False

    def _changed(self, event: pycrdt.TransactionEvent) -> None:
        if self._applying or event.update == _NOTHING:
            return
        self._unsaved = True
        if self._answered:
            self._edits.append(event.update)
            if len(self._edits) >= _MERGE_AT:
                self._edits = [pycrdt.merge_updates(*self._edits)]

    def _moved(self, topic: str, change: AwarenessChange) -> None:
        clients, origin = change
        mine = self.awareness.client_id
        if topic != "update" or not any(mine in each for each in clients.values()):
            return
        # The server sent a null state with a higher clock; resend ours above it.
        if origin == "local" or self.awareness.get_local_state() is not None:
            self._present = True
