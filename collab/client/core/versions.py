"""The newest versions seen of the entities that were seen last. Pure. The twin of ``js/client/src/versions.ts``."""

from __future__ import annotations

from collections import OrderedDict

MOST_VERSIONS = 10_000


class Versions:
    """At most :data:`MOST_VERSIONS` of them."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str], int] = OrderedDict()

    def get(self, collection: str, entity: str) -> int | None:
        """Return the newest version of an entity that was seen; ``None`` if it is unknown."""
        return self._seen.get((collection, entity))

    def see(self, collection: str, entity: str, version: int) -> None:
        """Remember a version, unless a newer one is known."""
        key = collection, entity
        self._seen[key] = max(version, self._seen.get(key, 0))
        self._seen.move_to_end(key)
        if len(self._seen) > MOST_VERSIONS:
            self._seen.popitem(last=False)
