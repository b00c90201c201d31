"""A query as a value: conditions, order and window, already checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Path: TypeAlias = tuple[str, ...]
"""Names of members, outermost first: ``("profile", "city")``."""

Scalar: TypeAlias = bool | int | float | str | None
"""What fields are compared with. Points in time are texts in the form of :func:`collab.dates.canonical`."""


@dataclass(frozen=True, slots=True)
class Compare:
    """One member against one value; ``in`` takes a tuple of them. ``isNull`` is ``eq`` with ``None`` or its ``Not``."""

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
    """

    where: Condition = EVERYTHING
    order_by: tuple[Order, ...] = ()
    limit: int | None = None
    offset: int = 0
    after: tuple[str, tuple[Scalar, ...]] | None = None
