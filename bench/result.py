"""Results and options of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any


@dataclass(slots=True)
class Result:
    """One scenario on one server.

    ``numbers`` are in the units their names end with (``_ms``, ``_us``, ``_mb``, ``_kb``, ``_s``, ``_percent``).
    ``invalid`` is why the figures may not be used; ``notes`` are for the reader.
    """

    scenario: str
    server: str
    numbers: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    invalid: str | None = None

    def said(self) -> list[str]:
        """Return why the figures are invalid, if they are, and the notes."""
        return [*([self.invalid] if self.invalid else []), *self.notes]

    def as_json(self) -> dict[str, Any]:
        """For the results file."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a run: seconds to measure, a small load for a smoke test, trace files, the server's core, seconds to
    wait until memory is released, and the sessions of a storm."""

    seconds: float = 8.0
    quick: bool = False
    trace: str | None = None
    friends: str | None = None
    core: int | None = None
    patience: float = 25.0
    sessions: int | None = None


def find(results: Sequence[Result], scenario: str, server: str) -> Result | None:
    """The result of a server under a load."""
    return next((r for r in results if (r.scenario, r.server) == (scenario, server)), None)


def medians(runs: Sequence[Sequence[Result]]) -> list[Result]:
    """Several runs of one part as one: the median of each number, all notes.

    A run that failed counts only where no other has succeeded.
    """
    combined = []
    for scenario, server in dict.fromkeys((result.scenario, result.server) for run in runs for result in run):
        same = [found for run in runs if (found := find(run, scenario, server)) is not None]
        good = [result for result in same if result.invalid is None] or same
        numbers = {
            name: median(result.numbers[name] for result in good if name in result.numbers) for name in good[0].numbers
        }
        notes = list(dict.fromkeys(note for result in good for note in result.notes))
        combined.append(Result(scenario, server, numbers, notes, good[0].invalid))
    return combined
