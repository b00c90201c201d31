"""What each project uses of this server: for the inspector, and for ``/metrics``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from collab.access.price import Ledger
from collab.errors import CollabError
from collab.metrics import Metrics
from collab.project_names import OTHER_PROJECTS
from collab.server.node_usage import NodeUsage
from collab.server.sockets.connection import Client
from collab.server.sockets.traffic import SocketBytes
from collab.storage.location import reader_at
from collab.storage.reading import ProjectSize

log = logging.getLogger(__name__)

_SHORTEST_SECONDS = 900.0
_SHARE = 50  # reading takes a fiftieth of the time, at most: it looks at every row


class ProjectUsage:
    """``clients`` are the sessions of this process, ``traffic`` the bytes of its sockets."""

    def __init__(
        self,
        ledger: Ledger,
        metrics: Metrics,
        traffic: Callable[[], Mapping[str, SocketBytes]],
        clients: Callable[[], Iterable[Client]],
    ) -> None:
        self._ledger = ledger
        self._metrics = metrics
        self._traffic = traffic
        self._clients = clients
        self._sizes: Sequence[ProjectSize] = ()

    def now(self) -> dict[str, NodeUsage]:
        """Project -> what it has used since this process began to serve. Work before authentication is of no name."""
        used: dict[str, NodeUsage] = {}

        def of(name: str) -> NodeUsage:
            return used.setdefault(name, NodeUsage())

        for (name, kind), seconds in self._ledger.used.items():
            of(name).cpu[kind] = seconds
        for name, (received, sent) in self._traffic().items():
            known = of(name)
            known.received, known.sent = received, sent
        for name, counts in self._metrics.projects.items():
            known = of(name)
            known.edits, known.writes, known.refusals = counts.edits, counts.writes, counts.refusals
        for client in self._clients():
            of(self._metrics.names.of(client.identity.project)).sessions += 1
        return used

    async def watch_sizes(self, location: str) -> None:
        """Read what projects keep in the record, again and again, beside the server. Runs until cancelled."""
        while True:
            began = monotonic()
            try:
                async with reader_at(location) as reader:
                    self._sizes = await reader.sizes()
            except CollabError as error:
                log.warning("the sizes of projects could not be read: %s", error)
            await asyncio.sleep(max(_SHORTEST_SECONDS, _SHARE * (monotonic() - began)))

    def families(self, *, named: bool) -> Iterable[Metric]:
        """Its Prometheus form. Without ``named`` all projects are one, so that nobody learns who they are."""
        sums: dict[str, NodeUsage] = {}
        for name, usage in self.now().items():
            sums.setdefault(name if named or not name else OTHER_PROJECTS, NodeUsage()).add(usage)
        spent = CounterMetricFamily(
            "collab_cpu_seconds", "CPU seconds charged to callers of a project.", labels=["project", "payer"]
        )
        for name, usage in sums.items():
            for payer, seconds in usage.cpu.items():
                spent.add_metric([name, payer], seconds)
        yield spent
        sums.pop("", None)  # falls when its sockets show a credential
        for metric, text, value in _COUNTERS:
            counter = CounterMetricFamily(metric, text, labels=["project"])
            for name, usage in sums.items():
                counter.add_metric([name], value(usage))
            yield counter
        sessions = GaugeMetricFamily("collab_project_sessions", "Open sessions of a project.", labels=["project"])
        for name, usage in sums.items():
            sessions.add_metric([name], usage.sessions)
        yield sessions
        yield self._stored(named=named)

    def _stored(self, *, named: bool) -> Metric:
        stored = GaugeMetricFamily(
            "collab_project_stored_bytes", "Bytes that a project keeps in the record.", labels=["project"]
        )
        bytes_of: dict[str, int] = {}
        for size in self._sizes:
            name = self._metrics.names.of(size.project) if named else OTHER_PROJECTS
            whole = size.entities + size.events + size.documents + size.history
            bytes_of[name] = bytes_of.get(name, 0) + whole
        for name, whole in bytes_of.items():
            stored.add_metric([name], whole)
        return stored


_COUNTERS: Sequence[tuple[str, str, Callable[[NodeUsage], int]]] = (
    ("collab_project_received_bytes", "Bytes of messages from WebSockets of a project.", lambda used: used.received),
    ("collab_project_sent_bytes", "Bytes of messages to WebSockets of a project.", lambda used: used.sent),
    ("collab_project_edits", "Updates received from editors of a project.", lambda used: used.edits),
    ("collab_project_writes", "Writes of applications accepted in a project.", lambda used: used.writes),
    ("collab_project_refusals", "Refusals told to sessions of a project.", lambda used: used.refusals),
)
