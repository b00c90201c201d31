"""What a server has traced, for tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import anyio
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


class Told(NamedTuple):
    """A span that has ended. ``links`` are the ids of others."""

    name: str
    trace: int
    id: int
    parent: int | None
    links: tuple[int, ...]
    attributes: Mapping[str, Any]
    failed: bool


class Traces:
    """A real provider that keeps spans in memory. ``options`` are those of the provider."""

    def __init__(self, **options: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False, **options)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    @property
    def all(self) -> list[Told]:
        return [_told(span) for span in self._exporter.get_finished_spans()]

    def named(self, name: str) -> list[Told]:
        return [span for span in self.all if span.name == name]

    async def one(self, name: str, fits: Callable[[Told], bool] = lambda span: True) -> Told:
        """The only span of this name that fits, as soon as it has ended."""
        with anyio.fail_after(40):
            while not (found := [span for span in self.named(name) if fits(span)]):
                await anyio.sleep(0.01)
        assert len(found) == 1, found
        return found[0]


def _told(span: ReadableSpan) -> Told:
    context = span.get_span_context()
    assert context is not None
    return Told(
        span.name,
        context.trace_id,
        context.span_id,
        span.parent.span_id if span.parent is not None else None,
        tuple(link.context.span_id for link in span.links),
        dict(span.attributes or {}),
        not span.status.is_ok,
    )
