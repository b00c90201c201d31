"""What a request says beside its body: parameters and headers, read and described once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import msgspec
from starlette.requests import Request

from collab.errors import InvalidRequest

Value = TypeVar("Value")

_LARGEST = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Parameter(Generic[Value]):
    """One parameter of the query, or a header. ``schema`` is its JSON Schema."""

    name: str
    description: str
    schema: Mapping[str, Any]
    read: Callable[[str], Value]
    place: Literal["query", "header"] = "query"

    def of(self, request: Request) -> Value | None:
        """Its value, ``None`` if it was not given. Raises :class:`InvalidRequest`."""
        given = (request.query_params if self.place == "query" else request.headers).get(self.name)
        if given is None:
            return None
        try:
            return self.read(given)
        except ValueError as error:
            raise InvalidRequest(f"{self.name}: {error}") from None


def _integer(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 16 and int(text) <= _LARGEST):
        raise ValueError("a whole number, from 0")
    return int(text)


def _flag(text: str) -> bool:
    if text not in ("0", "1", "false", "true"):
        raise ValueError("1 or 0")
    return text in ("1", "true")


def _where(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        raise ValueError("a JSON object") from None


def _order(text: str) -> list[dict[str, Any]]:
    names = [name.strip() for name in text.split(",")]
    return [{name.removeprefix("-"): "desc" if name.startswith("-") else "asc"} for name in names]


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"one of {', '.join(words)}")
        return text

    return read


def _version(text: str) -> int:
    """``"5"``, as it comes in ``ETag``."""
    if not (len(text) >= 2 and text[0] == text[-1] == '"'):
        raise ValueError('a version as the header ETag has it, like "5"')
    return _integer(text[1:-1])


_TEXT = {"type": "string"}
_INTEGER = {"type": "integer", "minimum": 0}
_FLAG = {"type": "string", "enum": ["0", "1", "false", "true"]}

WHERE = Parameter("where", "Conditions as in a query, a JSON object.", _TEXT, _where)
ORDER_BY = Parameter("orderBy", "Fields, with commas between them; - before a name: falling.", _TEXT, _order)
LIMIT = Parameter("limit", "At most so many.", _INTEGER, _integer)
OFFSET = Parameter("offset", "Leave so many out first.", _INTEGER, _integer)
AFTER = Parameter("after", "What `next` said: the page behind it.", _TEXT, str)
FIELDS = Parameter("fields", "Only these fields, with commas between them.", _TEXT, _names)
PERMISSIONS = Parameter("includePermissions", "Whether to say what the caller may do.", _FLAG, _flag)
CONTENT = Parameter("content", "Whether to give the content roots as plain values.", _FLAG, _flag)
VERSION = Parameter("version", "As it was in this version.", _INTEGER, _integer)
AT = Parameter("at", "As it was then, RFC 3339.", {"type": "string", "format": "date-time"}, str)
BEFORE = Parameter("before", "Only versions below this one.", _INTEGER, _integer)
KIND = Parameter(
    "kind",
    "`entities`: what happens to entities; `rows`: the rows of a query, then how they change.",
    {"type": "string", "enum": ["entities", "rows"], "default": "entities"},
    _one_of("entities", "rows"),
)
ENTITY = Parameter("entity", "Events of this one only.", {"type": "string", "default": "*"}, str)
IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "Names a write, in at most 64 ASCII characters: sent again, it has effect once.",
    {"type": "string", "minLength": 1, "maxLength": 64},
    str,
    "header",
)
IF_MATCH = Parameter(
    "If-Match",
    'The version seen last, as ETag had it ("5"): answers 409 if others have written these fields since.',
    _TEXT,
    _version,
    "header",
)
LAST_EVENT_ID = Parameter("Last-Event-ID", "The id of the last event seen: goes on behind it.", _TEXT, str, "header")
