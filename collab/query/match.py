"""Evaluate conditions and orders on rows in memory. :mod:`collab.storage.sqlite.query` does the same in SQL.

A row is an entity's ``data``: JSON as Python values. Values are compared in the form that :func:`form` returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import isfinite
from operator import ge, gt, le, lt
from sys import float_info
from typing import Any, TypeAlias

from collab.dates import canonical
from collab.query.query import (
    EVERYTHING,
    NOTHING,
    And,
    Compare,
    Condition,
    Not,
    Or,
    Order,
    Path,
    Query,
    Scalar,
    SortKey,
)
from collab.query.search import compile_search

Row: TypeAlias = Mapping[str, Any]
"""``{id, ...fields, createdAt, updatedAt}``, or the known part of it."""
Test: TypeAlias = Callable[[Row], bool]

ID: Path = ("id",)
"""The one member whose values are names: they are compared as written, never as timestamps."""

NULL, FALSE, TRUE, NUMBER, TEXT, COMPOSITE = range(6)
"""Kinds of values, in sort order."""

_INTEGERS = range(-(2**63), 2**63)
_TESTS: dict[str, Callable[[Any, Any], bool]] = {"lt": lt, "lte": le, "gt": gt, "gte": ge}


def form(value: Any) -> Any:
    """Return ``value`` in the form used for comparison.

    A timestamp gets its canonical form; U+0000 becomes U+0001 (databases end strings there); an integer beyond 64 bits
    becomes a float, beyond the range of floats the largest float; NaN and infinity become null. Arrays and objects
    stay unchanged.
    """
    kind = type(value)
    if kind is str:
        return canonical(value) or as_written(value)
    if kind is int:
        return value if value in _INTEGERS else _as_float(value)
    if kind is float:
        return value if isfinite(value) else None
    return value


def whole(value: int | float) -> int | float:
    """One spelling for each number: a float that is an integer of 64 bits becomes that integer.

    The shortest decimal of such a float may be another integer.
    """
    return int(value) if isinstance(value, float) and value.is_integer() and int(value) in _INTEGERS else value


def form_of(path: Path) -> Callable[[Any], Any]:
    """Return the function that normalises values of the member at ``path``."""
    return _name if path == ID else form


def comparable(value: Any) -> Any:
    """Apply :func:`form` to every value inside a JSON value; returns the same object if nothing changes."""
    if isinstance(value, dict):
        members = {name: comparable(member) for name, member in value.items() if "\0" not in name}
        if len(members) == len(value) and all(members[name] is member for name, member in value.items()):
            return value
        return members
    if isinstance(value, list | tuple):
        items = [comparable(item) for item in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    formed = form(value)
    return value if type(formed) is type(value) and formed == value else formed


def lookup(data: Row, path: Path) -> Any:
    """Return the member at ``path`` in the form of :func:`form`, ``None`` if it is missing."""
    return form_of(path)(getter(path)(data))


def conjoin(*conditions: Condition) -> Condition:
    """Join ``conditions`` with ``AND``, as flat as possible."""
    parts: list[Condition] = []
    for condition in conditions:
        parts.extend(condition.parts if isinstance(condition, And) else (condition,))
    return parts[0] if len(parts) == 1 else And(tuple(parts)) if parts else EVERYTHING


def compile_where(condition: Condition) -> Test:
    """Return a function that tests whether a row matches ``condition``."""
    match condition:
        case Compare():
            return _comparison(condition)
        case Not(part):
            test = compile_where(part)
            return lambda row: not test(row)
        case Or(parts):
            return _any_of(tuple(map(compile_where, parts)))
        case And(parts):
            return _all_of(parts)


def compile_query(query: Query) -> Test:
    """Return a function that tests whether a row is one of a query's, whatever its ``limit`` and ``offset``."""
    where = query.where if query.after is None else conjoin(query.where, behind(query.after, query.order_by))
    matches = compile_where(where)
    if query.search is None:
        return matches
    is_found = compile_search(query.search)
    return lambda row: matches(row) and is_found(row)


def sort_key(order_by: Iterable[Order]) -> Callable[[Row], Any]:
    """Return a key function that sorts rows by ``order_by``, and finally by ``id``.

    A row with an empty array sorts where any array or object does (:data:`collab.query.query.SortKey`).
    """
    keys = [(getter(order.path), form_of(order.path), order.descending) for order in order_by]
    if not keys:
        return lambda row: (row["id"],)

    def key(row: Row) -> tuple[Any, ...]:
        parts: list[Any] = []
        for get, read, descending in keys:
            value = read(get(row))
            kind = kind_of(value)
            if not NUMBER <= kind <= TEXT:
                value = 0
            if descending:
                parts += -kind, _Falling(value) if kind == TEXT else -value
            else:
                parts += kind, value
        parts.append(row["id"])
        return tuple(parts)

    return key


