"""Documents with everything that Yjs can write, created and read by Yjs in Node."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tools import machine

_HERE = Path(__file__).parent


class History(NamedTuple):
    """``moments`` are numbers of updates, each with the resulting shape."""

    seed: int
    updates: Sequence[bytes]
    moments: Sequence[tuple[int, Any]]


def histories(first: int, count: int, steps: int, *, cut: bool = False) -> Iterator[History]:
    """Reproducible histories for the seeds from ``first``. ``cut``: surrogate pairs may be split."""
    for line in _node(["generate", str(first), str(count), str(steps), *(["cut"] if cut else [])], ""):
        made = json.loads(line)
        yield History(
            made["seed"], [bytes.fromhex(update) for update in made["updates"]], [tuple(m) for m in made["shapes"]]
        )


def shapes(documents: Iterable[Sequence[bytes]]) -> list[Any]:
    """Everything visible in documents, each built from updates, in a comparable form."""
    lines = [json.dumps({"updates": [update.hex() for update in updates]}) for updates in documents]
    return [json.loads(line) for line in _node(["shapes"], "\n".join(lines))]


def _node(arguments: Sequence[str], given: str) -> Iterator[str]:
    done = subprocess.run(
        [machine.node(), "contents.mjs", *arguments],
        cwd=_HERE,
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    yield from done.stdout.splitlines()
