"""A validated query as a value: conditions, order and window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

MAX_CONDITIONS = 100
"""Maximum number of comparisons in one ``where`` of an application."""
MAX_DEPTH = 10
"""Maximum nesting depth of conditions (``AND``, ``OR``, ``NOT``), and maximum number of names in a path."""
MAX_VALUES = 1_000
"""Maximum number of values of one ``in`` or ``notIn``."""
MAX_LIMIT = 10_000
MAX_OFFSET = 1_000_000
MAX_ORDERS = 8
MAX_FIELDS = 200
"""Maximum number of members in ``fields``."""
MAX_NAME = 256
"""Maximum length of a member name, in characters."""
MAX_INDEX_MEMBERS = 5
"""Maximum number of members of one index."""

Path: TypeAlias = tuple[str, ...]
"""Member names, outermost first: ``("profile", "city")``."""


def spelled(path: Path) -> str:
    """A path as queries write it: ``profile.city``."""
    return ".".join(name.replace("\\", "\\\\").replace(".", "\\.") for name in path)


IndexPaths: TypeAlias = tuple[Path, ...]
"""The members of an index, in its order: ``(("status",), ("createdAt",))``."""

Scalar: TypeAlias = bool | int | float | str | None
"""A value to compare a field with. Timestamps are strings in the form of :func:`collab.dates.canonical`."""

SortKey: TypeAlias = Scalar | tuple[()]
"""A sort value. All arrays and objects sort equal; the empty tuple stands for them."""


@dataclass(frozen=True, slots=True)
class Compare:
    """Compare one member with a value; ``in`` takes a tuple. ``isNull`` is ``eq`` with ``None``, or its ``Not``.

    The value is in the form that :func:`collab.query.match.form` returns, except for ``contains``, ``startsWith`` and
    ``endsWith``, and for strings compared with ``id``: these stay as written.
    """

    path: Path
    operator: Literal["eq", "in", "lt", "lte", "gt", "gte", "contains", "startsWith", "endsWith"]
    value: Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class And:
    """All parts match; without parts, always true."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one part matches; without parts, always false."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not match; also true for rows that lack the member."""

    part: Condition


Condition: TypeAlias = Compare | And | Or | Not

EVERYTHING = And(())
NOTHING = Or(())


@dataclass(frozen=True, slots=True)
class Order:
    """One sort key. Equal rows are sorted by the next key, and finally by ``id``, ascending."""

    path: Path
    descending: bool = False


class Words(NamedTuple):
    """What must, and what must not, occur in a folded text: see :mod:`collab.query.search`. Both are sorted."""

    wanted: tuple[str, ...]
    without: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Search:
    """Words to find in the members at ``paths``: those that the collection declares, in its order."""

    words: Words
    paths: IndexPaths = ()


@dataclass(frozen=True, slots=True)
class Query:
    """Filter, order and window: skip ``offset`` rows, then return at most ``limit``.

    With ``search``, only rows that match ``where`` and are found count.

    ``after`` is a row's id and its values of ``order_by``: only rows behind it count (a page's cursor). Without
    ``limit`` all rows are returned; callers of a storage always set one.
    """

    where: Condition = EVERYTHING
    order_by: tuple[Order, ...] = ()
    limit: int | None = None
    offset: int = 0
    after: tuple[str, tuple[SortKey, ...]] | None = None
    search: Search | None = None
