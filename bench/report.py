"""Results as Markdown: goals with verdicts, and one table per load with ratios to the yardstick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.goals import GOALS, LOADS, OURS, SIZES, YARDSTICK, Goal
from bench.result import Result, find

COLUMNS: dict[str, tuple[str, ...]] = {
    "typists200": (
        "p50_ms", "p95_ms", "p99_ms", "cpu_percent", "cpu_per_delivery_us", "cpu_per_edit_us",
        "own_per_edit_us", "deliveries_per_s", "messages_per_s", "undelivered_percent", "memory_end_mb",
        "generator_percent",
    ),
    "rooms100": (
        "p50_ms", "p95_ms", "p99_ms", "cpu_percent", "cpu_per_edit_us", "own_per_edit_us", "deliveries_per_s",
        "undelivered_percent", "memory_end_mb", "generator_percent",
    ),
    "cursors": (
        "p50_ms", "p95_ms", "p99_ms", "cursor_p50_ms", "cursor_p95_ms", "cpu_percent", "messages_per_s",
        "undelivered_percent", "generator_percent",
    ),
    "join4": (
        "all_joined_ms", "p50_ms", "document_mb", "memory_peak_mb", "memory_per_document", "sent_mb_per_s",
        "cpu_percent", "generator_percent",
    ),
    "idle": (
        "memory_empty_mb", "memory_idle_mb", "memory_per_session_kb", "session_kb", "room_kb", "memory_after_mb",
        "back_after_s", "cpu_percent", "join_cpu_us", "join_s",
    ),
    "documents": (
        "documents", "document_kb", "memory_sessions_mb", "memory_mb", "memory_per_document", "cpu_per_document_ms",
    ),
    "day": (
        "edits", "document_kb", "cpu_per_edit_us", "memory_busy_mb", "memory_rest_mb", "memory_per_document",
        "memory_after_mb", "disk_kb",
    ),
    "large1k": (
        "document_mb", "edits", "missing", "cpu_per_edit_us", "p50_ms", "p99_ms", "at_rest_percent", "memory_mb",
        "generator_percent",
    ),
    "storm": (
        "sessions", "rooms", "synced_s", "synced_p50_s", "cpu_s", "cpu_per_return_us", "calm_p50_ms", "calm_p99_ms",
        "calm_missing", "restart_s", "refused", "cpu_per_first_join_us", "memory_mb", "generator_percent",
    ),
    "b4": (
        "edits", "edits_per_s", "cpu_per_edit_us", "document_kb", "disk_kb", "disk_per_document", "exact",
        "exact_for_newcomer", "exact_after_restart",
    ),
    "friends": (
        "edits", "edits_per_s", "cpu_per_edit_us", "disk_per_document", "exact", "exact_after_restart",
    ),
}  # fmt: skip
_LARGE = [f"large{label}" for label, _, _ in SIZES]
SAME = {"typists1000": "typists200", "join20": "join4", **dict.fromkeys(_LARGE, "large1k")}
RATIOS = {
    "typists200": "cpu_per_delivery_us",
    "typists1000": "cpu_per_delivery_us",
    "rooms100": "cpu_per_edit_us",
    "cursors": "p95_ms",
    "join4": "all_joined_ms",
    "join20": "all_joined_ms",
    "idle": "memory_per_session_kb",
    **dict.fromkeys(_LARGE, "cpu_per_edit_us"),
    "documents": "memory_mb",
    "day": "memory_rest_mb",
    "storm": "synced_s",
    "b4": "edits_per_s",
    "friends": "edits_per_s",
}


def number(value: float | None) -> str:
    """Format a figure with three significant digits and grouped thousands; a dash if there is none."""
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; all columns except the first are right-aligned."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def verdict(goal: Goal, results: Sequence[Result]) -> tuple[str, str] | None:
    """Return the measured value and the verdict; None if this run did not measure it."""
    ours = find(results, goal.load, OURS)
    if ours is None or goal.number not in ours.numbers:
        return None
    value = ours.numbers[goal.number]
    base = 1.0
    if goal.of:
        other = find(results, goal.load, goal.of)
        if other is None or goal.number not in other.numbers:
            return number(value), f"no {goal.of} in this run"
        base = other.numbers[goal.number]
    if ours.invalid:
        return number(value), f"invalid: {ours.invalid}"
    measured = number(value) + (f" ({value / base:.2f} x)" if goal.of and base else "")
    if goal.met(value, base):
        return measured, "reached"
    short = value / (goal.limit * base) if goal.limit * base else 0.0
    return measured, f"**missed** ({short:.2f} x the goal)" if short else "**missed**"


def framed(
    meta: dict[str, Any],
    goals: Sequence[Sequence[str]],
    body: Sequence[str],
    plots: Sequence[str] = (),
    folder: str = "",
) -> str:
    """The whole report: ``body`` between what every report begins and ends with. ``folder``: that of its README."""
    out = [f"# Benchmark {meta['name']}", ""]
    out += [f"{meta['machine']}. {meta['pinning']} How it is measured: [README](../{folder}README.md).", ""]
    if meta.get("quick"):
        out += ["A quick run: its loads are tiny, its figures say only that everything works.", ""]
    elif goals:
        out += ["## Goals", "", *table(["what", "goal", "measured", "verdict"], goals), ""]
    for plot in plots:
        out += [f"![{plot.rsplit('-', 1)[-1].removesuffix('.svg')}]({plot})", ""]
    out += [*body, "## Servers", "", *(f"* {name}: {about}." for name, about in meta["servers"].items()), ""]
    if loads := meta.get("load"):
        said = ", ".join(f"{name} {value}" for name, value in loads.items())
        out += [f"Load average of the machine when each part began: {said}.", ""]
    return "\n".join(out)


def sections(known: Mapping[str, tuple[str, Sequence[str]]], results: Sequence[Result]) -> list[str]:
    """A table for each part, by the first word of its scenarios: name -> what it is, and its columns."""
    out: list[str] = []
    for name, (about, columns) in known.items():
        if mine := [result for result in results if result.scenario.split(" ")[0] == name]:
            out += section(name, about, columns, mine)
    return out


def section(name: str, about: str, columns: Sequence[str], mine: Sequence[Result]) -> list[str]:
    """One table with notes on its rows."""
    shown = [column for column in columns if any(column in result.numbers for result in mine)]
    several = any(" " in result.scenario for result in mine)
    rows = []
    for result in mine:
        who = result.server + ("" if result.invalid is None else " (invalid)")
        what = [result.scenario.removeprefix(f"{name} "), who] if several else [who]
        rows.append([*what, *(number(result.numbers.get(column)) for column in shown)])
    head = [name, "server"] if several else [name]
    out = [f"## {name}", "", about, "", *table([*head, *(column.replace("_", " ") for column in shown)], rows), ""]
    notes = [f"* {r.scenario}, {r.server}: {'; '.join(r.said())}." for r in mine if r.said()]
    return [*out, *notes, ""] if notes else out


def plain_verdict(reached: bool) -> str:
    """How a report says whether a goal is reached."""
    return "reached" if reached else "**missed**"


def render(meta: dict[str, Any], results: Sequence[Result], plots: Sequence[str] = ()) -> str:
    """The whole report."""
    goals = []
    for goal in GOALS:
        found = verdict(goal, results)
        if found:
            goals.append([goal.load, str(goal).replace("_", " "), *found])
    out: list[str] = []
    for name, load in LOADS.items():
        mine = [result for result in results if result.scenario == name]
        if not mine:
            continue
        columns = [c for c in COLUMNS[SAME.get(name, name)] if any(c in r.numbers for r in mine)]
        ratio = RATIOS[name]
        yardstick = find(results, name, YARDSTICK)
        base = yardstick.numbers.get(ratio) if yardstick else None
        out += [f"## {name}", "", f"{load.about[0].upper()}{load.about[1:]}.", ""]
        head = ["server", *(column.replace("_", " ") for column in columns)]
        if base:
            head.append(f"{ratio.replace('_', ' ')} ÷ {YARDSTICK}")
        rows = []
        for result in mine:
            row = [result.server + ("" if result.invalid is None else " (invalid)")]
            row += [number(result.numbers.get(column)) for column in columns]
            if base:
                row.append(number(result.numbers[ratio] / base) if ratio in result.numbers else "-")
            rows.append(row)
        out += [*table(head, rows), ""]
        notes = [(r.server, r.said()) for r in mine]
        out += [f"* {server}: {'; '.join(said)}." for server, said in notes if said]
        if any(said for _, said in notes):
            out.append("")
    return framed(meta, goals, out, plots)
