"""Timestamps as strings: RFC 3339 from outside, one canonical form for comparisons."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_DATE = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d))?",
    re.ASCII,
)

_USUAL = re.compile(
    r"[1-9]\d{3}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:\d\d\.\d{3}(?:\d{3})?Z", re.ASCII
)  # the usual form: ours and that of JavaScript

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso(seconds: float) -> str:
    """Seconds since the epoch as ``2024-01-31T12:00:00.000Z``, the form of JavaScript's ``toISOString``."""
    moment = datetime.fromtimestamp(round(seconds, 3), UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def iso_micros(seconds: float) -> str:
    """As :func:`iso`, with microseconds: ``2024-01-31T12:00:00.000000Z``."""
    return f"{datetime.fromtimestamp(seconds, UTC).isoformat(timespec='microseconds')[:-6]}Z"


def canonical(text: str) -> str | None:
    """Return a timestamp in the form that compares as a string: UTC with six decimals, ``2024-01-31T12:00:00.000000Z``.

    ``text`` is an RFC 3339 date-time, or a date, which means its first instant in UTC. Returns ``None`` for any other
    string, including days that do not exist.
    """
    if not 10 <= len(text) <= 35 or text[4] != "-":
        return None
    if _USUAL.fullmatch(text) is not None:
        try:
            datetime.fromisoformat(text)
        except ValueError:
            return None
        return text if len(text) == 27 else f"{text[:-1]}000Z"
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
