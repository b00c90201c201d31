"""The span of one attempt to tell a webhook."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from collab.entities.event_traces import EventTraces
from collab.event import EntityEvent
from collab.names import RoomKey
from collab.tracing import Tracer, TraceSpan, about


class DeliveryTraces:
    """Goes on with the spans of events. An event of long ago begins a trace."""

    def __init__(self, tracer: Tracer, events: EventTraces) -> None:
        self._tracer = tracer
        self._events = events

    @contextmanager
    def attempt(self, webhook: str, project: str, event: EntityEvent, failures: int) -> Iterator[DeliveryTrace]:
        """Inside the block the event is sent."""
        attributes = {
            **about(RoomKey(project, event.collection, event.id)),
            "collab.webhook": webhook,
            "collab.version": event.version,
            "collab.attempt": failures + 1,
        }
        parent = self._events.of(project, event.position)
        with self._tracer.work("collab.webhook", attributes, kind="client", parent=parent) as span:
            yield DeliveryTrace(span, self._tracer.carried())


class DeliveryTrace:
    """``traceparent`` is what the receiver gets."""

    def __init__(self, span: TraceSpan, traceparent: str | None) -> None:
        self.traceparent = traceparent
        self._span = span

    def failed(self, kind: str) -> None:
        """The attempt failed, for a reason of this kind."""
        self._span.failed(kind)
