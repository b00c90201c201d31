"""The changes that edits made to the content of a document. Runs in the child process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from collab.contents import events
from collab.contents.replica import Replica
from collab.sandbox.messages import ContentChanges

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
        *,
        searched: bool = False,
    ) -> ContentChanges | None:
        """For each turn, by changed root: its changes to the document of ``base`` and the earlier turns.

        ``roots`` are the roots to look at, and their kinds (``map``, ``array``, ``text``, ``xml``); see
        :func:`collab.contents.events.changes`. ``before`` names the document of ``base``, ``after`` the one after all
        turns; without a name it is not cached. ``None`` if the document is not cached and there is no ``base``. With
        ``searched``, the folded text of the roots after all turns is part of the answer, unless it cannot be read.
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
        text = _text(replica, roots) if searched else None
        if after:
            self._kept[after] = replica
            while sum(kept.size for kept in self._kept.values()) > MOST_ITEMS:
                del self._kept[next(iter(self._kept))]
        return ContentChanges(found, text)


def _text(replica: Replica, roots: Mapping[str, str]) -> str | None:
    from collab.sandbox.texts import text_of_roots  # most children never need it

    try:
        return text_of_roots(replica, roots)
    except Exception:  # the changes are told nevertheless
        return None
