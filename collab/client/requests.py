"""Requests of the public classes to the engine: reads, writes, subscriptions and documents."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from collab.client.background import Background
from collab.client.calls import Call
from collab.client.core.copies import own
from collab.client.core.values import checked
from collab.client.core.writes import WriteMessage
from collab.client.documents import Document
from collab.client.engine import Engine
from collab.client.subscription import Subscription
from collab.errors import CollabError, InvalidRequest
from collab.wire.realtime import messages as realtime
from collab.wire.realtime import values as wire

if TYPE_CHECKING:
    import pycrdt

V = TypeVar("V")
T = TypeVar("T", bound=realtime.Asked)

log = logging.getLogger(__name__)

ErrorCallback = Callable[[CollabError], object]
OnConflict = Literal["merge", "reject"]
_READS = (
    realtime.FindById | realtime.FindMany | realtime.Count | realtime.Aggregate | realtime.History | realtime.Schema
)


class Requests:
    """The part of the engine that collections and topics use."""

    def __init__(
        self, engine: Engine, conflicts: OnConflict, traceparent: Callable[[], str | None] | None = None
    ) -> None:
        _check_sync("traceparent", traceparent)
        self._engine = engine
        self._traceparent = traceparent
        self.conflicts: OnConflict = conflicts
        self.background: Background = engine.background

    def ticket(self) -> int:
        """Return a new request id."""
        return self._engine.state.ticket()

    def seen(self, collection: str, entity: str) -> int | None:
        """Return the newest version of an entity that this client has received, if any."""
        return self._engine.state.versions.get(collection, entity)

    def ask(self, message: realtime.Asked, read: Callable[[Any], Any], on_error: ErrorCallback | None) -> Call[Any]:
        """Send a request that is no write to an entity. ``read`` converts its result."""
        message = self._traced(checked(message))
        call = self._call(message, read, on_error)
        self._engine.call(call, message)
        return call

    def write(
        self, message: WriteMessage, read: Callable[[Any], Any], on_error: ErrorCallback | None, at: str
    ) -> Call[Any]:
        """Write to an entity. ``at`` is the time of the write (RFC 3339)."""
        message = self._traced(checked(message))
        call = self._call(message, read, on_error)
        self._engine.write(call, message, at)
        return call

    def _traced(self, message: T) -> T:
        """Add the span of the application, if it has one. A request is made, whatever tells of it."""
        if self._traceparent is None:
            return message
        try:
            traceparent = self._traceparent()
        except Exception:
            log.exception("traceparent failed")
            return message
        if not isinstance(traceparent, str) or not traceparent.isascii():
            return message  # a lone surrogate could not be sent
        return msgspec.structs.replace(message, traceparent=traceparent)

    def _call(self, message: realtime.Asked, read: Callable[[Any], Any], on_error: ErrorCallback | None) -> Call[Any]:
        _check_function("on_error", on_error)

        def failed(error: CollabError) -> None:
            if on_error is not None:
                self.background.tell(partial(self.background.call, on_error, own(error)))
            else:
                self._engine.callbacks.trouble(error)

        entity = getattr(message, "entity", None) if isinstance(message, WriteMessage) else None

        def abandoned() -> None:
            if isinstance(message, _READS):  # anything else has an effect
                self._engine.forget(message.id)

        return Call(read, failed=failed, abandoned=abandoned, entity=entity)

    def subscription(
        self,
        target: wire.AnyTarget,
        callback: Callable[[Any], object] | None,
        *,
        newest: bool,
        condition: Callable[[], object] | None,
        on_error: ErrorCallback | None,
        on_resync: Callable[[], object] | None,
        read: Callable[[Any], V] = own,
    ) -> Callable[[], Subscription[V]]:
        """Return a function that starts a subscription. ``newest``: a new value replaces one that was not read yet.

        ``read`` makes of a value what the application gets, which must share nothing with the value. If it raises a
        :class:`CollabError`, the subscription ends with it. Raises :class:`InvalidRequest`.
        """
        [wanted] = checked(
            realtime.Subscribe(id=0, subscriptions=(realtime.Subscription(sub=0, target=target),))
        ).subscriptions
        functions = {"callback": callback, "on_error": on_error, "on_resync": on_resync}
        for name, function in functions.items():
            _check_function(name, function)
        _check_sync("condition", condition)
        engine = self._engine

        def start() -> Subscription[V]:
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
                read=read,
            )
            engine.subscribe(subscription, wanted.target)
            return subscription

        return start

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


def _check_function(name: str, value: object) -> None:
    if value is not None and not callable(value):
        raise InvalidRequest(f"{name} is not a function")


def _check_sync(name: str, value: object) -> None:
    _check_function(name, value)
    if inspect.iscoroutinefunction(value):
        raise InvalidRequest(f"{name} must not be async")
