"""Spans of OpenTelemetry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from collab.errors import CollabError
from collab.tracing import Attributes, SpanKind, Trace

_KINDS: Mapping[SpanKind, otel.SpanKind] = {
    "internal": otel.SpanKind.INTERNAL,
    "server": otel.SpanKind.SERVER,
    "client": otel.SpanKind.CLIENT,
}
_HEADER = "traceparent"
_EMPTY = Context()


class OtelSpan:
    """One span."""

    __slots__ = ("_context", "span")

    def __init__(self, span: otel.Span) -> None:
        self.span = span
        self._context = span.get_span_context()

    @property
    def trace(self) -> Trace | None:
        """Its place; ``None`` if it is not sampled."""
        return _sampled(self._context)

    def add(self, attributes: Attributes) -> None:
        """Say more about it."""
        self.span.set_attributes(dict(attributes))

    def failed(self, code: str) -> None:
        """It ends with an error."""
        _failed(self.span, code, fault=True)

    def end(self) -> None:
        """It is over."""
        self.span.end()


class OtelTracer:
    """Makes spans with the tracer of a provider, which :meth:`use` gives; until then they are not recorded."""

    def __init__(self) -> None:
        self._tracer: otel.Tracer = otel.NoOpTracer()
        # baggage and tracestate would carry what clients write to receivers of webhooks
        self._propagator = TraceContextTextMapPropagator()

    def use(self, provider: otel.TracerProvider) -> None:
        """Make spans for this provider."""
        self._tracer = provider.get_tracer("collab", version("lumenize-collab"))

    def begin(
        self,
        name: str,
        attributes: Attributes,
        *,
        kind: SpanKind = "internal",
        parent: Trace | None = None,
        links: Sequence[Trace] = (),
    ) -> OtelSpan:
        """Begin a span after ``parent``, or else after the running one."""
        return OtelSpan(
            self._tracer.start_span(
                name,
                _after(parent) if parent is not None else None,
                _KINDS[kind],
                dict(attributes),
                [otel.Link(_context_of(link)) for link in links],
            )
        )

    @contextmanager
    def work(
        self,
        name: str,
        attributes: Attributes,
        *,
        kind: SpanKind = "internal",
        parent: Trace | None = None,
        links: Sequence[Trace] = (),
    ) -> Iterator[OtelSpan]:
        """A span that runs inside the block."""
        span = self.begin(name, attributes, kind=kind, parent=parent, links=links)
        try:
            # the text of an exception may hold what a client wrote
            with otel.use_span(span.span, record_exception=False, set_status_on_exception=False):
                yield span
        except CollabError as error:
            _failed(span.span, error.code, fault=error.http_status >= 500)
            raise
        except Exception as error:
            _failed(span.span, type(error).__name__, fault=True)
            raise
        finally:
            span.end()

    def step(self, name: str, attributes: Attributes, *, kind: SpanKind = "internal") -> AbstractContextManager[object]:
        """As :meth:`work`, if a recorded span runs."""
        return nullcontext() if self.here() is None else self.work(name, attributes, kind=kind)

    def here(self) -> Trace | None:
        """The running span, if it is sampled."""
        return _sampled(otel.get_current_span().get_span_context())

    def failed(self, error: CollabError) -> None:
        """The work of the running span ends with an error."""
        _failed(otel.get_current_span(), error.code, fault=error.http_status >= 500)

    def carried(self) -> str | None:
        """The ``traceparent`` of the running span, sampled or not: whoever gets it decides alike."""
        context = otel.get_current_span().get_span_context()
        return str(_place(context)) if context.is_valid else None

    def told(self, traceparent: str | None) -> Trace | None:
        """Read a ``traceparent``. What is malformed begins a new trace, as W3C wants it."""
        if traceparent is None or otel.get_current_span().get_span_context().is_valid:
            return None
        told = self._propagator.extract({_HEADER: traceparent}, _EMPTY)
        context = otel.get_current_span(told).get_span_context()
        return _place(context) if context.is_valid else None


def _place(context: otel.SpanContext) -> Trace:
    return Trace(context.trace_id, context.span_id, context.trace_flags.sampled, context.is_remote)


def _sampled(context: otel.SpanContext) -> Trace | None:
    return _place(context) if context.is_valid and context.trace_flags.sampled else None


def _failed(span: otel.Span, code: str, *, fault: bool) -> None:
    """Note the code of an error; its message may hold what a client wrote."""
    span.set_attribute("error.type", code)
    if fault:
        span.set_status(otel.StatusCode.ERROR, code)


def _context_of(trace: Trace) -> otel.SpanContext:
    flags = otel.TraceFlags(otel.TraceFlags.SAMPLED if trace.sampled else otel.TraceFlags.DEFAULT)
    return otel.SpanContext(trace.trace_id, trace.span_id, is_remote=trace.remote, trace_flags=flags)


def _after(trace: Trace) -> Context:
    return otel.set_span_in_context(otel.NonRecordingSpan(_context_of(trace)), _EMPTY)
