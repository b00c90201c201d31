"""Who is asking, and what that identity may do. Pure values; nothing here reads a credential."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from collab.access.rules import Access as Access
from collab.access.rules import Rule as Rule
from collab.access.rules import glob_matches as glob_matches
from collab.access.rules import parse_rules as parse_rules
from collab.errors import PermissionDenied
from collab.names import RoomKey
from collab.query.query import EVERYTHING, And, Compare, Condition, Not, Or, Scalar

MOST_COMPARISONS = 2000
"""In the filter of one collection, which grows with the rules about it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A verified caller. The first rule that matches decides; without one the answer is no.

    ``user_id`` is ``None`` for an application key that speaks for no user. ``name`` is ``None`` when the
    credential does not say one, and then the client's own word for its cursor label is kept.
    ``expires_at`` is in seconds since the epoch. ``verified`` is false only where nobody is asked for a credential:
    then who somebody is remains the client's own word. ``channels`` are those of custom events that the credential
    grants.
    """

    project: str
    user_id: str | None = None
    name: str | None = None
    rules: tuple[Rule, ...] = ()
    expires_at: float | None = None
    verified: bool = True
    channels: tuple[str, ...] = ()

    def access_to(self, key: RoomKey) -> Access:
        """The rights of this identity on one entity; an entity of another project is never visible.

        Where a rule asks for what is in the entity, this is the least that it could come to. What it comes to says
        :meth:`access_to_row`.
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

    def access_to_row(self, key: RoomKey, data: Mapping[str, Any]) -> Access:
        """The rights of this identity on the entity ``key`` that holds ``data`` (``{id, ...fields, …}``)."""
        if key.project != self.project:
            return Access.NONE
        for rule in self.rules:
            if rule.matches(key) and rule.holds(data):
                return rule.access
        return Access.NONE

    def filter_of(self, collection: str) -> Condition | None:
        """Which rows of a collection of its project this identity may read. ``None``: it may see nothing of it.

        The condition holds for exactly the rows to which :meth:`access_to_row` gives :attr:`Access.READ` or more.
        Raises :class:`collab.errors.PermissionDenied` if the rules make a condition of more than
        ``MOST_COMPARISONS`` comparisons.
        """
        # as shallow as the rules allow, for databases limit how deep an expression is: each run of rules that
        # grant, without what the runs that deny before it have taken
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
            raise PermissionDenied(f"the rules of this identity on {collection} are too many to list by")
        return condition


def _runs(rules: Iterator[Rule]) -> Iterator[tuple[bool, Condition]]:
    """Neighbouring rules of one verdict (may read, or not) as one condition each; none comes after a final one."""
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
    """One of these; single ids among them are gathered, for tokens may name many."""
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
