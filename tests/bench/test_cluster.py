import asyncio
import json
import sys
from pathlib import Path

import pytest

from bench.cluster.__main__ import PARTS
from bench.cluster.failover import FAULTS
from bench.cluster.report import RECOVERED, SECTIONS, goals, render
from bench.result import Result, medians

ROOT = Path(__file__).resolve().parents[2]
META = {"name": "today", "machine": "A machine", "pinning": "Pinned.", "servers": {"collab": "ours"}}


def test_every_part_has_a_section_and_every_fault_a_goal() -> None:
    assert PARTS.keys() == SECTIONS.keys()
    assert FAULTS.keys() == RECOVERED.keys()


def test_goals_say_what_was_measured_and_whether_it_is_reached() -> None:
    results = [
        Result("failover", "worker killed", {"document_s": 1.0, "document_most_s": 2.5}),
        Result("failover", "node killed", {"document_s": 7.0, "document_most_s": 9.0}),
        Result("bystanders 0", "collab", {"net_per_edit_us": 400.0}),
        Result("bystanders 4", "collab", {"net_per_edit_us": 500.0}),
    ]
    rows = {row[0]: row[1:] for row in goals(results)}
    assert rows["next acknowledgement, worker killed"] == ["≤ 3 s", "2.5 s", "reached"]
    assert rows["next acknowledgement, node killed"] == ["≤ 8 s", "9 s", "**missed**"]
    assert rows["CPU of an edit, whatever other nodes live"] == [
        "≤ 1.2 x the cheapest",
        "1.25 x (400, 500 µs)",
        "**missed**",
    ]


def test_repeated_runs_are_told_by_their_medians_and_a_failed_one_does_not_count() -> None:
    runs = [[Result("distance", "at the owner", {"p50_ms": value}, ["busy"])] for value in (1.0, 9.0, 2.0)]
    runs.append([Result("distance", "at the owner", invalid="it did not start")])
    combined = Result("distance", "at the owner", {"p50_ms": 2.0}, ["busy"])
    assert medians(runs) == [combined]
    crashed = Result("distance", "", invalid="the run failed")
    assert medians([[crashed], *runs]) == [crashed, combined]


def test_a_run_that_failed_is_said() -> None:
    report = render(META, [Result("peers", "hocuspocus-redis", invalid="it did not start")])
    assert "| hocuspocus-redis (invalid) |" in report
    assert "* peers, hocuspocus-redis: it did not start." in report


@pytest.mark.parametrize("parts", [("distance", "commits"), ("failover",), ("revocation",)])
async def test_a_quick_run_measures_real_nodes(parts: tuple[str, ...], tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.cluster", "run", *parts, "--quick", "--out", str(tmp_path), "--name", "smoke",
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    results = json.loads((tmp_path / "smoke.json").read_text())["results"]
    found = {(result["scenario"], result["server"]): result["numbers"] for result in results}
    if "failover" in parts:
        assert all(found["failover", fault]["document_s"] > 0 for fault in FAULTS)
    elif "revocation" in parts:
        assert all(found["revocation", redis]["elsewhere_s"] > 0 for redis in ("with Redis", "Redis is away"))
    else:
        for where in ("at the owner", "through another node"):
            assert found["distance", where]["edits_sent"] > 0
            assert found["distance", where]["undelivered_percent"] == 0
        assert found["commits 3", "at two nodes"]["updates_per_s"] > 0
    report = (tmp_path / "smoke.md").read_text()
    assert all(f"## {part}" in report for part in parts)