def kind_of(value: Any) -> int:
    """Return the kind of a value in the form of :func:`form`."""
    if isinstance(value, str):
        return TEXT
    if value is None:
        return NULL
    if isinstance(value, bool):
        return TRUE if value else FALSE
    return NUMBER if isinstance(value, int | float) else COMPOSITE


def select(rows: Iterable[dict[str, Any]], query: Query) -> list[dict[str, Any]]:
    """Return the ``rows`` that ``query`` selects, in its order."""
    found = sorted(filter(compile_query(query), rows), key=sort_key(query.order_by))
    return found[query.offset :][: query.limit]


def behind(after: tuple[str, Sequence[SortKey]], order_by: Sequence[Order]) -> Condition:
    """Return the condition for rows that come after a place in an order."""
    name, values = after
    rest: Condition = Compare(ID, "gt", name)
    for order, value in reversed(list(zip(order_by, values, strict=True))):
        farther = _below(order.path, value) if order.descending else _above(order.path, value)
        rest = Or((farther, conjoin(equal_to(order.path, value), rest)))
    return rest


def equalities(condition: Condition) -> Mapping[Path, tuple[Scalar, ...]]:
    """Return members that must equal one of these values in every row that matches ``condition``.

    ``None`` among the values means null or missing. An empty tuple: no row can match.
    """
    match condition:
        case Compare(path, "eq", value) if not isinstance(value, tuple):
            return {path: (value,)}
        case Compare(path, "in", tuple(values)):
            return {path: tuple(_typed(values).values())}
        case And(parts):
            found: dict[Path, tuple[Scalar, ...]] = {}
            for part in parts:
                for path, values in equalities(part).items():
                    known = _typed(found[path]) if path in found else None
                    found[path] = tuple(v for key, v in _typed(values).items() if known is None or key in known)
            return found
        case Or((first, *others)):
            either = dict(equalities(first))
            for other in others:
                terms = equalities(other)
                either = {
                    path: tuple(_typed((*values, *terms[path])).values())
                    for path, values in either.items()
                    if path in terms
                }
            return either
    return {}


def paths_of(condition: Condition) -> Iterator[Path]:
    """Yield the members that a condition compares."""
    match condition:
        case Compare(path=path):
            yield path
        case Not(part):
            yield from paths_of(part)
        case And(parts) | Or(parts):
            for part in parts:
                yield from paths_of(part)


def has_order(path: Path) -> Condition:
    """Return the condition that the member is a number or a string."""
    return Or((_is_number(path), _is_text(path)))


def equal_to(path: Path, value: SortKey) -> Condition:
    """Return the condition that the member sorts like ``value``."""
    if isinstance(value, tuple):
        return Not(Or((_simple(path), _is_number(path), _is_text(path))))
    return Compare(path, "eq", value)


def _is_number(path: Path) -> Condition:
    return Compare(path, "gte", -float_info.max)


def _is_text(path: Path) -> Condition:
    return Compare(path, "gte", "")


def _simple(path: Path) -> Condition:
    """The member is null, missing, or a boolean."""
    return Compare(path, "in", (None, False, True))


def _below(path: Path, value: SortKey) -> Condition:
    """The member sorts before ``value`` in ascending order."""
    lower: tuple[Scalar, ...] = (None, False, True)
    match kind_of(value):
        case kind if kind < NUMBER:
            return NOTHING if kind == NULL else Compare(path, "in", lower[:kind])
        case kind if kind == NUMBER and not isinstance(value, tuple):
            return Or((_simple(path), Compare(path, "lt", value)))
        case kind if kind == TEXT and not isinstance(value, tuple):
            return Or((_simple(path), _is_number(path), Compare(path, "lt", value)))
    return Or((_simple(path), _is_number(path), _is_text(path)))


def _above(path: Path, value: SortKey) -> Condition:
    """The member sorts after ``value`` in ascending order."""
    if isinstance(value, tuple):
        return NOTHING
    return Not(Or((_below(path, value), equal_to(path, value))))


def _typed(values: Iterable[Scalar]) -> dict[tuple[bool, Scalar], Scalar]:
    """Remove duplicates; ``True`` is not ``1``."""
    return {(isinstance(value, bool), value): value for value in values}


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return float_info.max if value > 0 else -float_info.max


def _name(value: Any) -> Any:
    return value if isinstance(value, str) else form(value)


def getter(path: Path) -> Callable[[Row], Any]:
    """Return a function that reads the member at ``path`` unchanged, ``None`` if it is missing."""
    if len(path) == 1:
        name = path[0]
        return lambda row: row.get(name)
    *outer, last = path

    def get(row: Row) -> Any:
        inner: Any = row
        for name in outer:
            inner = inner.get(name)
            if not isinstance(inner, dict):
                return None
        return inner.get(last)

    return get


