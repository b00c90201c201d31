"""Aggregates: what they are, and how rows add up to groups. docs/protocol.md defines them (G1 and following). Pure.

Sums are exact, so their order does not matter and a row can be subtracted again. Numbers count as the decimals that
JSON writes (``0.1 + 0.2`` is ``0.3``), and only the result is rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, DivisionByZero, Inexact, InvalidOperation
from fractions import Fraction
from sys import float_info
from typing import Any, NamedTuple

import msgspec

from collab.errors import InvalidRequest
from collab.query.match import COMPOSITE, NUMBER, TEXT, form_of, getter, kind_of, whole
from collab.query.query import EVERYTHING, Condition, Path, Query, Scalar, Search, SortKey, spelled

MAX_GROUPS = 1_000
"""Maximum number of groups of one aggregate."""
MAX_GROUP_MEMBERS = 5
"""Maximum number of members in ``groupBy``."""
MAX_MEASURES = 20
"""Maximum number of members in each of ``sum``, ``avg``, ``min`` and ``max``."""

# every finite double has at most 324 places behind the point and 309 before it
_EXACT = Context(prec=2_000, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[Inexact, InvalidOperation, DivisionByZero])


@dataclass(frozen=True, slots=True)
class Aggregation:
    """What to compute of the rows that match ``where`` and are found by ``search``, for each combination of values of
    ``group_by``.

    ``sum`` and ``avg`` are of numbers, ``min`` and ``max`` of numbers and strings; other values are skipped.
    """

    where: Condition = EVERYTHING
    group_by: tuple[Path, ...] = ()
    sum: tuple[Path, ...] = ()
    avg: tuple[Path, ...] = ()
    min: tuple[Path, ...] = ()
    max: tuple[Path, ...] = ()
    search: Search | None = None

    @property
    def rows(self) -> Query:
        """The rows that count."""
        return Query(self.where, search=self.search)

    @property
    def summed(self) -> tuple[Path, ...]:
        """The members of ``sum`` and ``avg``, without duplicates."""
        return tuple(dict.fromkeys((*self.sum, *self.avg)))

    @property
    def paths(self) -> tuple[Path, ...]:
        """All members that it reads, besides those of ``where`` and ``search``."""
        return (*self.group_by, *self.summed, *self.min, *self.max)


class Sum(NamedTuple):
    """How many numbers there are, and their exact total."""

    numbers: int
    total: Decimal


class GroupTally(NamedTuple):
    """One group, not yet rounded.

    ``sums`` are those of :attr:`Aggregation.summed`, ``lows`` and ``highs`` those of ``min`` and ``max``, in order;
    ``None``: there is no such value.
    """

    key: tuple[SortKey, ...]
    rows: int
    sums: tuple[Sum, ...]
    lows: tuple[Scalar, ...]
    highs: tuple[Scalar, ...]


class Contribution(NamedTuple):
    """What one row adds to its group. ``numbers`` has ``None`` for a value that is no number."""

    key: tuple[SortKey, ...]
    numbers: tuple[int | Decimal | None, ...]
    lows: tuple[Scalar, ...]
    highs: tuple[Scalar, ...]


def sharer(aggregation: Aggregation) -> Callable[[Mapping[str, Any]], Contribution]:
    """Return the function that computes a row's :class:`Contribution`."""
    group_by, summed = _readers(aggregation.group_by), _readers(aggregation.summed)
    lows, highs = _readers(aggregation.min), _readers(aggregation.max)

    def share(row: Mapping[str, Any]) -> Contribution:
        return Contribution(
            tuple([_group_value(read(row)) for read in group_by]),
            tuple([_decimal_of(read(row)) for read in summed]),
            tuple([ordered(read(row)) for read in lows]),
            tuple([ordered(read(row)) for read in highs]),
        )

    return share


def tally(rows: Iterable[Mapping[str, Any]], aggregation: Aggregation) -> list[GroupTally]:
    """Add up rows that match already. Raises :class:`InvalidRequest` for too many groups."""
    return tally_alike(((row, 1) for row in rows), aggregation)


def tally_alike(rows: Iterable[tuple[Mapping[str, Any], int]], aggregation: Aggregation) -> list[GroupTally]:
    """:func:`tally` of rows, each with the number of its equals."""
    share = sharer(aggregation)
    groups: dict[str, _Running] = {}
    if not aggregation.group_by:
        groups[group_id(())] = _Running(empty(aggregation, ()))
    for row, times in rows:
        mine = share(row)
        name = group_id(mine.key) if mine.key else "[]"
        running = groups.get(name)
        if running is None:
            check_group_count(len(groups) + 1)
            running = groups[name] = _Running(empty(aggregation, mine.key))
        running.add(mine, times)
    return in_order(running.result() for running in groups.values())


def empty(aggregation: Aggregation, key: tuple[SortKey, ...]) -> GroupTally:
    """A group without rows."""
    nothing = tuple(Sum(0, Decimal(0)) for _ in aggregation.summed)
    return GroupTally(key, 0, nothing, (None,) * len(aggregation.min), (None,) * len(aggregation.max))


def add_row(sums: Sequence[Sum], numbers: Sequence[int | Decimal | None], times: int) -> tuple[Sum, ...]:
    """Add one row's numbers ``times`` times; -1 subtracts them."""
    return tuple(
        one if number is None else Sum(one.numbers + times, _EXACT.fma(number, times, one.total))
        for one, number in zip(sums, numbers, strict=True)
    )


