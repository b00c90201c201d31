"""Counters of rooms and records, and their Prometheus form.

The hot path adds plain integers. Each server has its own registry, so several can run in one process.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from collab.project_names import ProjectNames
from collab.refusals import KINDS, Refusals

WEBHOOK_OUTCOMES = ("taken", "failed", "given_up", "stopped")
"""Of an attempt to tell a webhook. ``failed``: it is tried again; ``given_up``: it is not, and a dead letter is kept;
``stopped``: an error of our own ended all attempts, until the server starts again."""

FailureKind = Literal["timeout", "unreachable", "3xx", "4xx", "5xx", "internal"]
"""Why an attempt failed: no answer in time, no connection, a status, or an error of our own."""

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Distribution:
    """A histogram. That of ``prometheus_client`` costs ten times as much, with a lock that one event loop does not
    need.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def family(self, name: str, text: str) -> HistogramMetricFamily:
        """The Prometheus form."""
        sums = accumulate(self.counts)
        names = [*map(str, map(float, self.bounds)), "+Inf"]
        return HistogramMetricFamily(name, text, list(zip(names, sums, strict=True)), self.total)


class ProjectCounts:
    """What was counted of one project, or of several that share a name. Callers add to the integers directly."""

    __slots__ = ("edits", "refusals", "writes")

    def __init__(self) -> None:
        self.edits = 0
        self.writes = 0
        self.refusals = 0


class Metrics:
    """Counters of one server since it started. Callers add to the integers directly.

    ``names`` says which projects are counted on their own.
    """

    def __init__(self, names: ProjectNames | None = None) -> None:
        self.names = names if names is not None else ProjectNames()
        self.projects: dict[str, ProjectCounts] = {}
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)  # CPU, memory, open files, start time: on Linux
        self.updates_out = 0
        self.presence_in = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.resyncs = 0
        self.refused_elements = 0
        self.overflows = 0
        self.loads = 0
        self.evictions = 0
        self.compactions = 0
        self.refusals = Refusals(self._refused)
        self.errors: dict[str, int] = {}
        self.deliveries: dict[tuple[str, str], int] = {}
        self.failures: dict[tuple[str, str], int] = {}
        self.failing_webhooks: dict[str, bool] = {}
        self.flush_seconds = Distribution(_SECONDS)
        self.commit_seconds = Distribution(_SECONDS)
        self.commit_rows = Distribution((1, 2, 5, 10, 25, 50, 100, 250, 1000, 5000))

    def error(self, code: str) -> None:
        """Count an error that ended a session or refused a request."""
        self.errors[code] = self.errors.get(code, 0) + 1

    def of(self, project: str) -> ProjectCounts:
        """The counters of a project."""
        name = self.names.of(project)
        counts = self.projects.get(name)
        if counts is None:
            counts = self.projects[name] = ProjectCounts()
        return counts

    def wrote(self, project: str) -> None:
        """Count a write of an application."""
        self.of(project).writes += 1

    def _refused(self, project: str) -> None:
        self.of(project).refusals += 1

    def expect_webhook(self, webhook: str) -> None:
        """Show zeros for a webhook, because Prometheus sees no increase in a counter that begins with 1."""
        self.failing_webhooks[webhook] = False
        for outcome in WEBHOOK_OUTCOMES:
            self.deliveries[webhook, outcome] = 0
        for kind in get_args(FailureKind):
            self.failures[webhook, kind] = 0

    def delivered(self, webhook: str, outcome: str, kind: FailureKind | None = None) -> None:
        """Count one of the :data:`WEBHOOK_OUTCOMES`, and of which ``kind`` the failure was."""
        self.deliveries[webhook, outcome] = self.deliveries.get((webhook, outcome), 0) + 1
        if kind is not None:
            self.failures[webhook, kind] = self.failures.get((webhook, kind), 0) + 1
        self.failing_webhooks[webhook] = outcome != "taken"

    def committed(self, rows: int, seconds: float) -> None:
        """Record one group commit."""
        self.commit_rows.observe(rows)
        self.commit_seconds.observe(seconds)

    def expose(
        self,
        gauges: Callable[[], dict[str, tuple[str, float]]],
        projects: Callable[[], Iterable[Metric]] = tuple,
    ) -> None:
        """Add values that are read at scrape time: name -> (help, value), and those by project.

        Names that end with ``_total`` are counters, all others gauges.
        """
        self.registry.register(_Values(self, gauges, projects))

    def render(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)


