"""Identities and their rights. Pure values; nothing here reads a credential."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from collab.access.rules import Access, Rule
from collab.errors import PermissionDenied
from collab.names import RoomKey
from collab.query.query import EVERYTHING, And, Compare, Condition, Not, Or, Scalar

MOST_COMPARISONS = 2000
"""Limit for the filter of one collection, which grows with the number of rules."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A verified caller. The first matching rule decides; without a match access is denied.

    ``user_id`` is ``None`` for an application key without a user. ``name`` is ``None`` if the credential has no name;
    then the client chooses the label of its cursor. ``expires_at`` is in seconds since the epoch. ``verified`` is false
    only if the server requires no credential: then ``user_id`` is the client's own claim. The credential grants the
    custom events of ``channels``. ``credential`` distinguishes credentials without a user. ``token_id`` names the token
    (its claim ``jti``) and ``issued_at`` is its time of issue, in seconds since the epoch, to revoke it by. ``trusted``
    is true only for the program itself, acting for no user: its rights are its rules, and hooks are not asked for them.
    ``claims`` are those of the token, verified, for hooks and routes (JSON; empty for API keys): rights follow from
    them only where a hook says so.
    """

    project: str
    user_id: str | None = None
    name: str | None = None
    rules: tuple[Rule, ...] = ()
    expires_at: float | None = None
    verified: bool = True
    channels: tuple[str, ...] = ()
    credential: str | None = None
    token_id: str | None = field(default=None, compare=False)
    issued_at: float | None = field(default=None, compare=False)
    trusted: bool = False
    claims: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)
    has_conditions: bool = field(init=False, repr=False, compare=False)
    """Whether any rule has a ``where``."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "has_conditions", any(rule.where is not None for rule in self.rules))

    @property
    def caller(self) -> str:
        """A string that identifies the caller within its project: a user, else a credential."""
        if self.user_id is not None:
            return f"user:{self.user_id}"
        return "" if self.credential is None else f"credential:{self.credential}"

    @property
    def is_somebody(self) -> bool:
        """Whether this is a verified user: anybody may claim an unverified name."""
        return self.verified and self.user_id is not None

    def counted_as(self, address: str | None) -> Hashable:
        """Key for per-caller limits: the user, or else the client's address."""
        return ("user", self.user_id) if self.is_somebody else ("address", address)

    def access_to(self, key: RoomKey) -> Access:
        """Return the rights of this identity on one entity. Entities of other projects are never visible.

        With conditional rules this is the minimum over all of their outcomes; :meth:`access_to_row` gives the exact
        rights.
        """
        if key.project != self.project:
            return Access.NONE
        least = Access.WRITE
        for rule in self.rules:
            if rule.matches(key):
                least = min(least, rule.access)
                if rule.where is None:
                    return least
        return Access.NONE

    def access_to_all(self, collection: str, prefix: str) -> Access:
        """Return the rights that this identity has on every entity whose id starts so, whatever its data."""
        least = Access.WRITE
        for rule in self.rules:
            if rule.is_about(collection):
                meets, covers = rule.ids_meet(prefix)
                if meets:
                    least = min(least, rule.access)
                if covers and rule.where is None:
                    return least
        return Access.NONE

    def access_to_row(self, key: RoomKey, data: Mapping[str, Any]) -> Access:
        """The rights of this identity on the entity ``key`` that holds ``data`` (``{id, ...fields, …}``)."""
        if key.project != self.project:
            return Access.NONE
        for rule in self.rules:
            if rule.matches(key) and rule.holds(data):
                return rule.access
        return Access.NONE

    def filter_of(self, collection: str) -> Condition | None:
        """Return which rows of a collection this identity may read. ``None``: none.

        The condition matches exactly the rows for which :meth:`access_to_row` returns :attr:`Access.READ` or more.
        Raises :class:`collab.errors.PermissionDenied` if the condition needs more than ``MOST_COMPARISONS``
        comparisons.
        """
        # databases limit the depth of an expression, so keep it flat: each run of granting rules, minus the rows
        # that earlier runs of denying rules match
        granted: list[Condition] = []
        denied: list[Condition] = []
        for grants, run in _runs(rule for rule in self.rules if rule.is_about(collection)):
            if not grants:
                denied.append(Not(run))
            elif denied:
                granted.append(And((run, *denied)))
            else:
                granted.append(run)
            if run == EVERYTHING:
                break
        if not granted:
            return None
        condition = granted[0] if len(granted) == 1 else Or(tuple(granted))
        if _comparisons(condition) > MOST_COMPARISONS:
            raise PermissionDenied(f"this identity has too many rules on {collection} to list it")
        return condition


def _runs(rules: Iterator[Rule]) -> Iterator[tuple[bool, Condition]]:
    """Merge adjacent rules of one verdict (may read or not) into one condition; stop after one that matches all."""
    verdict: bool | None = None
    parts: list[Condition] = []
    for rule in rules:
        grants = rule.access >= Access.READ
        if verdict is not None and grants != verdict:
            yield verdict, _any_of(parts)
            parts = []
        verdict = grants
        parts.append(rule.rows())
        if parts[-1] == EVERYTHING:
            yield grants, EVERYTHING
            return
    if verdict is not None:
        yield verdict, _any_of(parts)


def _any_of(parts: list[Condition]) -> Condition:
    """Join conditions with ``OR``. Single ids become one ``in``, because tokens may list many."""
    ids: list[Scalar] = []
    rest: list[Condition] = []
    for part in parts:
        match part:
            case Compare(path=("id",), operator="eq", value=str(text)):
                ids.append(text)
            case _:
                rest.append(part)
    if ids:
        rest.append(Compare(("id",), "in", tuple(ids)) if len(ids) > 1 else Compare(("id",), "eq", ids[0]))
    return rest[0] if len(rest) == 1 else Or(tuple(rest))


def _comparisons(condition: Condition) -> int:
    match condition:
        case Compare():
            return 1
        case Not(part):
            return _comparisons(part)
        case And(parts) | Or(parts):
            return sum(map(_comparisons, parts))
