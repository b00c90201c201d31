"""How a room's messages look on one session's wire.

A room speaks to all its sessions in the same words; a framing turns them into that session's protocol. Sessions
whose framings are equal get the same bytes objects.
"""

from __future__ import annotations

from typing import Protocol

from collab.wire import hocuspocus, yjs


class Framing(Protocol):
    """Encodes what a room has to say. ``address`` tells equal framings of one protocol apart."""

    @property
    def address(self) -> str:
        """The name by which the client knows the room, if its messages carry one."""

    @property
    def acknowledges(self) -> bool:
        """Whether :meth:`saved` has a word to say."""

    def sync_step1(self, state_vector: bytes) -> bytes:
        """Ask for what the room lacks."""

    def sync_step2(self, update: bytes) -> bytes:
        """Answer with what the client lacks."""

    def update(self, update: bytes) -> bytes:
        """Pass an edit on."""

    def awareness(self, payload: bytes) -> bytes:
        """Pass presence on."""

    def saved(self, saved: bool) -> bytes | None:
        """Say that an edit is committed, or refused; ``None`` where the protocol has no word for it."""

    def stateless(self, payload: str) -> bytes | None:
        """Pass an application message on; ``None`` where the protocol has no word for it."""


class YjsFraming:
    """y-websocket: one room a socket, no names, no word for *saved*."""

    address = ""
    acknowledges = False
    sync_step1 = staticmethod(yjs.sync_step1)
    sync_step2 = staticmethod(yjs.sync_step2)
    update = staticmethod(yjs.update)
    awareness = staticmethod(yjs.awareness)

    def saved(self, saved: bool) -> bytes | None:
        """Nothing: y-websocket clients count no edits."""
        return None

    def stateless(self, payload: str) -> bytes | None:
        """Nothing: y-websocket has no application messages."""
        return None


class HocuspocusFraming:
    """Hocuspocus: rooms share a socket, every message begins with the room's name as the client wrote it."""

    __slots__ = ("address",)
    acknowledges = True

    def __init__(self, address: str) -> None:
        self.address = address

    def sync_step1(self, state_vector: bytes) -> bytes:
        """Ask for what the room lacks."""
        return hocuspocus.sync_step1(self.address, state_vector)

    def sync_step2(self, update: bytes) -> bytes:
        """Answer with what the client lacks."""
        return hocuspocus.sync_step2(self.address, update)

    def update(self, update: bytes) -> bytes:
        """Pass an edit on."""
        return hocuspocus.update(self.address, update)

    def awareness(self, payload: bytes) -> bytes:
        """Pass presence on."""
        return hocuspocus.awareness(self.address, payload)

    def saved(self, saved: bool) -> bytes | None:
        """SyncStatus, which the provider subtracts from ``unsyncedChanges``."""
        return hocuspocus.sync_status(self.address, saved)

    def stateless(self, payload: str) -> bytes | None:
        """A stateless message."""
        return hocuspocus.stateless(self.address, payload)
