"""What the doctor finds. Pure."""

from __future__ import annotations

from typing import Literal, NamedTuple

FindingLevel = Literal["wrong", "note"]


class Finding(NamedTuple):
    """Something ``wrong``, or to ``note``: what it is, and what to do. It contains no secret."""

    level: FindingLevel
    area: str
    what: str
    advice: str
