from bench.goals import LOADS
from bench.report import COLUMNS, RATIOS, SAME, render
from bench.result import Result

META = {"name": "today", "machine": "A machine", "pinning": "Pinned.", "servers": {"collab": "ours"}}


def test_a_goal_that_is_missed_is_said_with_its_factor() -> None:
    report = render(META, [Result("typists200", "collab", {"p99_ms": 100.0, "cpu_percent": 40.0})])
    assert "| typists200 | p99 ms ≤ 50 | 100 | **missed** (2.00 x the goal) |" in report
    assert "| typists200 | cpu percent ≤ 50 | 40 | reached |" in report


def test_a_goal_relative_to_another_server_needs_that_server_in_the_same_run() -> None:
    ours = Result("rooms100", "collab", {"cpu_per_edit_us": 90.0, "p99_ms": 9.0})
    assert "no y-websocket in this run" in render(META, [ours])
    theirs = Result("rooms100", "y-websocket", {"cpu_per_edit_us": 100.0, "p99_ms": 5.0})
    assert "| rooms100 | cpu per edit us ≤ 1 x y-websocket | 90 (0.90 x) | reached |" in render(META, [ours, theirs])


def test_an_invalid_run_reaches_no_goal() -> None:
    report = render(META, [Result("cursors", "collab", {"p95_ms": 1.0}, [], "the load generator was saturated")])
    assert "invalid: the load generator was saturated" in report
    assert "reached |" not in report


def test_every_load_has_columns_and_a_ratio() -> None:
    for name in LOADS:
        assert COLUMNS[SAME.get(name, name)]
        assert RATIOS[name]
