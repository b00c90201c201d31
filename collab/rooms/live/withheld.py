"""Updates of one document that nobody may get yet, because their transaction is not committed. Nothing here waits.

What the server itself writes afterwards follows them: it may continue elements that only the withheld update holds.
Without these a reader applies its deletions alone. A crash would then lose the transaction and the write, and readers
would bring the deletions back.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from collab.gate.checked import Checked


class Followup(NamedTuple):
    """An update of the server, and its author."""

    checked: Checked
    user_id: str | None


class Withheld:
    """The withheld updates of a room, oldest first, each with those that follow it. False if there are none."""

    def __init__(self) -> None:
        self._followups: deque[list[Followup]] = deque()

    def __bool__(self) -> bool:
        return bool(self._followups)

    def begin(self) -> None:
        """An update is withheld from now on."""
        self._followups.append([])

    def follow(self, checked: Checked, user_id: str | None) -> None:
        """An update of the server is to be passed on after the last withheld one."""
        self._followups[-1].append(Followup(checked, user_id))

    def end(self) -> list[Followup]:
        """The oldest withheld update is committed. Returns what is to be passed on after it."""
        return self._followups.popleft()
