"""Access rules: a glob over names, a right, and an optional condition on the entity's data."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from collab.dates import canonical
from collab.errors import InvalidRequest
from collab.json_values import scalar_fault
from collab.names import RoomKey
from collab.query.match import compile_where, conjoin
from collab.query.parse import parse_where
from collab.query.query import EVERYTHING, And, Compare, Condition, Not, Scalar

_PATTERN = re.compile(r"[A-Za-z0-9_.:*-]{1,128}/[A-Za-z0-9_.:*-]{1,128}", re.ASCII)
_STARS = re.compile(r"\*+")
_ID = ("id",)
_USER, _CLAIM, _LITERAL = "$userId", "$claims.", "$$"
_EVERY_ROW = object()  # not None: a condition that somebody computed and that is null must not grant every row


class Access(IntEnum):
    """Rights on one entity. Each includes the one before it."""

    NONE = 0
    READ = 1
    WRITE = 2


@dataclass(frozen=True, slots=True)
class Rule:
    """``pattern`` is a glob over ``collection/id``; ``*`` matches within a part, never across ``/``.

    The id part is one of ``*``, ``abc``, ``abc*``, ``*abc``, ``abc*abc`` and ``*abc*``, because it must also work as a
    filter of lists. With ``where`` the rule applies only to entities whose ``data`` match.

    Raises :class:`ValueError` for other patterns, and for those that can match nothing.
    """

    pattern: str
    access: Access
    where: Condition | None = None
    _holds: Callable[[Mapping[str, Any]], bool] | None = field(init=False, repr=False, compare=False)
    _globs: tuple[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not _PATTERN.fullmatch(self.pattern):
            raise ValueError("a rule's pattern must be collection/id, where * stands for any characters but /")
        collection, _, ids = self.pattern.partition("/")
        if _glob_condition(ids) is None:
            raise ValueError("a rule's pattern for ids may have one *, or one at each end")
        object.__setattr__(self, "_globs", (collection, ids))
        object.__setattr__(self, "_holds", None if self.where is None else compile_where(self.where))

    def matches(self, key: RoomKey) -> bool:
        """Whether this rule's pattern matches the name."""
        collection, ids = self._globs
        return glob_matches(collection, key.collection) and glob_matches(ids, key.id)

    def is_about(self, collection: str) -> bool:
        """Whether this rule may match an entity of that collection."""
        return glob_matches(self._globs[0], collection)

    def ids_meet(self, prefix: str) -> tuple[bool, bool]:
        """Whether this rule's pattern matches any, and whether it matches all, ids that start with ``prefix``."""
        glob = self._globs[1]
        start, star, _ = glob.partition("*")
        meets = start.startswith(prefix) or (bool(star) and prefix.startswith(start))
        return meets, glob.endswith("*") and glob_matches(glob, prefix)

    def holds(self, data: Mapping[str, Any]) -> bool:
        """Whether ``data`` match this rule's ``where``."""
        return self._holds is None or self._holds(data)

    def rows(self) -> Condition:
        """The rows that this rule matches in a collection it is about, as a condition on their ``data``."""
        named = _glob_condition(self._globs[1])
        assert named is not None
        return named if self.where is None else conjoin(named, self.where)


def parse_rules(
    rules: Mapping[str, Any], user_id: str | None = None, claims: Mapping[str, Any] | None = None
) -> tuple[Rule, ...]:
    """Read ``{"documents/*": "write", "tasks/*": {"access": "read", "where": {"owner": "$userId"}}, …}``, in order.

    ``where`` is written as in a query. In it, the string ``$userId`` stands for ``user_id`` and ``$claims.team`` for
    the member ``team`` of ``claims`` (a scalar, or a list of scalars for ``in`` and ``notIn``); ``$$`` stands for a
    leading ``$``. Raises :class:`ValueError`, also if the user id or the claim is missing or null, and if ``where``, or
    an object or list of conditions in it, is empty.
    """
    known = {} if claims is None else claims
    return tuple(_parse_rule(pattern, rule, user_id, known) for pattern, rule in rules.items())


