"""Traces go where the standard variables say; a collector that is away is told of once, and slows nothing."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from collab.server.tracing.provider import check_protocol, place_of_collector
from tests.collab.server.tracing.collector import Collector
from tests.collab.server.tracing.test_tracing import SAMPLED, SPAN, TRACE
from tests.e2e.server import Server

pytestmark = pytest.mark.slow


@pytest.fixture
def collector() -> Iterator[Collector]:
    found = Collector()
    yield found
    found.stop()


def until(wanted: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not wanted():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def create(server: Server, name: str) -> httpx.Response:
    return httpx.post(
        f"{server.http}/api/v1/collections/tasks", json={"id": name}, headers={"traceparent": SAMPLED}, timeout=40
    )


def test_collab_serve_sends_to_the_collector_of_the_standard_variables(
    tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=of the tests")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    server = Server(tmp_path, tracing="true")
    server.start()
    try:
        assert create(server, "t1").status_code == 201
        until(lambda: "collab.event" in collector.spans())
    finally:
        server.stop()
    spans = collector.spans()
    (request,) = spans["POST /api/v1/collections/{collection}"]
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, SPAN)
    (event,), (commit,) = spans["collab.event"], spans["collab.commit"]
    assert event.parent_span_id == request.span_id
    assert [link.span_id for link in event.links] == [commit.span_id]
    assert collector.services() == {"collab"}
    assert collector.headers[0]["x-key"] == "of the tests"


def test_a_collector_that_is_away_slows_nothing_and_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for name, value in {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://user:secret@127.0.0.1:{port}/secret",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "0.2",
        "OTEL_BSP_SCHEDULE_DELAY": "20",
        "OTEL_BSP_MAX_QUEUE_SIZE": "4",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2",
    }.items():
        monkeypatch.setenv(name, value)
    server = Server(tmp_path, tracing="true")
    server.start()
    collector = None
    try:
        for number in range(20):
            assert create(server, f"t{number}").status_code == 201
        until(lambda: "collab_traces_failing 1.0" in httpx.get(f"{server.http}/metrics", timeout=40).text)
        collector = Collector(port)

        def heard() -> bool:
            create(server, "again")
            return bool(collector.headers)

        until(heard)
        until(lambda: "again" in server.log())
    finally:
        server.stop()
        if collector is not None:
            collector.stop()
    said = server.log()
    assert said.count("traces cannot be sent to http://127.0.0.1:") == 1, said
    assert said.count("are sent to http://127.0.0.1:") == 1, said
    assert "secret" not in said
    assert "opentelemetry" not in said


def test_the_place_of_a_collector_is_told_without_what_may_be_secret() -> None:
    assert place_of_collector({}) == "http://localhost:4318"
    assert place_of_collector({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://u:p@c.example:9/k"}) == "https://c.example:9"
    both = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://b/v1/traces"}
    assert place_of_collector(both) == "http://b"


def test_another_protocol_is_refused_by_the_name_of_its_variable() -> None:
    check_protocol({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"})
    check_protocol({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"})
    with pytest.raises(ValueError, match="OTEL_EXPORTER_OTLP_PROTOCOL is grpc"):
        check_protocol({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})


WITHOUT = """
import sys

class Away:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Away())
"""


def test_a_server_runs_without_the_packages_and_says_which_it_needs_to_trace(tmp_path: Path) -> None:
    code = f"""{WITHOUT}
import asyncio
from collab import Collab, Settings

async def main():
    collab = Collab(Settings(data={str(tmp_path)!r}))
    async with collab.lifespan():
        print((await collab.collection("tasks").create({{"n": 1}}, id="t1")).version)

asyncio.run(main())
Collab(Settings(data={str(tmp_path)!r}, tracing=True))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "1\n"
    assert done.returncode == 1
    assert done.stderr.strip().endswith("ValueError: tracing needs more packages: pip install 'lumenize-collab[otel]'")


def test_a_server_that_does_not_trace_imports_none_of_the_packages(tmp_path: Path) -> None:
    code = f"""
import sys
from collab import Collab, Settings
Collab(Settings(data={str(tmp_path)!r}))
print([name for name in sys.modules if name.startswith("opentelemetry") or "tracing.tracer" in name])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
