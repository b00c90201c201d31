"""Entity events as one subscriber may see them, and several of them as one. Pure.

What leaves a row filter is deleted for who looks through it, what enters it is created.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from collab.access.identity import Access, Identity
from collab.event import EntityEvent, EventType
from collab.names import RoomKey
from collab.query.match import compile_where
from collab.query.query import EVERYTHING, Condition

RECORD = frozenset({"id", "createdAt", "updatedAt"})
"""Members of ``data`` that are the record's. Selecting them does not make an event arrive."""

MOST_PATHS = 100
"""Places in one content root that are told apart; beyond, the whole root is named."""


class EntityView:
    """A row filter and a selection of fields; with ``identity``, permissions are told as well.

    Views of one :attr:`key` see the same.
    """

    __slots__ = ("_fields", "_identity", "_matches", "key")

    def __init__(self, where: Condition, fields: Sequence[str] | None = None, identity: Identity | None = None) -> None:
        self._fields = None if fields is None else frozenset(fields)
        self._identity = identity
        self._matches: Callable[[Mapping[str, Any]], bool] | None = (
            None if where == EVERYTHING else compile_where(where)
        )
        # repr() and not equality: 1 == 1.0 == True, but they are not the same condition
        who = None if identity is None else repr(identity.rules)
        self.key = (repr(where), self._fields, who)

    def see(self, event: EntityEvent) -> EntityEvent | None:
        """The event as it is seen; ``None`` if nothing of it is."""
        if self._matches is not None:
            seen = self._filter(event, self._matches)
            if seen is None:
                return None
            event = seen
        return event if self._fields is None else self._select(event, self._fields)

    def permissions(self, project: str, event: EntityEvent) -> dict[str, bool] | None:
        """What may be done with the entity after the event, if that is to be told."""
        if self._identity is None:
            return None
        access = self._identity.access_to_row(RoomKey(project, event.collection, event.id), event.data)
        return {"read": access >= Access.READ, "write": access >= Access.WRITE}

    def _filter(self, event: EntityEvent, matches: Callable[[Mapping[str, Any]], bool]) -> EntityEvent | None:
        before = event.type in ("updated", "deleted") and matches(data_before(event))
        after = event.type != "deleted" and matches(event.data)
        if after:
            if before or event.type != "updated":
                return event
            values = {name: {"to": value} for name, value in event.data.items() if name not in RECORD}
            return msgspec.structs.replace(event, type="created", changes=values, conflicts=())
        if not before:
            return None
        if event.type == "deleted" and matches(event.data):
            return event
        # not even who did it: that is of the row as it is now
        return msgspec.structs.replace(
            event, type="deleted", data={"id": event.id}, changes={}, user_id=None, conflicts=()
        )

    def _select(self, event: EntityEvent, fields: frozenset[str]) -> EntityEvent | None:
        changes = {name: change for name, change in event.changes.items() if name in fields}
        conflicts = tuple(conflict for conflict in event.conflicts if conflict.field in fields)
        if event.type == "updated" and not changes and not conflicts and not fields <= RECORD:
            return None
        data = {name: value for name, value in event.data.items() if name in fields or name == "id"}
        return msgspec.structs.replace(event, data=data, changes=changes, conflicts=conflicts)


def data_before(event: EntityEvent) -> dict[str, Any]:
    """The fields as they were before an event, from what it says it changed. ``updatedAt`` is that of after it."""
    data = dict(event.data)
    for name, change in event.changes.items():
        if "from" in change:
            data[name] = change["from"]
        elif "to" in change:
            data.pop(name, None)
    return data


def conflate(older: EntityEvent, newer: EntityEvent) -> EntityEvent:
    """One event for two of one entity that follow each other: the newest data, and all that changed.

    Of a field both ends are told. Of a content root it is only told where it changed, for deltas of before and after
    do not add up to one.
    """
    kind: EventType = newer.type
    if newer.type == "updated" and older.type in ("created", "restored"):
        kind = older.type
    changes = dict(older.changes)
    for name, change in newer.changes.items():
        changes[name] = _both(changes[name], change) if name in changes else change
    if newer.type == "deleted" and len(newer.data) == 1:
        changes = {}  # it left the view: what it was is not told either
    return msgspec.structs.replace(
        newer,
        type=kind,
        changes=changes,
        conflicts=() if newer.type == "deleted" and len(newer.data) == 1 else (*older.conflicts, *newer.conflicts),
        conflated=older.conflated + newer.conflated,
    )


def _both(older: Mapping[str, Any], newer: Mapping[str, Any]) -> dict[str, Any]:
    if older.keys() <= {"from", "to"} and newer.keys() <= {"from", "to"}:
        merged = {"from": older["from"]} if "from" in older else {}
        return merged | ({"to": newer["to"]} if "to" in newer else {})
    paths: list[Any] = []
    for change in (older, newer):
        for path in change.get("paths", [[]]):  # a delta, or what was a field before: the whole root
            if path not in paths:
                paths.append(path)
    return {"paths": [[]] if [] in paths or len(paths) > MOST_PATHS else paths}
