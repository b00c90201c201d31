"""Points in time as text: RFC 3339 on the outside, one canonical form where they are compared."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_DATE = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d))?",
    re.ASCII,
)


def iso(seconds: float) -> str:
    """Seconds since the epoch as ``2024-01-31T12:00:00.000Z``, the form of JavaScript's ``toISOString``."""
    moment = datetime.fromtimestamp(round(seconds, 3), UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def canonical(text: str) -> str | None:
    """The form in which points in time compare as text: UTC with six decimals, ``2024-01-31T12:00:00.000000Z``.

    ``text`` is an RFC 3339 date-time, or a date, which stands for its first moment in UTC. ``None`` for all other
    texts, also for days that no calendar has.
    """
    if not 10 <= len(text) <= 35 or text[4] != "-":
        return None
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    try:
        moment = datetime.fromisoformat(
            f"{year}-{month}-{day}T{hour or '00'}:{minute or '00'}:{second or '00'}."
            f"{(fraction or '')[:6]:0<6}{'+00:00' if zone is None or zone in 'Zz' else zone}"
        ).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}Z" if moment.year >= 1000 else None