def _all_of(parts: Sequence[Condition]) -> Test:
    pairs = tuple(pair for pair in map(_plain, parts) if pair is not None)
    rest = tuple(compile_where(part) for part in parts if _plain(part) is None)
    if not rest:
        if len(pairs) == 1:
            return _equals(*pairs[0])

        def all_equal(row: Row) -> bool:
            get = row.get
            for name, value in pairs:  # noqa: SIM110  # half the time of all(...)
                if get(name) != value:
                    return False
            return True

        return all_equal

    def all_hold(row: Row) -> bool:
        get = row.get
        for name, value in pairs:
            if get(name) != value:
                return False
        for test in rest:  # noqa: SIM110
            if not test(row):
                return False
        return True

    return all_hold


def _any_of(tests: Sequence[Test]) -> Test:
    def any_holds(row: Row) -> bool:
        for test in tests:  # noqa: SIM110
            if test(row):
                return True
        return False

    return any_holds


def _plain(condition: Condition) -> tuple[str, Scalar] | None:
    """Return name and value if the condition equals ``row.get(name) == value``, whatever the form and the type.

    A string that is not a timestamp equals no other spelling of one; 0 and 1 equal booleans in Python.
    """
    if not isinstance(condition, Compare) or condition.operator != "eq" or len(condition.path) != 1:
        return None
    value = condition.value
    if isinstance(value, str):
        plain = condition.path == ID or _is_plain(value)
    else:
        plain = isinstance(value, int | float) and value not in (0, 1) and abs(value) < 2**63
    return (condition.path[0], value) if plain and not isinstance(value, tuple) else None


def _is_plain(text: str) -> bool:
    """Whether only strings identical to ``text`` equal it."""
    return canonical(text) is None and "\1" not in text


def _equals(name: str, value: Scalar) -> Test:
    return lambda row: bool(row.get(name) == value)


def _comparison(compare: Compare) -> Test:
    path, operator, value = compare.path, compare.operator, compare.value
    plain = _plain(compare)
    if plain is not None:
        return _equals(*plain)
    get = getter(path)
    read = form_of(path)
    if operator == "in" or operator == "eq":
        return _one_of(get, read, value if isinstance(value, tuple) else (value,))
    assert not isinstance(value, tuple)
    if operator in _TESTS:
        return _range(get, read, _TESTS[operator], value)
    return _text_test(get, operator, value, path == ID)


def _one_of(get: Callable[[Row], Any], read: Callable[[Any], Any], values: Iterable[Scalar]) -> Test:
    wanted = frozenset(_typed(values))
    texts = frozenset(value for _, value in wanted if isinstance(value, str) and _is_plain(value))
    if len(texts) == len(wanted):  # no other spelling can match

        def among(row: Row) -> bool:
            value = get(row)
            return type(value) is str and value in texts

        return among

    def equal(row: Row) -> bool:
        value = read(get(row))
        kind = type(value)
        if kind is str or value is None or kind is int or kind is float:
            return (False, value) in wanted
        return kind is bool and (True, value) in wanted

    return equal


def _range(get: Callable[[Row], Any], read: Callable[[Any], Any], test: Callable[[Any, Any], bool], end: Any) -> Test:
    if isinstance(end, str):

        def text_within(row: Row) -> bool:
            value = get(row)
            return type(value) is str and test(read(value), end)

        return text_within

    def within(row: Row) -> bool:
        value = form(get(row))
        kind = type(value)
        return (kind is int or kind is float) and test(value, end)

    return within


def _text_test(get: Callable[[Row], Any], operator: str, value: Scalar, named: bool) -> Test:
    text = as_written(value) if isinstance(value, str) else None
    element = form(value)

    def holds(row: Row) -> bool:
        found = get(row)
        if isinstance(found, str):
            if text is None:
                return False
            if not named:
                found = as_written(found)
            if operator == "startsWith":
                return found.startswith(text)
            return found.endswith(text) if operator == "endsWith" else text in found
        return operator == "contains" and isinstance(found, list | tuple) and any(map(equal, found))

    def equal(item: Any) -> bool:
        item = form(item)
        return isinstance(item, bool) == isinstance(element, bool) and bool(item == element)

    return holds


def as_written(text: str) -> str:
    """A string as ``contains``, ``startsWith`` and ``endsWith`` see it: like :func:`form`, but never a timestamp."""
    return text.replace("\0", "\1") if "\0" in text else text


class _Falling:
    """A string that sorts in descending order."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __lt__(self, other: _Falling) -> bool:
        return other.text < self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Falling) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)
