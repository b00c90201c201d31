"""Parse and validate queries. The rules are Q1 and following in docs/protocol.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from collab.errors import InvalidRequest, printable
from collab.json_values import is_unicode, scalar_fault
from collab.nearest import did_you_mean
from collab.query.cursor import read_after
from collab.query.lookalikes import LOGIC, OPERATORS, logic_like, operator_like
from collab.query.match import conjoin, form_of
from collab.query.query import (
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_LIMIT,
    MAX_NAME,
    MAX_OFFSET,
    MAX_ORDERS,
    MAX_VALUES,
    And,
    Compare,
    Condition,
    Not,
    Or,
    Order,
    Path,
    Query,
    Scalar,
    Search,
    Words,
    spelled,
)
from collab.query.search import MAX_SEARCH, parse_words

MEMBERS = ("where", "search", "orderBy", "limit", "offset", "after")
"""The members of a query, without ``include``."""
_NEWEST_FIRST = (Order(("updatedAt",), descending=True),)
_MAX_OBJECTS = 32  # nesting depth; MAX_DEPTH limits logical operators


def parse_query(raw: Mapping[str, Any]) -> Query:
    """Read ``{where, search, orderBy, limit, offset, after}``, all of them optional.

    The members to search in are still missing in it. Rows that are searched come in the order of their last change,
    newest first, unless the query says otherwise.

    Raises :class:`InvalidRequest` with the path of the error: ``where.AND[1].total.gte: …``.
    """
    check_members("query", raw, MEMBERS)
    search = parse_search(raw)
    order_by: tuple[Order, ...] = () if search is None else _NEWEST_FIRST
    if raw.get("orderBy") is not None:
        order_by = _orders(raw["orderBy"])
    after = raw.get("after")
    if after is not None and not isinstance(after, str):
        raise invalid("after", f"must be a string (the next of a page), not {kind(after)}")
    return Query(
        where=parse_where(raw["where"]) if raw.get("where") is not None else And(()),
        order_by=order_by,
        limit=None if raw.get("limit") is None else _integer(raw["limit"], "limit", 1, MAX_LIMIT),
        offset=0 if raw.get("offset") is None else _integer(raw["offset"], "offset", 0, MAX_OFFSET),
        after=None if after is None else read_after(after, order_by),
        search=search,
    )


def check_members(place: str, raw: Any, members: Sequence[str]) -> None:
    """Raise :class:`InvalidRequest` unless ``raw`` is an object that has no others than these members."""
    if not isinstance(raw, Mapping):
        raise invalid(place, f"must be an object, not {kind(raw)}")
    for name in raw:
        if name not in members:
            meant = did_you_mean(str(name), members)
            raise invalid(place, f"has no member {quoted(name)}, only {', '.join(members)}{meant}")


def parse_where(raw: Mapping[str, Any], *, strict: bool = False) -> Condition:
    """Read the ``where`` of a query. Raises :class:`InvalidRequest` with the path of the error.

    ``strict``, for conditions that grant rights: a member of a member must be written with a dot (``{"profile.city":
    …}``), so that no misspelt operator can be taken for one; and nothing may be empty, because what is left of a
    condition whose value was undefined would match every row.
    """
    condition = _Reader(strict).conditions(raw, (), "where", 1)
    if depth(condition) > MAX_DEPTH:
        raise invalid("where", f"AND, OR and NOT are nested deeper than {MAX_DEPTH}")
    return condition


def depth(condition: Condition) -> int:
    """Nesting depth of ``AND``, ``OR`` and ``NOT``."""
    match condition:
        case And(parts) | Or(parts):
            return 1 + max(map(depth, parts), default=0)
        case Not(part):
            return 1 + depth(part)
    return 0


@dataclass(slots=True)
class _Reader:
    """State while reading one ``where``."""

    strict: bool
    comparisons: int = 0

    def conditions(self, raw: Any, path: Path, place: str, level: int) -> Condition:
        """Read an object whose members are conditions on members of ``path``."""
        if not isinstance(raw, Mapping):
            raise invalid(place, f"must be an object, not {kind(raw)}")
        if level > _MAX_OBJECTS:
            raise invalid(place, f"objects are nested deeper than {_MAX_OBJECTS}")
        if not raw:
            self._count_empty(place)
        parts: list[Condition] = []
        for name, value in raw.items():
            here = f"{place}.{_shown(name)}"
            if name in LOGIC:
                parts.append(self._logic(name, value, path, here, level))
            else:
                _check_meant(name, path, here)
                if path and self.strict:
                    written = _shown(_dotted((*path, *member_path(name, here))))
                    meant = did_you_mean(str(name), OPERATORS) or "."
                    raise invalid(here, f"is not an operator{meant} A member of this name is written '{written}'")
                parts.append(self._member(value, (*path, *member_path(name, here)), here, level))
        return conjoin(*parts)

    def _logic(self, name: str, raw: Any, path: Path, place: str, level: int) -> Condition:
        if isinstance(raw, list | tuple):
            if not raw:
                self._count_empty(place)
            parts = [self.conditions(part, path, f"{place}[{at}]", level + 1) for at, part in enumerate(raw)]
        elif name == "OR":
            raise invalid(place, f"must be a list of objects, not {kind(raw)}")
        else:
            parts = [self.conditions(raw, path, place, level + 1)]
        if name == "AND":
            return conjoin(*parts)
        if name == "NOT":
            return conjoin(*map(Not, parts))
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _member(self, raw: Any, path: Path, place: str, level: int) -> Condition:
        """Read the condition on the member at ``path``: a value, operators, or conditions on nested members."""
        if len(path) > MAX_DEPTH:
            raise invalid(place, f"has more than {MAX_DEPTH} names")
        if not isinstance(raw, Mapping):
            return self._compare(path, "eq", _scalar(raw, path, place), place)
        if not raw:
            raise invalid(place, "must not be an empty object")
        operators = sum(isinstance(name, str) and name in OPERATORS for name in raw)
        if not operators:
            return self.conditions(raw, path, place, level + 1)
        if operators < len(raw):
            other = next(name for name in raw if not isinstance(name, str) or name not in OPERATORS)
            meant = did_you_mean(str(other), OPERATORS)
            raise invalid(place, f"{quoted(other)} is not an operator, and stands beside one{meant}")
        if level >= _MAX_OBJECTS:
            raise invalid(place, f"objects are nested deeper than {_MAX_OBJECTS}")
        return conjoin(*(self._operator(name, raw[name], path, f"{place}.{name}", level + 1) for name in raw))

    def _operator(self, name: str, raw: Any, path: Path, place: str, level: int) -> Condition:
        match name:
            case "not":
                return Not(self._member(raw, path, place, level))
            case "in":
                return self._compare(path, "in", _values(raw, path, place), place)
            case "notIn":
                return Not(self._compare(path, "in", _values(raw, path, place), place))
            case "isNull":
                if not isinstance(raw, bool):
                    raise invalid(place, f"must be true or false, not {kind(raw)}")
                null = self._compare(path, "eq", None, place)
                return null if raw else Not(null)
            case "contains":
                return self._compare(path, name, _as_written(raw, place), place)
            case "startsWith" | "endsWith":
                if not isinstance(raw, str):
                    raise invalid(place, f"must be a string, not {kind(raw)}")
                return self._compare(path, name, _as_written(raw, place), place)
            case "lt" | "lte" | "gt" | "gte":
                end = _scalar(raw, path, place)
                if end is None or isinstance(end, bool):
                    raise invalid(place, f"must be a number or a string, not {kind(raw)}")
                return self._compare(path, name, end, place)
        raise AssertionError(name)

    def _compare(self, path: Path, operator: Any, value: Scalar | tuple[Scalar, ...], place: str) -> Condition:
        self._count(place)
        return Compare(path, operator, value)

    def _count_empty(self, place: str) -> None:
        if self.strict:
            raise invalid(place, "must not be empty")
        self._count(place)

    def _count(self, place: str) -> None:
        self.comparisons += 1
        if self.comparisons > MAX_CONDITIONS:
            raise invalid(place, f"a query has at most {MAX_CONDITIONS} conditions")


def parse_search(raw: Mapping[str, Any]) -> Search | None:
    """Read the ``search`` of a query or an aggregate, if it has one. The members to search in are still missing.

    Raises :class:`InvalidRequest`.
    """
    return None if raw.get("search") is None else Search(_words(raw["search"]))


def _words(raw: Any) -> Words:
    if not isinstance(raw, str):
        raise invalid("search", f"must be a string, not {kind(raw)}")
    if len(raw) > MAX_SEARCH:
        raise invalid("search", f"has more than {MAX_SEARCH} characters")
    try:
        return parse_words(raw)
    except ValueError as error:
        raise invalid("search", str(error)) from None


def _orders(raw: Any) -> tuple[Order, ...]:
    orders: list[Order] = []
    if isinstance(raw, list | tuple):
        for at, one in enumerate(raw):
            if not isinstance(one, Mapping) or not one:
                raise invalid(f"orderBy[{at}]", f"must be an object like {{name: 'asc'}}, not {kind(one)}")
            orders.extend(_order_keys(one, (), f"orderBy[{at}]", len(orders)))
    else:
        orders.extend(_order_keys(raw, (), "orderBy", 0))
    for at, order in enumerate(orders):
        for other in orders[:at]:
            size = min(len(order.path), len(other.path))
            if order.path[:size] == other.path[:size]:
                name = _shown(_dotted(order.path))
                raise invalid(f"orderBy.{name}", "a member may appear once in orderBy, and not beside its own members")
    return tuple(orders)


def _order_keys(raw: Any, path: Path, place: str, known: int) -> Iterator[Order]:
    if not isinstance(raw, Mapping):
        wanted = "'asc' or 'desc'" if path else "an object or a list of them"
        raise invalid(place, f"must be {wanted}, not {kind(raw)}")
    if path and not raw:
        raise invalid(place, "must not be an empty object")
    for name, value in raw.items():
        here = f"{place}.{_shown(name)}"
        inner = (*path, *member_path(name, here))
        if len(inner) > MAX_DEPTH:
            raise invalid(here, f"has more than {MAX_DEPTH} names")
        if value in ("asc", "desc"):
            known += 1
            if known > MAX_ORDERS:
                raise invalid(here, f"orderBy has at most {MAX_ORDERS} members")
            yield Order(inner, value == "desc")
        elif isinstance(value, str):
            raise invalid(here, f"must be 'asc' or 'desc', not {quoted(value)}")
        else:
            for order in _order_keys(value, inner, here, known):
                known += 1
                yield order


def member_path(raw: Any, place: str) -> Path:
    """Split ``profile.city`` into names. A backslash escapes the next character. Raises :class:`InvalidRequest`."""
    if not isinstance(raw, str):
        raise invalid(place, f"member names must be strings, not {kind(raw)}")
    if not is_unicode(raw):
        raise invalid(place, "contains a lone surrogate")
    if len(raw) > 2 * MAX_NAME * MAX_DEPTH:
        raise invalid(place, "is too long for member names")
    names, current = [], ""
    characters = iter(raw)
    for character in characters:
        if character == ".":
            names.append(current)
            current = ""
        elif character == "\\":
            escaped = next(characters, None)
            if escaped is None:
                raise invalid(place, "ends with a backslash, which escapes the next character")
            current += escaped
        else:
            current += character
    names.append(current)
    for name in names:
        if len(name) > MAX_NAME:
            raise invalid(place, f"a name has at most {MAX_NAME} characters")
        if "\0" in name:
            raise invalid(place, "a name must not contain U+0000")
    return tuple(names)


def _check_meant(name: Any, path: Path, place: str) -> None:
    """Reject names that look like operators but are not. A dotted or escaped name is always a plain name."""
    if not isinstance(name, str) or "." in name or "\\" in name:
        return
    meant = operator_like(name) if path else logic_like(name)
    if meant is not None:
        written = _shown(_dotted((*path, name)))
        hint = f"; did you mean {meant}?" if meant else ""
        raise invalid(place, f"is not an operator{hint or '.'} A member of this name is written '{written}'")


def _dotted(path: Path) -> str:
    """How to write a member as a name in ``where``. :func:`member_path` reads it."""
    text = spelled(path)
    return "\\" + text if text in LOGIC or (len(path) == 1 and logic_like(text) is not None) else text


def _values(raw: Any, path: Path, place: str) -> tuple[Scalar, ...]:
    if not isinstance(raw, list | tuple):
        raise invalid(place, f"must be a list, not {kind(raw)}")
    if len(raw) > MAX_VALUES:
        raise invalid(place, f"has more than {MAX_VALUES} values")
    return tuple(_scalar(value, path, f"{place}[{at}]") for at, value in enumerate(raw))


def _scalar(raw: Any, path: Path, place: str) -> Scalar:
    """Normalise a value to the form used for comparison."""
    value: Scalar = form_of(path)(_as_written(raw, place))
    return value


def _as_written(raw: Any, place: str) -> Scalar:
    if isinstance(raw, int):
        try:
            float(raw)
        except OverflowError:
            raise invalid(place, "is too large a number") from None
        return raw
    if isinstance(raw, datetime):
        if raw.tzinfo is None:
            raise invalid(place, "a datetime needs a time zone")
        try:
            return raw.astimezone(UTC).isoformat(timespec="microseconds")
        except OverflowError:
            raise invalid(place, "this datetime is out of range") from None
    if raw is None or isinstance(raw, str | float):
        fault = scalar_fault(raw)
        if fault is not None:
            raise invalid(place, fault)
        return raw
    raise invalid(place, f"must be a string, number, boolean, datetime or null, not {kind(raw)}")


def _integer(raw: Any, place: str, least: int, most: int) -> int:
    if not isinstance(raw, int) or isinstance(raw, bool):
        raise invalid(place, f"must be an integer, not {kind(raw)}")
    if not least <= raw <= most:
        raise invalid(place, f"must be from {least} to {most:,}")
    return raw


def invalid(place: str, message: str) -> InvalidRequest:
    """The error for a fault at ``place``."""
    return InvalidRequest(f"{place}: {message}")


def kind(raw: Any) -> str:
    """The kind of a JSON value, for messages."""
    match raw:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "an object"
    return type(raw).__name__


def _shown(name: Any) -> str:
    """A member's name for error messages: printable and truncated."""
    text = name if isinstance(name, str) else repr(name)
    return printable(text[:48] + "…" if isinstance(name, str) and len(text) > 48 else text[:48])


def quoted(name: Any) -> str:
    """A member's name in quotation marks, for messages."""
    return f"'{_shown(name)}'"
