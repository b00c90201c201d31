"""A document that is open, as an application holds it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Protocol

import anyio
import pycrdt

from collab.client.background import Signal
from collab.client.document_sync import DocumentSync
from collab.errors import CollabError, ConnectionLost

_CLOSE_SECONDS = 5.0


class Carrier(Protocol):
    """What a document needs of its client."""

    def wake(self) -> None:
        """There is something to send."""

    def close_document(self, document: Document) -> None:
        """It is not wanted any more."""

    def is_connected(self) -> bool:
        """Whether there is a connection."""


class Document:
    """One entity's Yjs document, live: ``doc`` (a :class:`pycrdt.Doc`) and ``awareness``.

    ``await`` it, or enter it with ``async with``, to have what the server has; at the end of the block it waits until
    what was edited is saved, as long as there is a connection. ``error`` says why it ended, or that an edit was
    refused.
    """

    def __init__(self, client: Carrier, address: str, doc: pycrdt.Doc[Any] | None) -> None:
        self.doc: pycrdt.Doc[Any] = doc if doc is not None else pycrdt.Doc()
        self.awareness = pycrdt.Awareness(self.doc)
        self.sync = DocumentSync(address, self.doc, self.awareness)
        self.changed = Signal()
        self._client = client
        self._watched = [self.doc.observe(self._edited), self.awareness.observe(self._moved)]

    @property
    def name(self) -> str:
        """``collection/id``."""
        return self.sync.name

    @property
    def synced(self) -> bool:
        """Whether what the server had at the beginning of this connection is here."""
        return self.sync.synced

    @property
    def saved(self) -> bool:
        """Whether every edit that was made here is committed."""
        return self.sync.saved

    @property
    def error(self) -> CollabError | None:
        """Why it ended, or that an edit was refused."""
        return self.sync.error

    async def until_synced(self) -> None:
        """Return once it is synced. Raises what the server refused it with."""
        await self._until(lambda: self.synced)

    async def until_saved(self) -> None:
        """Return once all edits are committed. Raises what the server refused one with."""
        await self._until(lambda: self.saved)

    async def _until(self, condition: Callable[[], bool]) -> None:
        await self.changed.until(lambda: condition() or self.error is not None or self.sync.state == "ended")
        if self.error is not None:
            raise self.error
        if not condition():
            raise ConnectionLost(f"{self.name} was closed")

    async def close(self) -> None:
        """Leave the document. Waits a moment for what is not saved, if there is a connection."""
        with anyio.move_on_after(_CLOSE_SECONDS):
            await self.changed.until(
                lambda: (
                    self.saved
                    or self.error is not None
                    or self.sync.state == "ended"
                    or not self._client.is_connected()
                )
            )
        self._client.close_document(self)

    def __await__(self) -> Generator[Any, None, Document]:
        return self._ready().__await__()

    async def _ready(self) -> Document:
        await self.until_synced()
        return self

    async def __aenter__(self) -> Document:
        try:
            return await self._ready()
        except BaseException:
            self._client.close_document(self)
            raise

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _edited(self, _: object) -> None:
        self._client.wake()

    def _moved(self, *_: object) -> None:
        self._client.wake()
