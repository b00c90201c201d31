"""Results as small SVG plots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("svg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.report import number
from bench.result import Result, find

COLOURS = {
    "collab": "#2563eb",
    "collab-hocuspocus": "#60a5fa",
    "collab-postgres": "#1e3a8a",
    "y-websocket": "#f59e0b",
    "hocuspocus": "#84cc16",
    "hocuspocus-sqlite": "#4d7c0f",
    "pycrdt-websocket": "#a855f7",
}
PLOTS: dict[str, list[tuple[str, str, str, bool]]] = {
    # plot: (load, number, title, logarithmic)
    "latency": [
        ("typists200", "p99_ms", "200 typists: p99, ms", True),
        ("typists1000", "p99_ms", "1,000 typists: p99, ms", True),
        ("rooms100", "p99_ms", "100 rooms: p99, ms", True),
        ("cursors", "p95_ms", "300 cursors: edits p95, ms", True),
    ],
    "cpu": [
        ("typists200", "cpu_per_delivery_us", "200 typists: CPU µs per delivery", False),
        ("typists1000", "cpu_per_delivery_us", "1,000 typists: CPU µs per delivery", False),
        ("rooms100", "cpu_per_edit_us", "100 rooms: CPU µs per edit", False),
        ("b4", "edits_per_s", "B4 trace: edits/s", False),
    ],
    "memory": [
        ("join4", "all_joined_ms", "150 joins, 4 MB: ms", True),
        ("join20", "all_joined_ms", "150 joins, 20 MB: ms", True),
        ("join4", "memory_peak_mb", "150 joins, 4 MB: peak MB", True),
        ("idle", "memory_per_session_kb", "idle: KB per session", False),
    ],
}


Bar = tuple[str, float, str]
"""Name, value and colour."""


def bars(axes: Axes, shown: Sequence[Bar], title: str, *, log: bool = False) -> None:
    """Draw bars, the first one on top, each with its value."""
    names, values, colours = zip(*reversed(shown), strict=True)
    labels = [number(value) for value in values]
    axes.bar_label(axes.barh(names, values, color=colours), labels, padding=2, fontsize=7)
    axes.margins(x=0.25)
    if log:
        axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:,g}")
    dress(axes, title)


def dress(axes: Axes, title: str) -> None:
    """Apply the style of all plots."""
    axes.set_title(title, fontsize=9)
    axes.tick_params(which="both", labelsize=7)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def save(figure: Figure, folder: Path, file: str, bottom: float = 0.0) -> str:
    """Save and close a figure, with a part of its height left free at the bottom; returns the file's name."""
    figure.tight_layout(rect=(0, bottom, 1, 1))
    with pyplot.rc_context({"svg.fonttype": "none", "svg.hashsalt": file}):
        figure.savefig(folder / file, metadata={"Date": None})
    pyplot.close(figure)
    return file


def draw(results: Sequence[Result], folder: Path, name: str) -> list[str]:
    """Draw all plots for which there are results; returns their file names."""
    written = []
    for plot, panels in PLOTS.items():
        shown = [panel for panel in panels if any(r.scenario == panel[0] and panel[1] in r.numbers for r in results)]
        if not shown:
            continue
        figure, grid = pyplot.subplots(1, len(shown), figsize=(3.4 * len(shown), 1.9), squeeze=False)
        for axes, (load, key, title, log) in zip(grid[0], shown, strict=True):
            measured = [
                (server, found.numbers[key], colour)
                for server, colour in COLOURS.items()
                if (found := find(results, load, server)) and key in found.numbers
            ]
            bars(axes, measured, title, log=log)
        written.append(save(figure, folder, f"{name}-{plot}.svg"))
    return written
