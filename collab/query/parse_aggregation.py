"""Parse and validate aggregates. The rules are G1 and following in docs/protocol.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collab.query.aggregate import MAX_GROUP_MEMBERS, MAX_MEASURES, Aggregation
from collab.query.parse import check_members, invalid, kind, member_path, parse_search, parse_where, quoted
from collab.query.query import EVERYTHING, MAX_DEPTH, Path

_MEMBERS = ("where", "search", "groupBy", "sum", "avg", "min", "max")
_PROTO = "__proto__"


def parse_aggregation(raw: Mapping[str, Any]) -> Aggregation:
    """Read ``{where, search, groupBy, sum, avg, min, max}``, all of them optional. ``groupBy`` and those behind it are
    a member's name, or a list of them.

    The order of members counts in ``groupBy`` only. The members to search in are still missing. Raises
    :class:`collab.errors.InvalidRequest` with the path of the error: ``sum[1]: …``.
    """
    check_members("aggregate", raw, _MEMBERS)
    return Aggregation(
        where=EVERYTHING if raw.get("where") is None else parse_where(raw["where"]),
        group_by=_paths(raw, "groupBy", MAX_GROUP_MEMBERS),
        sum=tuple(sorted(_paths(raw, "sum", MAX_MEASURES))),
        avg=tuple(sorted(_paths(raw, "avg", MAX_MEASURES))),
        min=tuple(sorted(_paths(raw, "min", MAX_MEASURES))),
        max=tuple(sorted(_paths(raw, "max", MAX_MEASURES))),
        search=parse_search(raw),
    )


def _paths(raw: Mapping[str, Any], name: str, most: int) -> tuple[Path, ...]:
    said = raw.get(name)
    if said is None:
        return ()
    if isinstance(said, str):
        said = [said]
    if not isinstance(said, list | tuple):
        raise invalid(name, f"must be the name of a member or a list of them, not {kind(said)}")
    if len(said) > most:
        raise invalid(name, f"has at most {most} members")
    paths: list[Path] = []
    for at, one in enumerate(said):
        place = f"{name}[{at}]"
        path = member_path(one, place)
        if len(path) > MAX_DEPTH:
            raise invalid(place, f"has more than {MAX_DEPTH} names")
        if path == (_PROTO,):
            raise invalid(place, f"an answer cannot have a member {_PROTO}")
        if path in paths:
            raise invalid(place, f"{quoted(one)} appears twice")
        paths.append(path)
    return tuple(paths)