def check_rules(rules: Mapping[str, Any]) -> None:
    """Raise the :class:`ValueError` of :func:`parse_rules` for rules that are invalid whatever the user and claims."""
    parse_rules(rules, "user", _AnyClaims())


def glob_matches(pattern: str, text: str) -> bool:
    """Whether ``text`` matches ``pattern``, where each ``*`` stands for any number of characters.

    Runs in one pass: patterns may come from a token, and a regular expression with many stars could take forever.
    """
    if pattern == "*":  # the most common pattern, checked on every write
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
    """Claims of an unknown user: every claim exists."""

    def __missing__(self, name: str) -> str:
        return name

    def __contains__(self, name: object) -> bool:
        return True


def _parse_rule(pattern: str, rule: Any, user_id: str | None, claims: Mapping[str, Any]) -> Rule:
    word: Any = rule
    where: Any = _EVERY_ROW
    if isinstance(rule, Mapping):
        word, where = rule.get("access"), rule.get("where", _EVERY_ROW)
        if not rule.keys() <= {"access", "where"}:
            raise ValueError("a rule may have only access and where")
    if not isinstance(word, str) or word not in ("none", "read", "write"):
        raise ValueError("a rule must be one of none, read, write")
    if where is _EVERY_ROW:
        return Rule(pattern, Access[word.upper()])
    if not isinstance(where, Mapping):
        raise ValueError("the where of a rule must be an object")
    try:
        return Rule(pattern, Access[word.upper()], parse_where(_fill_in(where, "", user_id, claims), strict=True))
    except InvalidRequest as error:
        raise ValueError(f"the where of a rule: {error.message}") from None
    except RecursionError:
        raise ValueError("the where of a rule is nested too deep") from None


def _fill_in(value: Any, member: str, user_id: str | None, claims: Mapping[str, Any]) -> Any:
    """Replace the placeholders in ``value``, which is the member ``member``."""
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
            raise ValueError("a rule uses $userId, but this credential has no user")
        if canonical(user_id) is not None or "\0" in user_id:  # queries take it for the id of somebody else, too
            raise ValueError("a rule uses $userId, but this user id is a date or contains U+0000")
        return user_id
    if not value.startswith(_CLAIM):
        raise ValueError("$ must begin $userId or $claims.<name>; write $$ for a literal $")
    return _claim(claims, value.removeprefix(_CLAIM), several=member in ("in", "notIn"))


def _claim(claims: Mapping[str, Any], name: str, *, several: bool) -> Scalar | list[Scalar]:
    if name not in claims:
        raise ValueError("a rule uses a claim that this credential does not have")
    found = claims[name]
    if isinstance(claims, _AnyClaims) and several:
        found = [found]
    # an object would be parsed as operators
    values = found if several and isinstance(found, list) else [found]
    if several != isinstance(found, list) or any(isinstance(value, list | Mapping) for value in values):
        raise ValueError("a claim used by a rule must be a list for in and notIn, a scalar elsewhere")
    for value in values:
        if value is None:  # a row without the member would belong to every user without the claim
            raise ValueError("a rule uses a claim that is null in this credential")
        _plain(value)
    return found  # type: ignore[no-any-return]


def _plain(value: Any) -> Any:
    """Return ``value``; reject the numbers and strings that Python's JSON parser accepts and others do not."""
    if isinstance(value, str | float):
        fault = scalar_fault(value)
        if fault is not None:
            raise ValueError(f"a value in a rule {fault}")
    return value


def _glob_condition(glob: str) -> Condition | None:
    """Translate a glob into a condition on ``id``; ``None`` if no condition can express it."""
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
            # start and end must not overlap: exclude the few ids in which they do
            shared = [start + end[size:] for size in range(1, min(len(start), len(end)) + 1) if _laps(start, end, size)]
            ends = (Compare(_ID, "startsWith", start), Compare(_ID, "endsWith", end))
            return And((*ends, *(Not(Compare(_ID, "eq", text)) for text in shared)))
        case ["", middle, ""]:
            return Compare(_ID, "contains", middle)
    return None


def _laps(start: str, end: str, size: int) -> bool:
    return start[len(start) - size :] == end[:size]