def in_order(groups: Iterable[GroupTally]) -> list[GroupTally]:
    """Sort by the values of ``groupBy``, ascending."""
    return sorted(groups, key=lambda group: order_of_group(group.key))


def order_of_group(key: Sequence[SortKey]) -> tuple[Any, ...]:
    """A key that sorts groups."""
    return tuple(rank(value) for value in key)


def rank(value: SortKey) -> tuple[int, Any]:
    """A key that sorts values in ascending order."""
    kind = kind_of(value)
    return kind, value if kind in (NUMBER, TEXT) else 0


def group_id(key: Sequence[SortKey]) -> str:
    """Name a group: the JSON of its values."""
    return msgspec.json.encode(key).decode()


def group_row(aggregation: Aggregation, group: GroupTally) -> dict[str, Any]:
    """A group as the caller receives it: ``{id, group, count}``, and what it asked for of sum, avg, min and max."""
    totals = dict(zip(aggregation.summed, group.sums, strict=True))
    row: dict[str, Any] = {
        "id": group_id(group.key),
        "group": {
            spelled(path): list(value) if isinstance(value, tuple) else value
            for path, value in zip(aggregation.group_by, group.key, strict=True)
        },
        "count": group.rows,
    }
    if aggregation.sum:
        row["sum"] = {spelled(path): number_of(totals[path].total) for path in aggregation.sum}
    if aggregation.avg:
        row["avg"] = {spelled(path): _average(totals[path]) for path in aggregation.avg}
    if aggregation.min:
        row["min"] = dict(zip(map(spelled, aggregation.min), group.lows, strict=True))
    if aggregation.max:
        row["max"] = dict(zip(map(spelled, aggregation.max), group.highs, strict=True))
    return row


def check_group_count(groups: int) -> None:
    """Raise :class:`InvalidRequest` if there are too many groups."""
    if groups > MAX_GROUPS:
        raise InvalidRequest(f"groupBy: more than {MAX_GROUPS:,} groups: narrow where, or group by fewer members")


# values, in the form of collab.query.match.form


def _group_value(value: Any) -> SortKey:
    """The value that stands for all equal ones."""
    kind = kind_of(value)
    if kind == COMPOSITE:
        return ()
    result: SortKey = whole(value) if kind == NUMBER else value
    return result


def ordered(value: Any) -> Scalar:
    """A value that ``min`` and ``max`` compare, or ``None``."""
    kind = kind_of(value)
    return whole(value) if kind == NUMBER else value if kind == TEXT else None


def _decimal_of(value: Any) -> int | Decimal | None:
    """A number as an integer or a decimal; ``None`` for other values."""
    if kind_of(value) != NUMBER:
        return None
    number = whole(value)
    return number if isinstance(number, int) else Decimal(repr(number))


def number_of(exact: Decimal | Fraction) -> int | float:
    """The number that an answer shows: an integer if it is one of 64 bits, else the nearest finite float."""
    numerator, denominator = exact.as_integer_ratio()
    if denominator == 1 and -(2**63) <= numerator < 2**63:
        return numerator
    try:
        return numerator / denominator
    except OverflowError:
        return float_info.max if numerator > 0 else -float_info.max


def _readers(paths: Iterable[Path]) -> list[Callable[[Mapping[str, Any]], Any]]:
    return [_reader(path) for path in paths]


def _reader(path: Path) -> Callable[[Mapping[str, Any]], Any]:
    get, read = getter(path), form_of(path)
    return lambda row: read(get(row))


class _Running:
    """A group while rows are added to it. Integers are added apart from fractions, which is faster."""

    __slots__ = ("_fractions", "_highs", "_integers", "_key", "_lows", "_numbers", "_rows")

    def __init__(self, group: GroupTally) -> None:
        self._key = group.key
        self._rows = 0
        self._numbers = [0] * len(group.sums)
        self._integers = [0] * len(group.sums)
        self._fractions = [Decimal(0)] * len(group.sums)
        self._lows = list(group.lows)
        self._highs = list(group.highs)

    def add(self, share: Contribution, times: int) -> None:
        self._rows += times
        for at, number in enumerate(share.numbers):
            if number is not None:
                self._numbers[at] += times
                if isinstance(number, int):
                    self._integers[at] += number * times
                else:
                    self._fractions[at] = _EXACT.fma(number, times, self._fractions[at])
        for at, value in enumerate(share.lows):
            self._lows[at] = _nearer(self._lows[at], value, highest=False)
        for at, value in enumerate(share.highs):
            self._highs[at] = _nearer(self._highs[at], value, highest=True)

    def result(self) -> GroupTally:
        totals = zip(self._numbers, self._integers, self._fractions, strict=True)
        sums = tuple(Sum(numbers, _EXACT.add(Decimal(integers), fractions)) for numbers, integers, fractions in totals)
        return GroupTally(self._key, self._rows, sums, tuple(self._lows), tuple(self._highs))


def _nearer(known: Scalar, value: Scalar, *, highest: bool) -> Scalar:
    if known is None or value is None:
        return value if known is None else known
    return value if (rank(value) > rank(known)) == highest else known


def _average(total: Sum) -> int | float | None:
    # not a decimal: its division rounds, and what is rounded twice may be another float, or an integer by chance
    return number_of(Fraction(total.total) / total.numbers) if total.numbers else None
