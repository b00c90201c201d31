"""An open document."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import anyio
import pycrdt

from collab.client.background import Signal, Started
from collab.client.core.awareness import DocumentAwareness
from collab.client.core.copies import own
from collab.client.core.document_sync import DocumentSync
from collab.errors import CollabError, ConnectionLost

_CLOSE_SECONDS = 5.0


class Document(Started):
    """An entity's live Yjs document: ``doc`` (a :class:`pycrdt.Doc`) and ``awareness``.

    ``await`` it, or enter it with ``async with``, to wait for the server's state. Leaving the block waits until all
    edits are saved, as long as there is a connection. ``error`` is why the document closed, or why an edit was
    refused.
    """

    def __init__(
        self,
        address: str,
        doc: pycrdt.Doc[Any] | None,
        *,
        wake: Callable[[], None],
        close: Callable[[Document], None],
        connected: Callable[[], bool],
        over: Callable[[], CollabError | None],
    ) -> None:
        self.doc: pycrdt.Doc[Any] = doc if doc is not None else pycrdt.Doc()
        self.awareness = DocumentAwareness(self.doc)
        self.sync = DocumentSync(address, self.doc, self.awareness)
        self.changed = Signal()
        self._wake = wake
        self._close = close
        self._connected = connected
        self._over = over
        self._watched = [self.doc.observe(self._edited), self.awareness.observe(self._moved)]

    @property
    def name(self) -> str:
        """``collection/id``."""
        return self.sync.name

    @property
    def synced(self) -> bool:
        """Whether the server's state at the start of this connection has arrived."""
        return self.sync.synced

    @property
    def saved(self) -> bool:
        """Whether every local edit is committed."""
        return self.sync.saved

    @property
    def error(self) -> CollabError | None:
        """Why the document closed, or why an edit was refused."""
        return own(self.sync.error)

    async def until_synced(self) -> None:
        """Wait until it is synced. Raises the server's refusal, or why the client stopped connecting."""
        await self._until(lambda: self.synced)
        if not self.synced:
            raise self._end()

    async def until_saved(self) -> None:
        """Wait until all edits are committed. Raises the refusal of an edit, and as :meth:`until_synced`."""
        await self._until(lambda: self.saved)
        if self.sync.error is not None or not self.saved:
            raise self._end()

    async def _until(self, condition: Callable[[], bool]) -> None:
        await self.changed.until(
            lambda: condition() or self.sync.error is not None or self.sync.state == "ended" or self._over()
        )

    def _end(self) -> CollabError:
        return self.error or own(self._over()) or ConnectionLost(f"{self.name} was closed")

    async def close(self) -> None:
        """Close the document. Waits briefly for unsaved edits, if there is a connection."""
        try:
            with anyio.move_on_after(_CLOSE_SECONDS):
                await self.changed.until(
                    lambda: (
                        self.saved or self.sync.error is not None or self.sync.state == "ended" or not self._connected()
                    )
                )
        finally:
            self._close(self)

    def __await__(self) -> Generator[Any, None, Document]:
        return self._ready().__await__()

    async def _ready(self) -> Document:
        await self.until_synced()
        return self

    async def __aenter__(self) -> Document:
        try:
            return await self._ready()
        except BaseException:
            self._close(self)
            raise

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _edited(self, _: object) -> None:
        self._wake()

    def _moved(self, *_: object) -> None:
        self._wake()
