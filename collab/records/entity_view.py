"""Filter entity events for one subscriber, and merge several into one. Pure.

For a subscriber with a row filter, a row that leaves the filter counts as deleted, one that enters it as created.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from collab.access.identity import Identity
from collab.access.rules import Access
from collab.event import RECORD_MEMBERS, EntityEvent, EventType
from collab.json_values import same
from collab.names import RoomKey
from collab.query.match import ID, compile_where, paths_of
from collab.query.query import EVERYTHING, Condition

"""Metadata in ``data``. Selecting only these does not make an event arrive."""

MOST_PATHS = 100
"""Maximum number of distinct paths in one content root; beyond that the event names the whole root."""


class EntityView:
    """A row filter and a selection of fields; with ``identity``, permissions are included.

    Views with the same :attr:`key` are equivalent.
    """

    __slots__ = ("_fields", "_identity", "_matches", "_may_change", "key")

    def __init__(self, where: Condition, fields: Sequence[str] | None = None, identity: Identity | None = None) -> None:
        self._fields = None if fields is None else frozenset(fields)
        self._identity = identity
        self._matches: Callable[[Mapping[str, Any]], bool] | None = (
            None if where == EVERYTHING else compile_where(where)
        )
        self._may_change = any(path != ID for path in paths_of(where))  # an id never changes
        # repr(), not equality: 1 == 1.0 == True, but they are different conditions
        who = None if identity is None else repr(identity.rules)
        self.key = (repr(where), self._fields, who)

    def see(self, event: EntityEvent) -> EntityEvent | None:
        """Return the event as this view shows it; ``None`` if it shows nothing."""
        if self._matches is not None:
            seen = self._filter(event, self._matches)
            if seen is None:
                return None
            event = seen
        return event if self._fields is None else self._select(event, self._fields)

    def permissions(self, project: str, event: EntityEvent) -> dict[str, bool] | None:
        """Return the permissions on the entity after the event, if requested."""
        if self._identity is None:
            return None
        access = self._identity.access_to_row(RoomKey(project, event.collection, event.id), event.data)
        return {"read": access >= Access.READ, "write": access >= Access.WRITE}

    def _filter(self, event: EntityEvent, matches: Callable[[Mapping[str, Any]], bool]) -> EntityEvent | None:
        before = event.type != "created" and matches(data_before(event))
        after = event.type != "deleted" and matches(event.data)
        if after:
            if before or event.type == "created":
                return self._without_the_unseen(event) if event.conflicts and self._may_change else event
            values = {name: {"to": value} for name, value in event.data.items() if name not in RECORD_MEMBERS}
            return msgspec.structs.replace(event, type="created", changes=values, conflicts=())
        if not before or event.type == "restored":  # it was already reported as deleted
            return None
        if event.type == "deleted" and matches(event.data):
            return event
        # not even the author: that would describe the new row
        return msgspec.structs.replace(
            event, type="deleted", data={"id": event.id}, changes={}, user_id=None, conflicts=()
        )

    def _without_the_unseen(self, event: EntityEvent) -> EntityEvent:
        """Remove from conflicts what the view may not have shown: ``base``, and ``theirs`` unless it was seen."""
        conflicts = []
        for conflict in event.conflicts:
            name = conflict.field
            seen = same(conflict.theirs, event.data.get(name)) or same(conflict.theirs, data_before(event).get(name))
            conflicts.append(msgspec.structs.replace(conflict, base=None, theirs=conflict.theirs if seen else None))
        return msgspec.structs.replace(event, conflicts=tuple(conflicts))

    def _select(self, event: EntityEvent, fields: frozenset[str]) -> EntityEvent | None:
        changes = {name: change for name, change in event.changes.items() if name in fields}
        conflicts = tuple(conflict for conflict in event.conflicts if conflict.field in fields)
        if event.type == "updated" and not changes and not conflicts and not fields <= RECORD_MEMBERS:
            return None
        data = {name: value for name, value in event.data.items() if name in fields or name == "id"}
        return msgspec.structs.replace(event, data=data, changes=changes, conflicts=conflicts)


def data_before(event: EntityEvent) -> dict[str, Any]:
    """Reconstruct the fields before an event from its changes. ``updatedAt`` stays that of after the event."""
    data = dict(event.data)
    for name, change in event.changes.items():
        if "from" in change:
            data[name] = change["from"]
        elif "to" in change:
            data.pop(name, None)
    return data


def is_of_contents(change: Mapping[str, Any]) -> bool:
    """Whether a change of an event is of what the document says, and not of a field."""
    return "from" not in change and "to" not in change


def conflate(older: EntityEvent, newer: EntityEvent) -> EntityEvent:
    """Merge two consecutive events of one entity: the newest data, and all changes.

    A field keeps its first ``from`` and its last ``to``. A content root keeps only the changed paths, because deltas
    of different base states cannot be added up.
    """
    kind: EventType = newer.type
    if newer.type == "updated" and older.type in ("created", "restored"):
        kind = older.type
    changes = dict(older.changes)
    for name, change in newer.changes.items():
        changes[name] = _both(changes[name], change) if name in changes else change
    if newer.type == "deleted" and len(newer.data) == 1:
        changes = {}  # it left the view, so its earlier values stay hidden
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
        for path in change.get("paths", [[]]):  # a delta, or formerly a field: the whole root
            if path not in paths:
                paths.append(path)
    return {"paths": [[]] if [] in paths or len(paths) > MOST_PATHS else paths}
