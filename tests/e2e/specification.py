"""Find the specification's page, if available."""

from __future__ import annotations

import os
from pathlib import Path

from tools import machine

_PLACE = Path("shared", "spec", "realtime-features.txt")


def find_page() -> Path | None:
    """The file that ``LUMENIZE_SPEC`` names, else the one in a folder beside the checkout."""
    named = os.environ.get("LUMENIZE_SPEC")
    if named:
        return Path(named)
    beside = machine.ROOT.parent / _PLACE
    return beside if beside.is_file() else None
