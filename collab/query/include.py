"""Related rows of a query (``include``). docs/protocol.md defines them (I1 and following). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from collab.names import is_part
from collab.query.match import conjoin, form_of
from collab.query.query import Compare, Query

MAX_INCLUDES = 5
"""Maximum number of relations in one ``include``."""
MAX_INCLUDING_ROWS = 1_000
"""Maximum number of rows of a query with ``include``, without the related ones."""
MAX_RELATED = 1_000
"""Maximum ``limit`` of related rows, for each row of the query."""
DEFAULT_RELATED = 100
"""Number of related rows, for each row of the query, without a ``limit``."""
MAX_WITH_RELATED = 10_000
"""Maximum number of rows of an answer, with the related ones."""


_PROTO = "__proto__"  # no object of a message may have a member of this name


@dataclass(frozen=True, slots=True)
class Include:
    """What a query asks for of one relation. ``query`` has a condition, an order and a limit."""

    relation: str
    query: Query = field(default_factory=Query)
    fields: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class RelationQuery:
    """Which rows of another collection are related to a row of a query.

    A row's *key* is its member ``by``; those whose ``member`` equals it are related, as far as ``query`` selects them,
    which has the row filter of the caller in it. With ``one`` there is at most one for each key.
    """

    name: str
    collection: str
    by: str
    member: str
    one: bool
    query: Query
    fields: tuple[str, ...] | None = None

    def key_of(self, row: Mapping[str, Any]) -> str | None:
        """Return the key of a row; ``None`` if nothing can be related to it."""
        key = row.get(self.by)
        return key if isinstance(key, str) and is_part(key) and key != _PROTO else None


class KeysQuery(NamedTuple):
    """A query for each key: those rows of ``query`` whose ``member`` equals it. Of all of them, ``most`` at most.

    Keys are different ids. ``query`` has a limit, and neither ``offset`` nor ``after``.
    """

    member: str
    keys: Sequence[str]
    query: Query
    most: int

    def of(self, key: str) -> Query:
        """Return the query of one key."""
        return related_to(self.member, key, self.query)


def related_to(member: str, key: str, query: Query) -> Query:
    """Return the query of those rows that ``query`` selects whose ``member`` equals ``key``."""
    path = (member,)
    return replace(query, where=conjoin(Compare(path, "eq", form_of(path)(key)), query.where))
