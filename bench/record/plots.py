"""Results of the application side as small SVG plots."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot

from bench.plots import Bar, bars, dress, save
from bench.record.finding import QUERIES
from bench.record.live import MORE, STAGES
from bench.record.report import GATE_US
from bench.record.writing import WRITERS
from bench.result import Result, find

COLOURS = {
    "collab-json": "#2563eb",
    "collab-msgpack": "#60a5fa",
    "collab-postgres": "#1e3a8a",
    "parse": "#f59e0b",
    "triplit": "#84cc16",
    "deepstream": "#a855f7",
    "feathers": "#9ca3af",
}
LINES = (
    ("event_p50_ms", "write → event: p50, ms"),
    ("event_p99_ms", "write → event: p99, ms"),
    ("matched_us", "CPU of a write that one query holds, µs"),
    ("unmatched_us", "CPU of a write that none holds, µs"),
)
INDEXES = {"plain": "#f59e0b", "indexed": "#60a5fa", "paired": "#2563eb"}
WITH, LIMIT = "#2563eb", "#dc2626"


def draw(results: Sequence[Result], folder: Path, name: str) -> list[str]:
    """Draw all plots for which there are results; returns their file names."""
    plots = {"live": _live, "writers": _writers, "find": _find, "cost": _cost}
    return [file for plot, make in plots.items() if (file := make(results, folder, f"{name}-{plot}.svg"))]


def _live(results: Sequence[Result], folder: Path, file: str) -> str | None:
    """Plot figures by the number of live queries."""
    curves = {
        (key, server): [
            (queries, found.numbers[key])
            for queries in (*STAGES, MORE)
            if (found := find(results, f"live {queries}", server)) and key in found.numbers
        ]
        for key, _ in LINES
        for server in COLOURS
    }
    if not any(curves.values()):
        return None
    figure, grid = pyplot.subplots(1, len(LINES), figsize=(3.4 * len(LINES), 2.9), sharex=True)
    for axes, (key, title) in zip(grid, LINES, strict=True):
        for server, colour in COLOURS.items():
            if points := curves[key, server]:
                axes.plot(*zip(*points, strict=True), marker="o", markersize=3, color=colour, label=server)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:,g}")
        axes.yaxis.set_minor_formatter(lambda value, _: f"{value:,g}" if f"{value:e}"[0] in "25" else "")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_xlabel("live queries", fontsize=7)
        dress(axes, title)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=7, ncols=len(labels), loc="lower center", frameon=False)
    return save(figure, folder, file, bottom=0.07)


def _writers(results: Sequence[Result], folder: Path, file: str) -> str | None:
    """Plot acknowledged writes per second, compared with the disk's sequential syncs."""
    counts = [count for count in WRITERS if any(r.scenario == f"writers {count}" for r in results)]
    syncs = [r.numbers["fsyncs_per_s"] for r in results if "fsyncs_per_s" in r.numbers]
    if not counts or not syncs:
        return None
    figure, grid = pyplot.subplots(1, len(counts), figsize=(3.9 * len(counts), 2.1), squeeze=False)
    for axes, count in zip(grid[0], counts, strict=True):
        title = f"{count} writer{'s' * (count > 1)}: durable updates a second"
        bars(axes, _servers(results, f"writers {count}", "updates_per_s"), title)
        axes.axvline(statistics.median(syncs), color=LIMIT, linewidth=1, linestyle=":")
        axes.set_xlabel("dotted: fsyncs a second of this disk", fontsize=7)
    return save(figure, folder, file)


def _find(results: Sequence[Result], folder: Path, file: str) -> str | None:
    """Queries without and with indexes."""
    if not any(r.scenario.startswith("find ") for r in results):
        return None
    figure, grid = pyplot.subplots(1, len(QUERIES), figsize=(4.2 * len(QUERIES), 2.7))
    for axes, query in zip(grid, QUERIES, strict=True):
        shown: list[Bar] = []
        for result in results:
            if result.scenario == f"find {query}":
                for indexes, colour in INDEXES.items():
                    if (key := f"{indexes}_p50_ms") in result.numbers:
                        shown.append((f"{result.server}, {indexes}", result.numbers[key], colour))
        if shown:
            bars(axes, shown, f"{query}: p50, ms", log=True)
    return save(figure, folder, file)


def _cost(results: Sequence[Result], folder: Path, file: str) -> str | None:
    """Plot memory of live queries, the gate, and a room with and without content events."""
    rooms: dict[str, list[float]] = {}
    for result in results:
        if result.scenario == "room" and "cpu_percent" in result.numbers:
            rooms.setdefault(result.server.split(",")[0], []).append(result.numbers["cpu_percent"])
    panels: list[tuple[str, list[Bar], float | None]] = [
        ("memory of a live query, KB", _servers(results, f"live {STAGES[-1]}", "memory_kb"), None),
        (
            "gate: CPU of a small update, µs (dotted: the goal)",
            [(r.server, r.numbers["update_us"], WITH) for r in results if r.scenario == "gate"],
            GATE_US,
        ),
        (
            "200 people type: CPU, % of a core",
            [(label, statistics.mean(values), WITH) for label, values in rooms.items()],
            None,
        ),
    ]
    panels = [panel for panel in panels if panel[1]]
    if not panels:
        return None
    figure, grid = pyplot.subplots(1, len(panels), figsize=(4.4 * len(panels), 2.1), squeeze=False)
    for axes, (title, shown, limit) in zip(grid[0], panels, strict=True):
        bars(axes, shown, title)
        if limit is not None:
            axes.axvline(limit, color=LIMIT, linewidth=1, linestyle=":")
    return save(figure, folder, file)


def _servers(results: Sequence[Result], scenario: str, key: str) -> list[Bar]:
    return [
        (server, found.numbers[key], colour)
        for server, colour in COLOURS.items()
        if (found := find(results, scenario, server)) and key in found.numbers
    ]
