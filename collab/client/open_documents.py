"""The documents that a client has open on its connection."""

from __future__ import annotations

from collections.abc import Callable

from collab.client.core.failures import Unreadable
from collab.client.documents import Document
from collab.errors import CollabError, InvalidRequest
from collab.wire import hocuspocus
from presence.lib0 import DecodeError, read_string


class OpenDocuments:
    """Open documents by their addresses, which name them in frames."""

    __slots__ = ("_addresses", "_documents", "_goodbyes")

    def __init__(self) -> None:
        self._documents: dict[str, Document] = {}
        self._addresses: set[str] = set()  # in use on this connection
        self._goodbyes: list[bytes] = []

    def address(self, name: str, number: Callable[[], int]) -> str:
        """Return the address for a document that is being opened. Raises :class:`InvalidRequest` if it is open.

        The server may still send messages to its previous opening on this connection: then ``number`` makes the address
        unique.
        """
        for document in [document for document in self._documents.values() if document.name == name]:
            if document.sync.state != "ended":
                raise InvalidRequest(f"{name} is already open")
            del self._documents[document.sync.address]
        return name if name not in self._addresses else f"{name}\0{number()}"

    def add(self, document: Document, *, connected: bool) -> None:
        """Start syncing a document."""
        self._documents[document.sync.address] = document
        self._addresses.add(document.sync.address)
        if connected:
            document.sync.opened()

    def remove(self, document: Document, *, connected: bool) -> bool:
        """Stop syncing a document. Returns whether it was open."""
        if self._documents.get(document.sync.address) is not document:
            return False
        del self._documents[document.sync.address]
        if document.sync.state != "ended":
            goodbye = document.sync.close()
            if connected:
                self._goodbyes.append(goodbye)
        document.changed.set()
        return True

    def opened(self) -> None:
        """A session is open: sync all documents."""
        for document in self._documents.values():
            document.sync.opened()

    def lost(self) -> None:
        """The connection is lost."""
        self._goodbyes.clear()
        self._addresses = set(self._documents)
        for document in list(self._documents.values()):  # an observer may open others
            document.sync.lost()
            document.changed.set()

    def received(self, data: bytes) -> CollabError | None:
        """Handle a document's frame. Returns its new error, if there is one. Raises :class:`Unreadable`."""
        try:
            address, pos = read_string(data, 0)
            document = self._documents.get(address)
            if document is None:
                if data[pos : pos + 1] == bytes([hocuspocus.CLOSE]):
                    self._addresses.discard(address)  # the server's final message about this address
                return None
            before = document.sync.error
            document.sync.received(data)
        except DecodeError as error:
            raise Unreadable(f"a document's frame cannot be read: {error}") from error
        document.changed.set()
        return document.sync.error if document.sync.error is not before else None

    def take(self, now: float, limit: int) -> list[bytes]:
        """Return the frames to send now. ``limit`` is the server's maximum message size in bytes, 0 if unknown."""
        frames, self._goodbyes = self._goodbyes, []
        for document in self._documents.values():
            frames += document.sync.take(now, limit)
            if document.sync.state == "ended":
                document.changed.set()
        return frames

    def renew(self, now: float) -> float | None:
        """Renew awareness states that are due. Returns when the next one of another document is due."""
        times = []
        for document in list(self._documents.values()):  # an observer may open others
            at = document.sync.renew_at()
            if at is not None and at <= now:
                document.sync.renew()
            elif at is not None:
                times.append(at)
        return min(times, default=None)
