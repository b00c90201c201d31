"""The encoding of a room's messages for one session's protocol.

A room sends the same messages to all its sessions; a framing encodes them in that session's protocol. Sessions with
equal framings get the same bytes objects.
"""

from __future__ import annotations

from typing import Protocol

from collab.wire import hocuspocus, yjs


class Framing(Protocol):
    """Encodes a room's messages. ``address`` distinguishes framings of one protocol."""

    @property
    def address(self) -> str:
        """The name by which the client knows the room, if its messages carry one."""

    @property
    def acknowledges(self) -> bool:
        """Whether :meth:`saved` returns a message."""

    def sync_step1(self, state_vector: bytes) -> bytes:
        """Ask for what the room lacks."""

    def sync_step2(self, update: bytes) -> bytes:
        """Answer with the update that the client lacks."""

    def update(self, update: bytes) -> bytes:
        """Pass an edit on."""

    def awareness(self, payload: bytes) -> bytes:
        """Pass presence on."""

    def saved(self, saved: bool) -> bytes | None:
        """Acknowledge an edit as committed, or refuse it; ``None`` if the protocol has no such message."""

    def stateless(self, payload: str) -> bytes | None:
        """Pass an application message on; ``None`` if the protocol has no such message."""


class YjsFraming:
    """y-websocket: one room per socket, no names, no acknowledgements."""

    address = ""
    acknowledges = False
    sync_step1 = staticmethod(yjs.sync_step1)
    sync_step2 = staticmethod(yjs.sync_step2)
    update = staticmethod(yjs.update)
    awareness = staticmethod(yjs.awareness)

    def saved(self, saved: bool) -> bytes | None:
        """``None``: y-websocket clients do not count unsaved edits."""
        return None

    def stateless(self, payload: str) -> bytes | None:
        """``None``: y-websocket has no application messages."""
        return None


class HocuspocusFraming:
    """Hocuspocus: rooms share a socket; every message begins with the room's name as the client wrote it."""

    __slots__ = ("address",)
    acknowledges = True

    def __init__(self, address: str) -> None:
        self.address = address

    def sync_step1(self, state_vector: bytes) -> bytes:
        return hocuspocus.sync_step1(self.address, state_vector)

    def sync_step2(self, update: bytes) -> bytes:
        return hocuspocus.sync_step2(self.address, update)

    def update(self, update: bytes) -> bytes:
        return hocuspocus.update(self.address, update)

    def awareness(self, payload: bytes) -> bytes:
        return hocuspocus.awareness(self.address, payload)

    def saved(self, saved: bool) -> bytes | None:
        """A SyncStatus message; the provider subtracts it from ``unsyncedChanges``."""
        return hocuspocus.sync_status(self.address, saved)

    def stateless(self, payload: str) -> bytes | None:
        return hocuspocus.stateless(self.address, payload)
