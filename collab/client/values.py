"""Values of Python as JSON values, queries included."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Set
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any

from collab.errors import InvalidRequest
from collab.wire.realtime import MAX_DEPTH

_QUERY_DEPTH = MAX_DEPTH - 4  # inside a target of a subscription of a list in a message


class Entity(dict[str, Any]):
    """An entity's data, ``{id, ...fields, createdAt, updatedAt}``, and what is known of it beside."""

    version: int
    deleted: bool
    conflicts: tuple[Any, ...]
    content: dict[str, Any] | None
    permissions: dict[str, bool] | None

    def __init__(self, data: Mapping[str, Any], version: int) -> None:
        super().__init__(data)
        self.version = version
        self.deleted = False
        self.conflicts = ()
        self.content = None
        self.permissions = None


class Rows(list[dict[str, Any]]):
    """Rows of a query, and what is known of them beside.

    ``versions`` and ``permissions`` (if they were asked for) go along with the rows, 0 as version of a row that only
    this client knows as yet. ``next`` is the ``after`` of the query for the next page, if there may be one.
    """

    versions: list[int]
    permissions: list[dict[str, bool]] | None
    next: str | None

    def __init__(self, rows: list[dict[str, Any]], versions: list[int]) -> None:
        super().__init__(rows)
        self.versions = versions
        self.permissions = None
        self.next = None


def plain(value: Any, depth: int = MAX_DEPTH) -> Any:
    """``value`` as JSON can hold it; points in time become RFC 3339 texts, naive ones count as local time.

    Raises :class:`InvalidRequest`.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return plain(value.value, depth)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidRequest(f"{value} is no JSON number")
        return float(value)
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, date):
        return value.isoformat()
    if depth == 0:
        raise InvalidRequest(f"more than {MAX_DEPTH} arrays and objects in each other")
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise InvalidRequest("names of members are texts")
        return {_text(key): plain(member, depth - 1) for key, member in value.items()}
    if isinstance(value, list | tuple | Set):
        return [plain(member, depth - 1) for member in value]
    raise InvalidRequest(f"a {type(value).__name__} is no JSON value")


def plain_object(value: Mapping[str, Any], depth: int = MAX_DEPTH - 1) -> dict[str, Any]:
    """:func:`plain` for what has to be an object, inside a message: that counts as one more level."""
    if not isinstance(value, Mapping):
        raise InvalidRequest(f"an object is wanted, not a {type(value).__name__}")
    made: dict[str, Any] = plain(value, depth)
    return made


def _text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidRequest("a text with half of a surrogate pair cannot be sent") from None
    return str(value)


def moment(value: datetime) -> str:
    """A point in time as RFC 3339 in UTC, with milliseconds, or microseconds if it has some."""
    utc = value.astimezone(UTC)
    fraction = f"{utc.microsecond // 1000:03d}" if utc.microsecond % 1000 == 0 else f"{utc.microsecond:06d}"
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{fraction}Z"


def read_query(given: Mapping[str, Any]) -> tuple[dict[str, Any], Callable[[], object] | None]:
    """A query as the server takes it, and its ``condition``. ``order_by`` may be written ``orderBy`` too.

    Raises :class:`InvalidRequest`.
    """
    if not isinstance(given, Mapping):
        raise InvalidRequest(f"a query is an object, not a {type(given).__name__}")
    raw = dict(given)
    condition = raw.pop("condition", None)
    if condition is not None and not callable(condition):
        raise InvalidRequest("condition is not a function")
    if "order_by" in raw:
        raw["orderBy"] = raw.pop("order_by")
    return plain_object(raw, _QUERY_DEPTH), condition
