"""Where spans go: to the provider of the application, or to a collector that the variables ``OTEL_…`` name."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from opentelemetry import trace as otel
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

log = logging.getLogger(__name__)

_STOP_SECONDS = 2.0
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_DEFAULT_ENDPOINT = "http://localhost:4318"
_NOISY = ("opentelemetry.exporter.otlp", "opentelemetry.sdk._shared_internal")
"""Loggers of the library that say the same for each batch and span; :class:`ToldExporter` says it once."""


def application_provider() -> otel.TracerProvider | None:
    """The provider that the application has set, if it has."""
    provider = otel.get_tracer_provider()
    return None if isinstance(provider, otel.ProxyTracerProvider) else provider


def check_protocol(environ: Mapping[str, str]) -> None:
    """Raise :class:`ValueError` if the variables ask for a protocol other than OTLP over HTTP."""
    for name in _PROTOCOLS:
        said = environ.get(name)
        if said:
            if said != "http/protobuf":
                raise ValueError(f"{name} is {said}, but traces are sent by http/protobuf only")
            return


def place_of_collector(environ: Mapping[str, str]) -> str:
    """Scheme, host and port of the collector; the rest of its URL may be secret."""
    url = next((environ[name] for name in _ENDPOINTS if environ.get(name)), _DEFAULT_ENDPOINT)
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


class OwnProvider:
    """A provider of our own, as the variables ``OTEL_…`` describe it. ``place`` is that of its collector."""

    def __init__(self, exporter: SpanExporter, place: str) -> None:
        self._told = ToldExporter(exporter, place)
        resource = Resource.create()
        if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: "collab"}))
        self.provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self.provider.add_span_processor(BatchSpanProcessor(cast(Any, self._told)))

    @property
    def failing(self) -> bool:
        """Whether the last spans could not be sent."""
        return self._told.failing

    def stop(self) -> None:
        """Send what is left, for two seconds at most."""
        stopping = threading.Thread(target=self.provider.shutdown, daemon=True)  # it may wait for the collector
        stopping.start()
        stopping.join(_STOP_SECONDS)


def own_provider(environ: Mapping[str, str]) -> OwnProvider:
    """Send to the collector that the variables name. Raises :class:`ValueError` if they make no sense."""
    check_protocol(environ)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return OwnProvider(OTLPSpanExporter(), place_of_collector(environ))


class ToldExporter:
    """Sends spans, and says once that it cannot, and once that it can again. Called by the thread that sends."""

    def __init__(self, exporter: SpanExporter, place: str, say: Callable[[str], object] = log.warning) -> None:
        self.failing = False
        self._exporter = exporter
        self._place = place
        self._say = say

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans; those that cannot be sent are dropped."""
        try:
            result = self._exporter.export(spans)
        except Exception as error:
            self._failed(f": {type(error).__name__}")
            return SpanExportResult.FAILURE
        if result is not SpanExportResult.SUCCESS:
            self._failed("")
        elif self.failing:
            self.failing = False
            self._say(f"traces are sent to {self._place} again")
        return result

    def shutdown(self) -> None:
        """Send no more."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what is left."""
        return self._exporter.force_flush(timeout_millis)

    def _failed(self, why: str) -> None:
        if not self.failing:
            self.failing = True
            self._say(f"traces cannot be sent to {self._place} and are dropped until they can{why}")
