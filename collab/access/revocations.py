"""Tokens that are refused before they expire. Pure; ``now`` is in seconds since the epoch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from collab.access.identity import Identity
from collab.errors import TooLarge

MOST = 10_000
"""Revocations that are kept, of all projects."""
MOST_OF_PROJECT = 5_000


@dataclass(frozen=True, slots=True)
class Revocation:
    """Refuses the token called ``name``, or all tokens of the user ``name``, in a project.

    Tokens of a user are refused if they were issued before ``issued_before``, or do not say when. It is forgotten at
    ``kept_until``: the tokens have expired then.
    """

    project: str
    kind: Literal["token", "user"]
    name: str
    issued_before: float
    kept_until: float

    def joined(self, other: Revocation | None) -> Revocation:
        """What refuses everything that either refuses, for as long. ``other`` is of the same token or user."""
        if other is None:
            return self
        return replace(
            self,
            issued_before=max(self.issued_before, other.issued_before),
            kept_until=max(self.kept_until, other.kept_until),
        )

    def refuses(self, identity: Identity) -> bool:
        """Whether the holder of this identity's token must go."""
        if identity.project != self.project:
            return False
        if self.kind == "token":
            return identity.token_id == self.name
        return (
            identity.user_id == self.name
            and identity.token_id is not None
            and (identity.issued_at is None or identity.issued_at < self.issued_before)
        )


class Revocations:
    """All of a server. A later one of the same token or user adds to the earlier, and takes nothing from it."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str], Revocation] = {}

    def __iter__(self) -> Iterator[Revocation]:
        return iter(list(self._known.values()))

    def __len__(self) -> int:
        return len(self._known)

    def refuses(self, identity: Identity) -> bool:
        """Whether the token of an identity was revoked."""
        if not self._known or identity.token_id is None:
            return False
        names = (("token", identity.token_id), ("user", identity.user_id))
        found = [self._known.get((identity.project, kind, name)) for kind, name in names if name is not None]
        return any(one is not None and one.refuses(identity) for one in found)

    def check_room(self, project: str, now: float) -> None:
        """Raise :class:`TooLarge` if no more can be kept."""
        self._expire(now)
        counts = Counter(one.project for one in self._known.values())
        if len(self._known) >= MOST or counts[project] >= MOST_OF_PROJECT:
            raise TooLarge("too many tokens are revoked; revoke all tokens of a user at once", limit=MOST_OF_PROJECT)

    def learn(self, told: Iterable[Revocation], now: float) -> list[Revocation]:
        """Add revocations; returns those that were not known."""
        self._expire(now)
        new = []
        for one in told:
            key = (one.project, one.kind, one.name)
            known = self._known.get(key)
            joined = one.joined(known)
            if one.kept_until > now and joined != known:
                self._known[key] = joined
                new.append(joined)
        return new

    def _expire(self, now: float) -> None:
        for key in [key for key, one in self._known.items() if one.kept_until <= now]:
            del self._known[key]
