"""Spans of OpenTelemetry."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.metadata import version
from typing import Unpack

from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from collab.errors import CollabError
from collab.tracing import Attributes, SpanKind, SpanOptions, Trace

_KINDS: Mapping[SpanKind, otel.SpanKind] = {
    "internal": otel.SpanKind.INTERNAL,
    "server": otel.SpanKind.SERVER,
    "client": otel.SpanKind.CLIENT,
}
_HEADER = "traceparent"
_EMPTY = Context()


class OtelSpan:
    """A :class:`collab.tracing.TraceSpan`: recorded means sampled."""

    __slots__ = ("_context", "span")

    def __init__(self, span: otel.Span) -> None:
        self.span = span
        self._context = span.get_span_context()

    @property
    def trace(self) -> Trace | None:
        return _sampled(self._context)

    def add(self, attributes: Attributes) -> None:
        self.span.set_attributes(dict(attributes))

    def failed(self, code: str) -> None:
        _failed(self.span, code, fault=True)

    def end(self) -> None:
        self.span.end()


class OtelTracer:
    """A :class:`collab.tracing.Tracer`. Until :meth:`use` gives it a provider, nothing is recorded."""

    def __init__(self) -> None:
        self._tracer: otel.Tracer = otel.NoOpTracer()
        # baggage and tracestate would carry what clients write to receivers of webhooks
        self._propagator = TraceContextTextMapPropagator()

    def use(self, provider: otel.TracerProvider) -> None:
        """Make spans for this provider."""
        self._tracer = provider.get_tracer("collab", version("lumenize-collab"))

    def begin(self, name: str, attributes: Attributes, **options: Unpack[SpanOptions]) -> OtelSpan:
        parent = options.get("parent")
        return OtelSpan(
            self._tracer.start_span(
                name,
                _after(parent) if parent is not None else None,
                _KINDS[options.get("kind", "internal")],
                dict(attributes),
                [otel.Link(_context_of(link)) for link in options.get("links", ())],
            )
        )

    @contextmanager
    def work(self, name: str, attributes: Attributes, **options: Unpack[SpanOptions]) -> Iterator[OtelSpan]:
        span = self.begin(name, attributes, **options)
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
        return nullcontext() if self.here() is None else self.work(name, attributes, kind=kind)

    def here(self) -> Trace | None:
        return _sampled(otel.get_current_span().get_span_context())

    def failed(self, error: CollabError) -> None:
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
