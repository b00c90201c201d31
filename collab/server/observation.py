"""What is observed of a server: its counters and its traces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from collab.consumers.delivery_traces import DeliveryTraces
from collab.entities.event_traces import EventTraces
from collab.metrics import Metrics
from collab.project_names import ProjectNames
from collab.server.config.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from collab.server.tracing.start import Tracing


class Observation:
    """``metrics`` count always. ``tracer``, ``events`` and ``deliveries`` are ``None`` where nothing is traced.

    Raises :class:`ValueError` if traces are wanted and cannot be made.
    """

    def __init__(self, settings: Settings, provider: TracerProvider | None) -> None:
        self.names = ProjectNames(settings.metrics_projects)
        self.metrics = Metrics(self.names)
        for webhook in settings.webhooks:
            self.metrics.expect_webhook(webhook.name)
        self._tracing = _tracing_of(provider) if settings.tracing or provider is not None else None
        self.tracer = self._tracing.tracer if self._tracing is not None else None
        self.events = EventTraces(self.tracer) if self.tracer is not None else None
        self.deliveries = (
            DeliveryTraces(self.tracer, self.events) if self.tracer is not None and self.events is not None else None
        )

    def start(self) -> None:
        """Send traces from now on."""
        if self._tracing is not None:
            self._tracing.start()

    async def stop(self) -> None:
        """Send what is left."""
        if self._tracing is not None:
            await self._tracing.stop()

    @property
    def traces_failing(self) -> bool:
        """Whether the last traces could not be sent."""
        return self._tracing is not None and self._tracing.failing


def _tracing_of(provider: TracerProvider | None) -> Tracing:
    try:
        from collab.server.tracing.start import Tracing  # most servers need none of its packages
    except ModuleNotFoundError as error:
        raise ValueError("tracing needs more packages: pip install 'lumenize-collab[otel]'") from error
    return Tracing(provider)
