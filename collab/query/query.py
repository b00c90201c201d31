"""A query as a value: conditions, order and window, already checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

MAX_CONDITIONS = 100
"""Comparisons in one ``where``, as applications may write it."""
MAX_DEPTH = 10
"""How deep conditions may be nested (``AND``, ``OR``, ``NOT``), and how many names a path may have."""
MAX_VALUES = 1_000
"""Values of one ``in`` or ``notIn``."""
MAX_LIMIT = 10_000
MAX_OFFSET = 1_000_000
MAX_ORDERS = 8
MAX_NAME = 256
"""Characters in the name of a member."""

Path: TypeAlias = tuple[str, ...]
"""Names of members, outermost first: ``("profile", "city")``."""

Scalar: TypeAlias = bool | int | float | str | None
"""What fields are compared with. Points in time are texts in the form of :func:`collab.dates.canonical`."""

Place: TypeAlias = Scalar | tuple[()]
"""A value as far as orders tell values apart: arrays and objects are all equal, the empty tuple stands for them."""


@dataclass(frozen=True, slots=True)
class Compare:
    """One member against one value; ``in`` takes a tuple of them. ``isNull`` is ``eq`` with ``None`` or its ``Not``.

    The value is in the form that :func:`collab.query.match.form` gives, except that of ``contains``, ``startsWith``
    and ``endsWith``, and texts that are compared with ``id``: these are as they were written.
    """

    path: Path
    operator: Literal["eq", "in", "lt", "lte", "gt", "gte", "contains", "startsWith", "endsWith"]
    value: Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class And:
    """All of them; without any, everything."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one of them; without any, nothing."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite, also for rows that lack the member."""

    part: Condition


Condition: TypeAlias = Compare | And | Or | Not

EVERYTHING = And(())
NOTHING = Or(())


@dataclass(frozen=True, slots=True)
class Order:
    """One key of an order; equal rows are ordered by the next, and last by ``id``, rising."""

    path: Path
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """Which rows, in which order, and which of them: ``offset`` are left out, then ``limit`` at most are given.

    ``after`` is a row's id and its values of ``order_by``: only what comes behind it counts (a page's cursor).
    Without ``limit`` it is all of them: who asks a storage sets one.
    """

    where: Condition = EVERYTHING
    order_by: tuple[Order, ...] = ()
    limit: int | None = None
    offset: int = 0
    after: tuple[str, tuple[Place, ...]] | None = None
