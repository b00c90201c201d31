"""Begins and ends tracing with the server."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from collab.server.tracing.provider import OwnProvider, application_provider, check_protocol, own_provider
from collab.server.tracing.tracer import OtelTracer

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider


class Tracing:
    """The ``tracer`` of a server, with a ``provider`` of the application if it has named one.

    Raises :class:`ValueError` if the variables ``OTEL_…`` make no sense.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        check_protocol(os.environ)
        self._provider = provider
        self.tracer = OtelTracer()
        self._own: OwnProvider | None = None

    def start(self) -> None:
        """Use the provider of the application: the one it has named, or set for the process. Or else one of our own."""
        provider = self._provider if self._provider is not None else application_provider()
        if provider is None:
            self._own = own_provider(os.environ)
            provider = self._own.provider
        self.tracer.use(provider)

    async def stop(self) -> None:
        """Send what is left. The provider of an application is its own affair."""
        if self._own is not None:
            await asyncio.to_thread(self._own.stop)
            self._own = None

    @property
    def failing(self) -> bool:
        """Whether the last traces could not be sent."""
        return self._own is not None and self._own.failing
