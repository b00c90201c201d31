"""Who is asking, and what that identity may do. Pure values; nothing here reads a credential."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from collab.names import RoomKey

_PATTERN = re.compile(r"[A-Za-z0-9_.:*-]{1,128}/[A-Za-z0-9_.:*-]{1,128}", re.ASCII)


class Access(IntEnum):
    """Rights on one entity. Each contains the one before it."""

    NONE = 0
    READ = 1
    WRITE = 2


@dataclass(frozen=True, slots=True)
class Rule:
    """``pattern`` is a glob over ``collection/id``; ``*`` matches within a part, never across ``/``.

    Raises :class:`ValueError` for a pattern that could match nothing.
    """

    pattern: str
    access: Access

    def __post_init__(self) -> None:
        if not _PATTERN.fullmatch(self.pattern):
            raise ValueError("a rule's pattern is collection/id, where * stands for any characters but /")

    def matches(self, key: RoomKey) -> bool:
        """Whether this rule is about that entity."""
        collection, _, entity_id = self.pattern.partition("/")
        return glob_matches(collection, key.collection) and glob_matches(entity_id, key.id)


@dataclass(frozen=True, slots=True)
class Identity:
    """A verified caller. The first rule that matches decides; without one the answer is no.

    ``user_id`` is ``None`` for an application key that speaks for no user. ``name`` is ``None`` when the
    credential does not say one, and then the client's own word for its cursor label is kept.
    ``expires_at`` is in seconds since the epoch. ``verified`` is false only where nobody is asked for a credential:
    then who somebody is remains the client's own word.
    """

    project: str
    user_id: str | None = None
    name: str | None = None
    rules: tuple[Rule, ...] = ()
    expires_at: float | None = None
    verified: bool = True

    def access_to(self, key: RoomKey) -> Access:
        """The rights of this identity on one entity; an entity of another project is never visible."""
        if key.project != self.project:
            return Access.NONE
        for rule in self.rules:
            if rule.matches(key):
                return rule.access
        return Access.NONE


def parse_rules(rules: Mapping[str, str]) -> tuple[Rule, ...]:
    """Read ``{"documents/*": "write", …}``, in order. Raises :class:`ValueError`."""
    parsed = []
    for pattern, word in rules.items():
        try:
            access = Access[word.upper()] if word.islower() else None
        except KeyError:
            access = None
        if access is None:
            raise ValueError("a rule says one of none, read, write")
        parsed.append(Rule(pattern, access))
    return tuple(parsed)


def glob_matches(pattern: str, text: str) -> bool:
    """Whether ``text`` is ``pattern`` with each ``*`` replaced by some characters, perhaps none.

    Walks both once: patterns may come from a token, and a regular expression with many stars could take for ever.
    """
    first, *rest = pattern.split("*")
    if not rest:
        return text == pattern
    *middle, last = rest
    at, end = len(first), len(text) - len(last)
    if at > end or not (text.startswith(first) and text.endswith(last)):
        return False
    for piece in middle:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True
