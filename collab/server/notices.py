"""Notices to the operator: doubtful settings at startup, and refused clients."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import time

from collab.errors import LONGEST_MESSAGE, printable, shortened
from collab.server.config.load import unread_variables
from collab.server.config.settings import Settings

log = logging.getLogger(__name__)

_MOST_REMEMBERED = 1000
_MOST_A_MINUTE = 10
_MOST_RECENT = 200


@dataclass(slots=True)
class Notice:
    """A message, how often it was told, and when first and last, in seconds since the epoch."""

    message: str
    first: float
    last: float
    count: int = 1


class Notices:
    """Logs the same message at most once an hour, and at most ten messages a minute. ``now`` is in seconds.

    Keeps the last two hundred different messages, those that were not logged too.
    """

    def __init__(self) -> None:
        self._recent: OrderedDict[str, Notice] = OrderedDict()
        self._told: OrderedDict[str, float] = OrderedDict()
        self._minute = 0
        self._count = 0

    def tell(self, message: str, now: float) -> None:
        """Log ``message``, which must not contain a credential, unless it was logged recently."""
        message = printable(shortened(message, LONGEST_MESSAGE))
        self._remember(message, time())
        if now - self._told.get(message, -3600.0) < 3600.0:
            return
        if int(now // 60) != self._minute:
            self._minute, self._count = int(now // 60), 0
        if self._count >= _MOST_A_MINUTE:
            return
        self._count += 1
        self._told[message] = now
        self._told.move_to_end(message)
        while len(self._told) > _MOST_REMEMBERED:
            self._told.popitem(last=False)
        log.warning("%s", message)

    def _remember(self, message: str, at: float) -> None:
        known = self._recent.pop(message, None)
        if known is None:
            known = Notice(message, at, at)
        else:
            known.last, known.count = at, known.count + 1
        self._recent[message] = known
        if len(self._recent) > _MOST_RECENT:
            self._recent.popitem(last=False)

    @property
    def recent(self) -> Sequence[Notice]:
        """The last messages, newest first."""
        return list(reversed(self._recent.values()))


def quoted(text: str) -> str:
    """Quote client input for one line of a log."""
    return ascii(text[:100])


def startup_warnings(settings: Settings, environ: Mapping[str, str], *, is_open: bool) -> list[str]:
    """Return warnings about settings that look like mistakes."""
    warnings = [f"{said}: Settings.from_env() does" for said in unread_variables(Settings, settings, environ)]
    if is_open:
        whose = "everybody who can connect" if settings.open else "everybody on this machine"
        warnings.append(f"no credentials are configured: {whose} may read and write everything")
    return warnings
