"""What conditions and orders mean, on rows in memory. The same in SQL is :mod:`collab.storage.sqlite_query`.

A row is an entity's ``data``: JSON as Python has it. Values are compared in the form of :func:`form`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from math import isfinite
from operator import ge, gt, le, lt
from sys import float_info
from typing import Any, TypeAlias

from collab.dates import canonical
from collab.query.query import EVERYTHING, NOTHING, And, Compare, Condition, Not, Or, Order, Path, Place, Query, Scalar

Row: TypeAlias = Mapping[str, Any]
Test: TypeAlias = Callable[[Row], bool]

ID: Path = ("id",)
"""The one member whose texts are names: they are compared as they are written, never as points in time."""

NULL, FALSE, TRUE, NUMBER, TEXT, COMPOSITE = range(6)
"""Kinds of values, in the order that they have when rows are ordered."""

_INTEGERS = range(-(2**63), 2**63)
_TESTS: dict[str, Callable[[Any, Any], bool]] = {"lt": lt, "lte": le, "gt": gt, "gte": ge}


def form(value: Any) -> Any:
    """``value`` as it is compared.

    A point in time has its canonical form, U+0000 becomes U+0001 (databases end texts there), an integer beyond 64
    bits becomes a float, one beyond those the largest; what is not finite is null. Arrays and objects stay.
    """
    kind = type(value)
    if kind is str:
        return _moment(value) or as_written(value)
    if kind is int:
        return value if value in _INTEGERS else _as_float(value)
    if kind is float:
        return value if isfinite(value) else None
    return value


def form_of(path: Path) -> Callable[[Any], Any]:
    """The function that gives a value of the member at ``path`` its form."""
    return _name if path == ID else form


def comparable(value: Any) -> Any:
    """A JSON value with all in it in the form of :func:`form`; itself if that changes nothing."""
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
    """The member at ``path`` in the form of :func:`form`, ``None`` if it is missing."""
    return form_of(path)(_getter(path)(data))


def conjoin(*conditions: Condition) -> Condition:
    """All of ``conditions`` as one, as flat as possible."""
    parts: list[Condition] = []
    for condition in conditions:
        parts.extend(condition.parts if isinstance(condition, And) else (condition,))
    return parts[0] if len(parts) == 1 else And(tuple(parts)) if parts else EVERYTHING


def compile_where(condition: Condition) -> Test:
    """A function that says whether a row fulfils ``condition``."""
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


def sort_key(order_by: Iterable[Order]) -> Callable[[Row], Any]:
    """A function that gives each row a key; rising keys are the order, to the last tie (``id``).

    A row that holds an empty array stands where any array or object does (:data:`collab.query.query.Place`).
    """
    keys = [(_getter(order.path), form_of(order.path), order.descending) for order in order_by]
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
    """Which of the kinds a value in the form of :func:`form` is."""
    if isinstance(value, str):
        return TEXT
    if value is None:
        return NULL
    if isinstance(value, bool):
        return TRUE if value else FALSE
    return NUMBER if isinstance(value, int | float) else COMPOSITE


def select(rows: Iterable[dict[str, Any]], query: Query) -> list[dict[str, Any]]:
    """What ``query`` selects of ``rows``, in its order."""
    where = query.where if query.after is None else conjoin(query.where, behind(query.after, query.order_by))
    found = sorted(filter(compile_where(where), rows), key=sort_key(query.order_by))
    return found[query.offset :][: query.limit]


def behind(after: tuple[str, Sequence[Place]], order_by: Sequence[Order]) -> Condition:
    """The rows that come after a place in an order."""
    name, values = after
    rest: Condition = Compare(ID, "gt", name)
    for order, value in reversed(list(zip(order_by, values, strict=True))):
        farther = _below(order.path, value) if order.descending else _above(order.path, value)
        rest = Or((farther, conjoin(_same(order.path, value), rest)))
    return rest


def equalities(condition: Condition) -> Mapping[Path, tuple[Scalar, ...]]:
    """Members that must equal one of these values in any row that fulfils ``condition``.

    ``None`` among the values is null or missing. No value at all: no row can fulfil it.
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


def _is_number(path: Path) -> Condition:
    return Compare(path, "gte", -float_info.max)


def _is_text(path: Path) -> Condition:
    return Compare(path, "gte", "")


def _simple(path: Path) -> Condition:
    """Whether it is null, missing, or a boolean."""
    return Compare(path, "in", (None, False, True))


def _same(path: Path, value: Place) -> Condition:
    if isinstance(value, tuple):
        return Not(Or((_simple(path), _is_number(path), _is_text(path))))
    return Compare(path, "eq", value)


def _below(path: Path, value: Place) -> Condition:
    """What comes before ``value`` in a rising order."""
    lower: tuple[Scalar, ...] = (None, False, True)
    match kind_of(value):
        case kind if kind < NUMBER:
            return NOTHING if kind == NULL else Compare(path, "in", lower[:kind])
        case kind if kind == NUMBER and not isinstance(value, tuple):
            return Or((_simple(path), Compare(path, "lt", value)))
        case kind if kind == TEXT and not isinstance(value, tuple):
            return Or((_simple(path), _is_number(path), Compare(path, "lt", value)))
    return Or((_simple(path), _is_number(path), _is_text(path)))


def _above(path: Path, value: Place) -> Condition:
    """What comes behind ``value`` in a rising order."""
    if isinstance(value, tuple):
        return NOTHING
    return Not(Or((_below(path, value), _same(path, value))))


def _typed(values: Iterable[Scalar]) -> dict[tuple[bool, Scalar], Scalar]:
    """Values without doubles; ``True`` is not ``1``."""
    return {(isinstance(value, bool), value): value for value in values}


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return float_info.max if value > 0 else -float_info.max


def _moment(text: str) -> str | None:
    """The same as :func:`canonical`, at a tenth of its cost for texts that are written as our own moments are."""
    if len(text) != 24 or not _is_ours(text):
        return canonical(text)
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return None
    return text[:23] + "000Z"


def _is_ours(text: str) -> bool:
    marks = text[4] + text[7] + text[10] + text[13] + text[16] + text[19] + text[23]
    return marks == "--T::.Z" and text[0] != "0" and text[11:13] != "24"


def _name(value: Any) -> Any:
    return value if isinstance(value, str) else form(value)


def _getter(path: Path) -> Callable[[Row], Any]:
    """A function that reads the member as it is, ``None`` if it is missing."""
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
    """Name and value, if the condition is the same as ``row.get(name) == value``: no form and no type matters.

    A text that is no point in time equals no other spelling of one; 0 and 1 equal booleans in Python.
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
    """Whether the texts that equal ``text`` are written like it."""
    return canonical(text) is None and "\1" not in text


def _equals(name: str, value: Scalar) -> Test:
    return lambda row: bool(row.get(name) == value)


def _comparison(compare: Compare) -> Test:
    path, operator, value = compare.path, compare.operator, compare.value
    plain = _plain(compare)
    if plain is not None:
        return _equals(*plain)
    get = _getter(path)
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
    if len(texts) == len(wanted):  # then no other spelling matters

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
    """A text as ``contains``, ``startsWith`` and ``endsWith`` see it: like :func:`form`, but never a point in time."""
    return text.replace("\0", "\1") if "\0" in text else text


class _Falling:
    """A text in an order that falls."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __lt__(self, other: _Falling) -> bool:
        return other.text < self.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Falling) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)
