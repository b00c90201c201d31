"""What is observed of a server: always its counters, and traces where they are wanted."""

from __future__ import annotations

import sys
from base64 import b64encode

import pytest
from opentelemetry.sdk.trace import TracerProvider

from collab import Settings
from collab.consumers.webhook import Webhook
from collab.server.observation import Observation


def test_nothing_is_traced_unless_it_is_wanted() -> None:
    observation = Observation(Settings(), None)
    observation.start()
    assert (observation.tracer, observation.events, observation.deliveries) == (None, None, None)
    assert not observation.traces_failing


async def test_the_provider_of_an_application_gets_the_spans() -> None:
    observation = Observation(Settings(), TracerProvider())
    observation.start()
    assert observation.tracer is not None
    assert observation.tracer.begin("x", {}).trace is not None
    assert observation.events is not None
    assert observation.deliveries is not None
    assert not observation.traces_failing
    await observation.stop()


def test_webhooks_are_counted_from_zero() -> None:
    webhooks = [Webhook(name="crm", url="https://crm.example.com", secret=f"whsec_{b64encode(bytes(24)).decode()}")]
    metrics = Observation(Settings(webhooks=webhooks), None).metrics
    assert metrics.failing_webhooks == {"crm": False}
    assert set(metrics.deliveries.values()) == {0}


def test_only_the_first_projects_are_named() -> None:
    names = Observation(Settings(metrics_projects=1), None).names
    assert [names.of(each) for each in ("a", "b", "a")] == ["a", "*other*", "a"]


def test_traces_that_cannot_be_made_are_refused_with_the_command_that_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "collab.server.tracing.start", None)
    with pytest.raises(ValueError, match=r"pip install 'lumenize-collab\[otel\]'"):
        Observation(Settings(tracing=True), None)
