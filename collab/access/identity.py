"""Who is asking, and what that identity may do. Pure values; nothing here reads a credential."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
import re

from collab.names import RoomKey


class Access(IntEnum):
    """Rights on one entity. Each contains the one before it."""

    NONE = 0
    READ = 1
    WRITE = 2


@dataclass(frozen=True, slots=True)
class Rule:
    """``pattern`` is a glob over ``collection/id``; ``*`` matches within a part, never across ``/``."""

    pattern: str
    access: Access


@lru_cache(maxsize=1024)
def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile("[^/]*".join(re.escape(piece) for piece in pattern.split("*")), re.ASCII)


@dataclass(frozen=True, slots=True)
class Identity:
    """A verified caller. The first rule that matches decides; without one the answer is no.

    ``user_id`` is ``None`` for an application key that speaks for no user. ``name`` is ``None`` when the
    credential does not say one, and then the client's own word for its cursor label is kept.
    ``expires_at`` is in seconds since the epoch.
    """

    project: str
    user_id: str | None = None
    name: str | None = None
    rules: tuple[Rule, ...] = ()
    expires_at: float | None = None

    def access_to(self, key: RoomKey) -> Access:
        """The rights of this identity on one entity; an entity of another project is never visible."""
        if key.project != self.project:
            return Access.NONE
        name = key.name
        for rule in self.rules:
            if _compile(rule.pattern).fullmatch(name):
                return rule.access
        return Access.NONE
