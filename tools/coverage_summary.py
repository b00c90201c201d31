"""One line about coverage for the end of a test run, from the JSON report of coverage.py."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path


def coverage_summary(report: Path) -> str:
    """Percent of the lines and branches that ran: of everything, and of each package."""
    found: Counter[str] = Counter()
    ran: Counter[str] = Counter()
    for file, measured in json.loads(report.read_text())["files"].items():
        counts = measured["summary"]
        first, *folders, _ = Path(file).parts
        for name in ("", folders[0] if folders else first):
            found[name] += counts["num_statements"] + counts["num_branches"]
            ran[name] += counts["covered_lines"] + counts["covered_branches"]
    percent = {name: f"{100 * ran[name] / total:.0f} %" for name, total in sorted(found.items()) if total}
    return f"{percent.pop('')}: " + ", ".join(f"{name} {share}" for name, share in percent.items())
