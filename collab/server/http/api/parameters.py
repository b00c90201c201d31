"""Query parameters and headers of the API: each parsed and described in one place."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import msgspec
from starlette.requests import Request

from collab.errors import InvalidRequest
from collab.nearest import did_you_mean

ValueT = TypeVar("ValueT")

CREDENTIAL = "token"
"""The query parameter that may contain a credential, wherever one is required."""

_LARGEST = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Parameter(Generic[ValueT]):
    """One query parameter or header. ``schema`` is its JSON Schema."""

    name: str
    description: str
    schema: Mapping[str, Any]
    read: Callable[[str], ValueT]
    place: Literal["query", "header"] = "query"

    def of(self, request: Request) -> ValueT | None:
        """Return its value, ``None`` if it was not given. Raises :class:`InvalidRequest`."""
        given = (request.query_params if self.place == "query" else request.headers).get(self.name)
        if given is None:
            return None
        try:
            return self.read(given)
        except ValueError as error:
            raise InvalidRequest(f"{self.name}: {error}") from None


def check_names(request: Request, known: Collection[str]) -> None:
    """Reject query parameters that are not ``known``, or given twice. Raises :class:`InvalidRequest`."""
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        if name not in known and name != CREDENTIAL:
            raise InvalidRequest(f"{name[:100]}: unknown parameter{did_you_mean(name, known)}")
        if given.count(name) > 1:
            raise InvalidRequest(f"{name[:100]}: given more than once")


def _integer(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and int(text) <= _LARGEST):
        raise ValueError("must be an integer, at least 0")
    return int(text)


def _flag(text: str) -> bool:
    if text not in ("0", "1", "false", "true"):
        raise ValueError("must be 1 or 0")
    return text in ("1", "true")


def _where(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise ValueError("must be a JSON object") from None


def _order(text: str) -> list[dict[str, Any]]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        # read as a field name, another syntax for orders would have no effect
        if slip := _OTHER_ORDER.fullmatch(name):
            raise ValueError(f"must be fields, with - before a descending one, as in -{slip['name']}")
    return [{name.removeprefix("-"): "desc" if name.startswith("-") else "asc"} for name in names]


_OTHER_ORDER = re.compile(r"""[{\["]*(?P<name>[^{\[":\s]+)(["\s:]+(asc|desc)\W*|["}\]].*)""", re.IGNORECASE)


def _include(text: str) -> dict[str, Any]:
    return _where(text) if text.startswith("{") else dict.fromkeys(_names(text), True)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return text

    return read


def _version(text: str) -> int:
    """Read ``"5"``, as in ``ETag``. Proxies that compress the response turn it into ``W/"5"``."""
    text = text.removeprefix("W/")
    if not (len(text) >= 2 and text[0] == text[-1] == '"'):
        raise ValueError('must be a version in the form of ETag, like "5"')
    return _integer(text[1:-1])


_TEXT = {"type": "string"}
_INTEGER = {"type": "integer", "minimum": 0}
_FLAG = {"type": "string", "enum": ["0", "1", "false", "true"]}

WHERE = Parameter("where", "Conditions, as in a query: a JSON object.", _TEXT, _where)
SEARCH = Parameter("search", "Words to find, in the members that the collection declares for it.", _TEXT, str)
ORDER_BY = Parameter("orderBy", "Fields, separated by commas; - before a name: descending.", _TEXT, _order)
LIMIT = Parameter("limit", "Maximum number of results.", _INTEGER, _integer)
OFFSET = Parameter("offset", "Number of results to skip.", _INTEGER, _integer)
AFTER = Parameter("after", "The `next` of the previous page.", _TEXT, str)
INCLUDE = Parameter(
    "include", "Relations to include, separated by commas; or as in a query: a JSON object.", _TEXT, _include
)
FIELDS = Parameter("fields", "Fields to return, separated by commas.", _TEXT, _names)
GROUP_BY = Parameter("groupBy", "Fields to group by, separated by commas.", _TEXT, _names)
SUM = Parameter("sum", "Fields to add up, separated by commas.", _TEXT, _names)
AVG = Parameter("avg", "Fields to average, separated by commas.", _TEXT, _names)
MIN = Parameter("min", "Fields to return the minimum of, separated by commas.", _TEXT, _names)
MAX = Parameter("max", "Fields to return the maximum of, separated by commas.", _TEXT, _names)
PERMISSIONS = Parameter("includePermissions", "Whether to return the caller's permissions.", _FLAG, _flag)
CONTENT = Parameter("content", "Whether to return the content roots as plain values.", _FLAG, _flag)
VERSION = Parameter("version", "Return this version.", _INTEGER, _integer)
AT = Parameter("at", "Return the state at this time, RFC 3339.", {"type": "string", "format": "date-time"}, str)
BEFORE = Parameter("before", "Only versions before this one.", _INTEGER, _integer)
USER_ID = Parameter("userId", "Only those of this user.", _TEXT, str)
KIND = Parameter(
    "kind",
    "`entities`: events of entities; `rows`, `aggregate`: the rows of a query or the groups of an aggregate, and then "
    "their changes.",
    {"type": "string", "enum": ["entities", "rows", "aggregate"], "default": "entities"},
    _one_of("entities", "rows", "aggregate"),
)
ERASE = Parameter("erase", "Whether to erase it permanently; requires the right to write `system/erase`.", _FLAG, _flag)
ENTITY = Parameter("entity", "Only events of this entity.", {"type": "string", "default": "*"}, str)
IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "Key of a write, at most 64 ASCII characters: a write repeated with its key takes effect once.",
    {"type": "string", "minLength": 1, "maxLength": 64},
    str,
    "header",
)
IF_MATCH = Parameter(
    "If-Match",
    'The last version seen, in the form of ETag ("5"). Answers 409 if others have written these fields since.',
    _TEXT,
    _version,
    "header",
)
LAST_EVENT_ID = Parameter("Last-Event-ID", "Id of the last event received: resume after it.", _TEXT, str, "header")
