"""Counters that the live and the record plane keep, and their Prometheus form.

Plain integers on the hot path; a registry of its own, so that several servers can live in one process.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Distribution:
    """How often a value fell between which bounds. ``prometheus_client``'s own histogram costs ten times as much,
    with a lock that one event loop does not need.
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


class Metrics:
    """What one server has done since it started. Add to the integers directly."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.updates_in = 0
        self.updates_out = 0
        self.presence_in = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.resyncs = 0
        self.overflows = 0
        self.loads = 0
        self.evictions = 0
        self.compactions = 0
        self.errors: dict[str, int] = {}
        self.flush_seconds = Distribution(_SECONDS)
        self.commit_seconds = Distribution(_SECONDS)
        self.commit_rows = Distribution((1, 2, 5, 10, 25, 50, 100, 250, 1000, 5000))

    def error(self, code: str) -> None:
        """Count an error that ended a session or refused a request."""
        self.errors[code] = self.errors.get(code, 0) + 1

    def committed(self, rows: int, seconds: float) -> None:
        """Take note of one group commit."""
        self.commit_rows.observe(rows)
        self.commit_seconds.observe(seconds)

    def expose(self, gauges: Callable[[], dict[str, tuple[str, float]]]) -> None:
        """Add gauges, read when scraped: name -> (help, value)."""
        self.registry.register(_Values(self, gauges))

    def render(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self.registry)


class _Values(Collector):
    def __init__(self, metrics: Metrics, gauges: Callable[[], dict[str, tuple[str, float]]]) -> None:
        self._metrics = metrics
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        m = self._metrics
        for name, text, value in (
            ("collab_updates_in", "Document updates accepted from sessions.", m.updates_in),
            ("collab_updates_out", "Document update messages queued for sessions.", m.updates_out),
            ("collab_presence_in", "Awareness messages accepted from sessions.", m.presence_in),
            ("collab_bytes_in", "Bytes of messages received from sessions.", m.bytes_in),
            ("collab_bytes_out", "Bytes of messages sent to sessions.", m.bytes_out),
            ("collab_resyncs", "Updates that referred to something the room lacks.", m.resyncs),
            ("collab_outbox_overflows", "Slow readers that were put on a diff.", m.overflows),
            ("collab_room_loads", "Rooms loaded from storage.", m.loads),
            ("collab_room_evictions", "Idle rooms let go of.", m.evictions),
            ("collab_compactions", "Logs cut behind a verified snapshot.", m.compactions),
        ):
            yield CounterMetricFamily(name, text, value=value)
        errors = CounterMetricFamily("collab_errors", "Errors told to peers, by code.", labels=["code"])
        for code, count in m.errors.items():
            errors.add_metric([code], count)
        yield errors
        yield m.flush_seconds.family("collab_flush_seconds", "Relaying one flush of a room.")
        yield m.commit_seconds.family("collab_commit_seconds", "One group commit of the log.")
        yield m.commit_rows.family("collab_commit_rows", "Log rows in one group commit.")
        for name, (text, gauge) in self._gauges().items():
            yield GaugeMetricFamily(name, text, value=gauge)
