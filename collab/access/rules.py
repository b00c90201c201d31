"""What one rule says: a glob over names, a right, and perhaps a condition on what is in the entity."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from math import isfinite
from typing import Any

from collab.errors import InvalidRequest
from collab.names import RoomKey
from collab.query.match import compile_where, conjoin
from collab.query.parse import parse_where
from collab.query.query import EVERYTHING, And, Compare, Condition, Not, Scalar

_PATTERN = re.compile(r"[A-Za-z0-9_.:*-]{1,128}/[A-Za-z0-9_.:*-]{1,128}", re.ASCII)
_STARS = re.compile(r"\*+")
_ID = ("id",)
_USER, _CLAIM, _LITERAL = "$userId", "$claims.", "$$"


class Access(IntEnum):
    """Rights on one entity. Each contains the one before it."""

    NONE = 0
    READ = 1
    WRITE = 2


@dataclass(frozen=True, slots=True)
class Rule:
    """``pattern`` is a glob over ``collection/id``; ``*`` matches within a part, never across ``/``.

    The part for ids is one of ``*``, ``abc``, ``abc*``, ``*abc``, ``abc*abc`` and ``*abc*``: it must also be
    possible to list by it. With ``where`` the rule is only about the entities for whose ``data`` that holds.

    Raises :class:`ValueError` for other patterns, and those that could match nothing.
    """

    pattern: str
    access: Access
    where: Condition | None = None
    _holds: Callable[[Mapping[str, Any]], bool] | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not _PATTERN.fullmatch(self.pattern):
            raise ValueError("a rule's pattern is collection/id, where * stands for any characters but /")
        if _glob_condition(self.pattern.partition("/")[2]) is None:
            raise ValueError("a rule's pattern for ids has one *, or one at each end")
        object.__setattr__(self, "_holds", None if self.where is None else compile_where(self.where))

    def matches(self, key: RoomKey) -> bool:
        """Whether this rule is about entities of that name."""
        collection, _, entity_id = self.pattern.partition("/")
        return glob_matches(collection, key.collection) and glob_matches(entity_id, key.id)

    def is_about(self, collection: str) -> bool:
        """Whether this rule is about any entity of that collection."""
        return glob_matches(self.pattern.partition("/")[0], collection)

    def holds(self, data: Mapping[str, Any]) -> bool:
        """Whether an entity of such a name that holds ``data`` is meant."""
        return self._holds is None or self._holds(data)

    def rows(self) -> Condition:
        """Which rows of such a collection are meant, as a condition on their ``data``."""
        named = _glob_condition(self.pattern.partition("/")[2])
        assert named is not None
        return named if self.where is None else conjoin(named, self.where)


def parse_rules(
    rules: Mapping[str, Any], user_id: str | None = None, claims: Mapping[str, Any] | None = None
) -> tuple[Rule, ...]:
    """Read ``{"documents/*": "write", "tasks/*": {"access": "read", "where": {"owner": "$userId"}}, …}``, in order.

    In ``where``, which is written as in a query, the text ``$userId`` stands for ``user_id`` and ``$claims.team``
    for the member ``team`` of ``claims`` (a scalar, or a list of them for ``in`` and ``notIn``); ``$$`` stands for a
    ``$`` at the beginning of a text. Raises :class:`ValueError`, also if it stands for something that is not there.
    """
    known = {} if claims is None else claims
    return tuple(_parse_rule(pattern, rule, user_id, known) for pattern, rule in rules.items())


def check_rules(rules: Mapping[str, Any]) -> None:
    """Raise the :class:`ValueError` of :func:`parse_rules` for rules that make no sense for any user or claims."""
    parse_rules(rules, "user", _AnyClaims())


def glob_matches(pattern: str, text: str) -> bool:
    """Whether ``text`` is ``pattern`` with each ``*`` replaced by some characters, perhaps none.

    Walks both once: patterns may come from a token, and a regular expression with many stars could take for ever.
    """
    if pattern == "*":  # what most rules say, and this is asked for every write
        return True
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


class _AnyClaims(dict[str, Any]):
    """Claims of a user who is not known yet: each is there."""

    def __missing__(self, name: str) -> str:
        return name

    def __contains__(self, name: object) -> bool:
        return True


def _parse_rule(pattern: str, rule: Any, user_id: str | None, claims: Mapping[str, Any]) -> Rule:
    word, where = rule, None
    if isinstance(rule, Mapping):
        word, where = rule.get("access"), rule.get("where")
        if not rule.keys() <= {"access", "where"}:
            raise ValueError("a rule has access and where, and nothing else")
    if not isinstance(word, str) or word not in ("none", "read", "write"):
        raise ValueError("a rule says one of none, read, write")
    if where is None:
        return Rule(pattern, Access[word.upper()])
    if not isinstance(where, Mapping):
        raise ValueError("the where of a rule is an object")
    try:
        return Rule(pattern, Access[word.upper()], parse_where(_fill_in(where, "", user_id, claims)))
    except InvalidRequest as error:
        raise ValueError(f"the where of a rule: {error.message}") from None
    except RecursionError:
        raise ValueError("the where of a rule is too deep") from None


def _fill_in(value: Any, member: str, user_id: str | None, claims: Mapping[str, Any]) -> Any:
    """``value``, the member of that name, with what its texts stand for."""
    if isinstance(value, Mapping):
        return {_plain(name): _fill_in(inner, name, user_id, claims) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_fill_in(inner, "", user_id, claims) for inner in value]
    if not isinstance(value, str) or not value.startswith("$"):
        return _plain(value)
    if value.startswith(_LITERAL):
        return value[1:]
    if value == _USER:
        if user_id is None:
            raise ValueError("a rule names $userId, and this credential speaks for no user")
        return user_id
    if not value.startswith(_CLAIM):
        raise ValueError("$ stands for $userId or $claims.<name>; write $$ for the character")
    return _claim(claims, value.removeprefix(_CLAIM), several=member in ("in", "notIn"))


def _claim(claims: Mapping[str, Any], name: str, *, several: bool) -> Scalar | list[Scalar]:
    if name not in claims:
        raise ValueError("a rule names a claim that this credential does not have")
    found = claims[name]
    if isinstance(claims, _AnyClaims) and several:
        found = [found]
    # an object would be read as operators
    values = found if several and isinstance(found, list) else [found]
    if several != isinstance(found, list) or any(isinstance(value, list | Mapping) for value in values):
        raise ValueError("a claim that a rule names is a list for in and notIn, a scalar elsewhere")
    for value in values:
        _plain(value)
    return found  # type: ignore[no-any-return]


def _plain(value: Any) -> Any:
    """``value``, unless it is a text or a number that JSON readers of Python take and nothing else does."""
    if isinstance(value, float) and not isfinite(value):
        raise ValueError("a rule names a number that is not finite")
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("a rule names a text that is not Unicode")
    return value


def _glob_condition(glob: str) -> Condition | None:
    """The condition on ``id`` that is the same as a glob; ``None`` for globs that conditions cannot say."""
    match _STARS.sub("*", glob).split("*"):
        case [whole]:
            return Compare(_ID, "eq", whole)
        case ["", ""]:
            return EVERYTHING
        case [start, ""]:
            return Compare(_ID, "startsWith", start)
        case ["", end]:
            return Compare(_ID, "endsWith", end)
        case [start, end]:
            # start and end may not share characters: those few texts in which they do are left out
            shared = [start + end[size:] for size in range(1, min(len(start), len(end)) + 1) if _laps(start, end, size)]
            ends = (Compare(_ID, "startsWith", start), Compare(_ID, "endsWith", end))
            return And((*ends, *(Not(Compare(_ID, "eq", text)) for text in shared)))
        case ["", middle, ""]:
            return Compare(_ID, "contains", middle)
    return None


def _laps(start: str, end: str, size: int) -> bool:
    return start[len(start) - size :] == end[:size]
