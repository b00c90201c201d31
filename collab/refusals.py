"""Count refusals by kind and log them, so that operators can see why something is missing."""

from __future__ import annotations

import logging
from time import monotonic

log = logging.getLogger(__name__)

KINDS = ("connection", "document", "edit", "presence")

_AGAIN_SECONDS = 60.0
_REMEMBERED = 1000


class Refusals:
    """Counts refusals. Logs each kind once a minute per user and document, without the refused content.

    The kind, one of :data:`KINDS`, is the scope of the refusal.
    """

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._told: dict[tuple[str, str, str | None], tuple[float, int]] = {}  # when, and how many since

    def note(self, kind: str, place: str, user_id: str | None, reason: str) -> None:
        """Count a refusal. ``place`` is the project and the document."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        now = monotonic()
        what = (kind, place, user_id)
        at, more = self._told.get(what, (0.0, 0))
        if at and now < at + _AGAIN_SECONDS:
            self._told[what] = (at, more + 1)
            return
        if len(self._told) >= _REMEMBERED:
            self._told.clear()
        self._told[what] = (now, 0)
        more_text = f" ({more} more since the last time)" if more else ""
        log.warning("refused %s in %s by user %s: %s%s", kind, place, user_id, reason, more_text)
