"""Requests of the public classes to the engine: reads, writes, subscriptions and documents."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from collab.client.background import Background
from collab.client.calls import Call
from collab.client.core.writes import WriteMessage
from collab.client.documents import Document
from collab.client.engine import Engine
from collab.client.subscription import Subscription
from collab.errors import CollabError
from collab.wire.realtime import messages as realtime
from collab.wire.realtime import values as wire

if TYPE_CHECKING:
    import pycrdt

ErrorCallback = Callable[[CollabError], object]
OnConflict = Literal["merge", "reject"]


class Requests:
    """The part of the engine that collections and topics use."""

    def __init__(self, engine: Engine, conflicts: OnConflict) -> None:
        self._engine = engine
        self.conflicts: OnConflict = conflicts
        self.background: Background = engine.background

    def ticket(self) -> int:
        """Return a new request id."""
        return self._engine.state.ticket()

    def ask(self, message: realtime.Asked, read: Callable[[Any], Any], on_error: ErrorCallback | None) -> Call[Any]:
        """Send a read. ``read`` converts its result."""
        call = self._call(message.id, read, on_error, None)
        self._engine.call(call, message)
        return call

    def write(
        self, message: WriteMessage, read: Callable[[Any], Any], on_error: ErrorCallback | None, at: str
    ) -> Call[Any]:
        """Write to an entity. ``at`` is the time of the write (RFC 3339)."""
        call = self._call(message.id, read, on_error, message.entity)
        self._engine.write(call, message, at)
        return call

    def _call(
        self, ticket: int, read: Callable[[Any], Any], on_error: ErrorCallback | None, entity: str | None
    ) -> Call[Any]:
        def failed(error: CollabError) -> None:
            if on_error is not None:
                self.background.call(on_error, error)
            else:
                self._engine.trouble(error)

        # nobody awaits it: cancel a read, but complete a write
        abandoned = (lambda: self._engine.forget(ticket)) if entity is None else (lambda: None)
        return Call(read, failed=failed, abandoned=abandoned, entity=entity)

    def subscribe(
        self,
        target: wire.AnyTarget,
        callback: Callable[[Any], object] | None,
        *,
        newest: bool,
        condition: Callable[[], object] | None,
        on_error: ErrorCallback | None,
        on_resync: Callable[[], object] | None,
    ) -> Subscription:
        """Start a subscription. ``newest``: a new value replaces one that was not read yet."""
        engine = self._engine
        subscription = Subscription(
            self.ticket(),
            callback,
            background=engine.background,
            unsubscribe=engine.unsubscribe,
            failed=engine.subscription_failed,
            over=lambda: engine.over,
            newest=newest,
            buffered=engine.options.max_buffered,
            condition=condition,
            on_error=on_error,
            on_resync=on_resync,
        )
        engine.subscribe(subscription, target)
        return subscription

    def open_document(self, name: str, doc: pycrdt.Doc[Any] | None) -> Document:
        """Open an entity's document."""
        engine = self._engine
        document = Document(
            engine.address(name),
            doc,
            wake=engine.wake,
            close=engine.close_document,
            connected=engine.is_connected,
            over=lambda: engine.over,
        )
        engine.open_document(document)
        return document
