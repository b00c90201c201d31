"""Convert Python values to JSON values, including queries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any, Generic

from typing_extensions import TypeVar

from collab.errors import InvalidRequest
from collab.json_values import scalar_fault
from collab.wire.realtime import encoding
from collab.wire.realtime.encoding import MAX_DEPTH
from collab.wire.realtime.messages import Message

M = TypeVar("M", bound=Message)
RowT = TypeVar("RowT", default=dict[str, Any])
"""A row."""
RelatedT = TypeVar("RelatedT", default=dict[str, Any])
"""What is related to a row, by the name of the relation."""

_QUERY_DEPTH = MAX_DEPTH - 4  # nesting of a query within a subscribe message


class Entity(dict[str, Any]):
    """An entity's data, ``{id, ...fields, createdAt, updatedAt}``, with its metadata as attributes."""

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


class Rows(list[RowT], Generic[RowT, RelatedT]):
    """Rows of a query, with their metadata as attributes.

    ``versions``, and ``permissions`` and ``included`` (if requested), are parallel to the rows; the version is 0 for a
    row that only this client knows so far. ``included`` has what is related to a row, by the name of the relation: a
    row or ``None``, or a list of rows. ``next`` is the ``after`` of the query for the next page, if there may be one.
    """

    versions: list[int]
    permissions: list[dict[str, bool]] | None
    included: list[RelatedT] | None
    next: str | None

    def __init__(self, rows: Iterable[RowT], versions: list[int]) -> None:
        super().__init__(rows)
        self.versions = versions
        self.permissions = None
        self.included = None
        self.next = None


def plain(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Convert ``value`` to JSON; datetimes become RFC 3339 strings, naive ones count as local time.

    Raises :class:`InvalidRequest`.
    """
    if isinstance(value, Enum):
        return plain(value.value, depth)
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping | list | tuple | Set):
        if depth == 0:
            raise InvalidRequest(f"more than {MAX_DEPTH} nested arrays and objects")
        if isinstance(value, Mapping):
            if not all(isinstance(key, str) for key in value):
                raise InvalidRequest("member names must be strings")
            return {plain(key): plain(member, depth - 1) for key, member in value.items()}
        return [plain(member, depth - 1) for member in value]
    fault = scalar_fault(value)
    if fault is not None:
        raise InvalidRequest(f"a value {fault}")
    for kind in (bool, str, int, float):  # a value of a subclass becomes one of these
        if isinstance(value, kind):
            return kind(value)
    return None


def plain_object(value: Mapping[str, Any], depth: int = MAX_DEPTH - 1) -> dict[str, Any]:
    """As :func:`plain`, for an object inside a message, which counts as one more level."""
    if not isinstance(value, Mapping):
        raise InvalidRequest(f"an object is required, not a {type(value).__name__}")
    made: dict[str, Any] = plain(value, depth)
    return made


def moment(value: datetime) -> str:
    """Format a datetime as RFC 3339 in UTC, with milliseconds, or microseconds if needed."""
    utc = value.astimezone(UTC)
    fraction = f"{utc.microsecond // 1000:03d}" if utc.microsecond % 1000 == 0 else f"{utc.microsecond:06d}"
    return f"{utc:%Y-%m-%dT%H:%M:%S}.{fraction}Z"


def read_query(given: Mapping[str, Any]) -> tuple[dict[str, Any], Callable[[], object] | None]:
    """Split a query or an aggregate into the server's form and its ``condition``. ``order_by`` and
    ``group_by`` may be written ``orderBy`` and ``groupBy`` too.

    Raises :class:`InvalidRequest`.
    """
    if not isinstance(given, Mapping):
        raise InvalidRequest(f"a query must be an object, not a {type(given).__name__}")
    raw = dict(given)
    condition = raw.pop("condition", None)
    if condition is not None and not callable(condition):
        raise InvalidRequest("condition is not a function")
    for name, meant in (("order_by", "orderBy"), ("group_by", "groupBy")):
        if name in raw:
            raw[meant] = raw.pop(name)
    if isinstance(raw.get("include"), Mapping):
        raw["include"] = {relation: _read_include(said) for relation, said in raw["include"].items()}
    return plain_object(raw, _QUERY_DEPTH), condition


def _read_include(said: Any) -> Any:
    if not isinstance(said, Mapping):
        return said
    return {"orderBy" if name == "order_by" else name: value for name, value in said.items()}


def checked(message: M) -> M:
    """Return a message as the server will read it. Raises :class:`InvalidRequest` if the server would refuse it.

    Other messages would suffer too: the server refuses what it cannot read as a whole.
    """
    try:
        read = encoding.decode_client(encoding.encode_json(message))
    except InvalidRequest as error:
        raise InvalidRequest(error.message) from None
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"not a message: {error}") from None
    assert isinstance(read, type(message))
    return read
