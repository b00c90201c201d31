"""The changes that edits made to the content of a document. Runs in the child process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from collab.contents import events
from collab.contents.replica import Replica

MOST_ITEMS = 300_000
"""Items of all cached documents; each takes about 350 bytes."""


class Historian:
    """Computes what edits changed. It caches recent documents, because an active one is requested again and again."""

    def __init__(self) -> None:
        self._kept: dict[str, Replica] = {}  # by a name that the parent gave it

    def changes(
        self,
        base: Sequence[bytes] | None,
        turns: Sequence[Sequence[bytes]],
        roots: Mapping[str, str],
        before: str = "",
        after: str = "",
    ) -> list[dict[str, Any]] | None:
        """For each turn, by changed root: its changes to the document of ``base`` and the earlier turns.

        ``roots`` are the roots to look at, and their kinds (``map``, ``array``, ``text``, ``xml``); see
        :func:`collab.contents.events.changes`. ``before`` names the document of ``base``, ``after`` the one after all
        turns; without a name it is not cached. ``None`` if the document is not cached and there is no ``base``.
        """
        replica = self._kept.pop(before, None)
        if replica is None:
            if base is None:
                return None
            replica = Replica.of(base)
        found = []
        for turn in turns:
            replica.begin()
            replica.extend(turn)
            found.append(events.changes(replica, roots))
        if after:
            self._kept[after] = replica
            while sum(kept.size for kept in self._kept.values()) > MOST_ITEMS:
                del self._kept[next(iter(self._kept))]
        return found
