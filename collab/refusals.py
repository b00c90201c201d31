"""Count refusals by kind and log them, so that operators can see why something is missing."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic, time
from typing import NamedTuple

from collab.errors import printable

log = logging.getLogger(__name__)

KINDS = ("connection", "document", "edit", "presence")

_AGAIN_SECONDS = 60.0
_REMEMBERED = 1000
_MOST_RECENT = 200
_LONGEST = 500  # characters: three parts of a name, or a reason


class RecentRefusal(NamedTuple):
    """A refusal that was logged. ``at`` is in seconds since the epoch, ``place`` the project and the document."""

    at: float
    kind: str
    place: str
    user_id: str | None
    reason: str


class Refusals:
    """Counts refusals. Logs each kind once a minute per user and document, without the refused content.

    The kind, one of :data:`KINDS`, is the scope of the refusal. ``refused`` is called with the project of each, if it
    is known.
    """

    def __init__(self, refused: Callable[[str], object] = lambda project: None) -> None:
        self._refused = refused
        self.counts: dict[str, int] = {}
        self._recent: deque[RecentRefusal] = deque(maxlen=_MOST_RECENT)
        self._told: dict[tuple[str, str, str | None], tuple[float, int]] = {}  # when, and how many since

    def note(self, kind: str, place: str, user_id: str | None, reason: str, project: str | None = None) -> None:
        """Count a refusal. ``place`` is the project and the document, as the client has named it."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if project:
            self._refused(project)
        # the name may be up to a message long and of anybody, without a credential
        place, reason = _shown(place), _shown(reason)
        user_id = None if user_id is None else _shown(user_id)
        now = monotonic()
        what = (kind, place, user_id)
        at, more = self._told.get(what, (0.0, 0))
        if at and now < at + _AGAIN_SECONDS:
            self._told[what] = (at, more + 1)
            return
        if len(self._told) >= _REMEMBERED:
            self._told.clear()
        self._told[what] = (now, 0)
        self._recent.append(RecentRefusal(time(), kind, place, user_id, reason))
        more_text = f" ({more} more since the last time)" if more else ""
        log.warning("refused %s in %s by user %s: %s%s", kind, place, user_id, reason, more_text)

    @property
    def recent(self) -> Sequence[RecentRefusal]:
        """The last refusals that were logged, newest first."""
        return list(reversed(self._recent))


def _shown(text: str) -> str:
    """What to keep and to log of text that may come from a client: one line, not longer than names are."""
    return printable(text[:_LONGEST] + "…" if len(text) > _LONGEST else text)
