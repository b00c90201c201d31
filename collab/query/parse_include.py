"""Parse and validate ``include``. The rules are I1 and following in docs/protocol.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collab.errors import InvalidRequest
from collab.query.include import MAX_INCLUDES, MAX_INCLUDING_ROWS, MAX_RELATED, Include
from collab.query.parse import MEMBERS, check_members, invalid, kind, parse_query
from collab.query.query import MAX_FIELDS, Query

_INCLUDE = "include"
_RELATED = ("where", "orderBy", "limit")
_FIELDS = "fields"


def parse_including(raw: Mapping[str, Any]) -> tuple[Query, tuple[Include, ...]]:
    """Read a query as :func:`collab.query.parse.parse_query` does, and its ``include``, by name.

    ``include`` is ``{relation: true}``, or ``{relation: {where, orderBy, limit, fields}}``. Raises
    :class:`InvalidRequest` with the path of the error: ``include.comments.limit: …``.
    """
    check_members("query", raw, (*MEMBERS, _INCLUDE))
    query = parse_query({name: value for name, value in raw.items() if name != _INCLUDE})
    includes = _includes(raw.get(_INCLUDE))
    if includes and query.limit is not None and query.limit > MAX_INCLUDING_ROWS:
        raise invalid("limit", f"must be from 1 to {MAX_INCLUDING_ROWS:,} in a query with include")
    return query, includes


def has_include(raw: Mapping[str, Any]) -> bool:
    """Whether a query includes anything, or says so in a wrong way."""
    include = raw.get(_INCLUDE)
    return any(said is not False for said in include.values()) if isinstance(include, Mapping) else include is not None


def without_include(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A query without its ``include``."""
    return {name: value for name, value in raw.items() if name != _INCLUDE}


def _includes(raw: Any) -> tuple[Include, ...]:
    if raw is None:
        return ()
    if not isinstance(raw, Mapping):
        raise invalid(_INCLUDE, f"must be an object like {{owner: true}}, not {kind(raw)}")
    wanted = {name: said for name, said in raw.items() if said is not False}
    if len(wanted) > MAX_INCLUDES:
        raise invalid(_INCLUDE, f"has at most {MAX_INCLUDES} relations")
    return tuple(_include(name, wanted[name]) for name in sorted(wanted, key=str))


def _include(name: Any, raw: Any) -> Include:
    place = f"{_INCLUDE}.{name}" if isinstance(name, str) and name.isprintable() else _INCLUDE
    if not isinstance(name, str):
        raise invalid(place, f"names of relations must be strings, not {kind(name)}")
    if raw is True:
        return Include(name)
    if not isinstance(raw, Mapping):
        raise invalid(place, f"must be true, or an object with any of {', '.join(_RELATED)}, fields; not {kind(raw)}")
    check_members(place, raw, (*_RELATED, _FIELDS))
    limit = raw.get("limit")
    if isinstance(limit, int) and not isinstance(limit, bool) and not 1 <= limit <= MAX_RELATED:
        raise invalid(f"{place}.limit", f"must be from 1 to {MAX_RELATED:,}")
    try:
        query = parse_query({member: raw[member] for member in _RELATED if member in raw})
    except InvalidRequest as error:
        raise InvalidRequest(f"{place}.{error.message}") from None
    return Include(name, query, _fields(raw.get(_FIELDS), f"{place}.{_FIELDS}"))


def _fields(raw: Any, place: str) -> tuple[str, ...] | None:
    if raw is None:
        return None
    if not isinstance(raw, list | tuple):
        raise invalid(place, f"must be a list of names, not {kind(raw)}")
    if not 0 < len(raw) <= MAX_FIELDS:
        raise invalid(place, f"must name 1 to {MAX_FIELDS} members")
    for at, name in enumerate(raw):
        if not isinstance(name, str):
            raise invalid(f"{place}[{at}]", f"must be a string, not {kind(name)}; it names a member")
    return tuple(raw)