class _Values(Collector):
    def __init__(
        self,
        metrics: Metrics,
        gauges: Callable[[], dict[str, tuple[str, float]]],
        projects: Callable[[], Iterable[Metric]],
    ) -> None:
        self._projects = projects
        self._metrics = metrics
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        m = self._metrics
        for name, text, value in (
            (
                "collab_updates_in",
                "Document updates received from sessions.",
                sum(each.edits for each in m.projects.values()),
            ),
            ("collab_updates_out", "Document update messages queued for sessions.", m.updates_out),
            ("collab_presence_in", "Awareness messages accepted from sessions.", m.presence_in),
            ("collab_bytes_in", "Bytes of messages received from sessions.", m.bytes_in),
            ("collab_bytes_out", "Bytes of messages sent to sessions.", m.bytes_out),
            ("collab_resyncs", "Updates that referred to something the room lacks.", m.resyncs),
            ("collab_refused_elements", "Parts of edits that were deleted instead of applied.", m.refused_elements),
            ("collab_outbox_overflows", "Slow readers that were put on a diff.", m.overflows),
            ("collab_room_loads", "Rooms loaded from storage.", m.loads),
            ("collab_room_evictions", "Idle rooms let go of.", m.evictions),
            ("collab_compactions", "Logs cut behind a verified snapshot.", m.compactions),
        ):
            yield CounterMetricFamily(name, text, value=value)
        yield _counters("collab_errors", "Errors told to peers, by code.", ["code"], _alone(m.errors.items()))
        labels = ["webhook", "outcome"]
        yield _counters(
            "collab_webhook_deliveries", "Attempts to tell webhooks, by outcome.", labels, m.deliveries.items()
        )
        labels = ["webhook", "reason"]
        yield _counters(
            "collab_webhook_failures", "Attempts to tell webhooks that failed, by reason.", labels, m.failures.items()
        )
        failing = GaugeMetricFamily(
            "collab_webhook_failing", "1 if the last attempt to tell a webhook failed.", labels=["webhook"]
        )
        for webhook, fails in m.failing_webhooks.items():
            failing.add_metric([webhook], fails)
        yield failing
        yield from self._projects()
        # with zeros: Prometheus sees no increase in a counter that begins with 1
        refused = ((kind, m.refusals.counts.get(kind, 0)) for kind in KINDS)
        yield _counters("collab_refused", "Refusals, by scope.", ["kind"], _alone(refused))
        yield m.flush_seconds.family("collab_flush_seconds", "Relaying one flush of a room.")
        yield m.commit_seconds.family("collab_commit_seconds", "One group commit of the log.")
        yield m.commit_rows.family("collab_commit_rows", "Log rows in one group commit.")
        for name, (text, measured) in self._gauges().items():
            family = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            yield family(name, text, value=measured)


def _counters(
    name: str, text: str, labels: Sequence[str], counts: Iterable[tuple[tuple[str, ...], int]]
) -> CounterMetricFamily:
    """Counters of one name, by the values of their labels."""
    family = CounterMetricFamily(name, text, labels=labels)
    for values, count in counts:
        family.add_metric(values, count)
    return family


def _alone(counts: Iterable[tuple[str, int]]) -> Iterable[tuple[tuple[str, ...], int]]:
    """Counters with one label."""
    return (((value,), count) for value, count in counts)
