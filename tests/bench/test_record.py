import asyncio
import json
import signal
import sys
from pathlib import Path

import psutil
import pytest

from bench.record.live import MORE, STAGES
from bench.record.plots import COLOURS, draw
from bench.record.report import SECTIONS, goals, render
from bench.record.servers import CLIENTS, SERVERS
from bench.record.writing import WRITERS
from bench.result import Result

ROOT = Path(__file__).resolve().parents[2]
META = {
    "name": "today",
    "machine": "A machine",
    "pinning": "Pinned.",
    "servers": {"parse": "theirs"},
    "load": {"gate": 0.1},
}


def made_up() -> list[Result]:
    """A whole run, of numbers that nobody measured."""
    results = []
    for place, server in enumerate(SERVERS, 1):
        for stage in (*STAGES, MORE):
            figures: dict[str, float] = {"event_p50_ms": place, "event_p99_ms": 3 * place, "matched_us": 300 * place}
            figures["memory_kb"] = place
            if stage != MORE or place < 3:
                figures["unmatched_us"] = 200 * place + stage / 1e4
                results.append(Result(f"live {stage}", server, figures))
        for writers in WRITERS:
            numbers = {"updates_per_s": 900.0 * writers / place, "fsyncs_per_s": 4000.0}
            results.append(Result(f"writers {writers}", server, numbers))
    for query in ("few", "page", "counted"):
        found = {"plain_p50_ms": 50.0, "indexed_p50_ms": 5.0, "paired_p50_ms": 0.5}
        results += [Result(f"find {query}", who, found) for who in ("collab-json", "SQL by hand")]
    results += [Result("gate", "field", {"update_us": 7.5}), Result("gate", "keystroke", {"update_us": 2.5})]
    results += [Result("gate", "field, written by two at once", {"update_us": 16.0})]
    for turn in (1, 2):
        results.append(Result("room", f"with events of content, turn {turn}", {"cpu_percent": 40.0 + turn}))
        results.append(Result("room", f"without, turn {turn}", {"cpu_percent": 30.0 + turn}))
    return results


def test_every_server_has_a_client_and_a_colour() -> None:
    assert list(SERVERS) == list(CLIENTS) == list(COLOURS)


def test_a_whole_run_is_told_with_goals_tables_and_plots(tmp_path: Path) -> None:
    results = made_up()
    plots = draw(results, tmp_path, "today")
    assert plots == ["today-live.svg", "today-writers.svg", "today-find.svg", "today-cost.svg"]
    assert all((tmp_path / plot).stat().st_size > 1000 for plot in plots)
    report = render(META, results, plots)
    assert "| live 100 " not in report  # the section says what it is
    assert "| 100 | parse | 4 | 12 |" in report
    assert "| few | SQL by hand | 50 | 5 | 0.5 |" in report
    assert "![live](today-live.svg)" in report
    assert "* parse: theirs." in report


def test_goals_say_what_was_measured_and_whether_it_is_reached() -> None:
    rows = {row[0]: row for row in goals(made_up())}
    assert rows["gate: field"][1:] == ["≤ 15 µs", "7.5 µs", "reached"]
    assert rows["gate: field, written by two at once"][3] == "**missed**"
    (flat,) = (row for what, row in rows.items() if what.startswith("a write that no live query holds"))
    assert flat[2] == "1.05 x (200, 200, 201, 210 µs)"
    assert flat[3] == "reached"


def test_a_run_that_failed_is_said_and_draws_nothing(tmp_path: Path) -> None:
    results = [Result("live 100", "parse", invalid="it did not start"), Result("writers", "triplit", invalid="no")]
    assert draw(results, tmp_path, "today") == []
    report = render(META, results)
    assert "| 100 | parse (invalid) |" in report
    assert "* live 100, parse: it did not start." in report


@pytest.mark.parametrize("part", ["live", "writers", "memory", "find", "room", "gate", "matching"])
def test_every_part_has_a_section(part: str) -> None:
    assert part in SECTIONS


async def test_a_quick_run_of_our_own_server_tells_every_event(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.record", "run", "live", "writers", "find", "--quick", "--servers", "collab-json",
        "--out", str(tmp_path), "--name", "smoke", cwd=ROOT, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    found = {
        (result["scenario"], result["server"]): result
        for result in json.loads((tmp_path / "smoke.json").read_text())["results"]
    }
    live = found["live 200", "collab-json"]
    assert live["numbers"]["event_p50_ms"] > 0
    assert not [note for note in live["notes"] if "never arrived" in note]
    assert found["writers 3", "collab-json"]["numbers"]["updates_per_s"] > 0
    assert found["find few", "collab-msgpack"]["numbers"]["indexed_rows"] > 0
    assert found["find page", "PostgreSQL"]["numbers"]["paired_p50_ms"] > 0
    assert "## live" in (tmp_path / "smoke.md").read_text()
    assert (tmp_path / "smoke-live.svg").exists()


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
async def test_a_run_that_is_interrupted_leaves_no_process_behind(tmp_path: Path, by: signal.Signals) -> None:
    command = [sys.executable, "-m", "bench.record", "run", "live", "--servers", "collab-json", "--out", str(tmp_path)]
    run = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    started: list[psutil.Process] = []
    async with asyncio.timeout(60):
        while not any("serve" in process.cmdline() for process in started):
            await asyncio.sleep(0.1)
            started = psutil.Process(run.pid).children(recursive=True)
        run.send_signal(by)
        assert await run.wait() == 130
        while any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in started):
            await asyncio.sleep(0.1)
