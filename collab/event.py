"""Events of the record: what happened to one entity, as applications receive it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from collab.jsonable import Jsonable

RECORD_MEMBERS = frozenset({"id", "createdAt", "updatedAt"})
"""Members of an entity's data that the server writes."""

EventType = Literal["created", "updated", "deleted", "restored"]


class FieldConflict(msgspec.Struct, frozen=True, rename="camel"):
    """Two writes to one field whose authors had not seen each other's write.

    ``yours`` is the value of this event's write, ``theirs`` that of the other; ``winner`` says which one the field has
    now. ``base`` is the value that both had seen before, ``None`` if unknown. ``user_id`` and ``at`` belong to the
    other write's event.
    """

    field: str
    base: Any
    theirs: Any
    yours: Any
    winner: Literal["yours", "theirs"]
    user_id: str | None
    at: str | None


class EntityEvent(Jsonable, frozen=True, rename="camel"):
    """One event. ``version`` counts an entity's events from 1; ``position`` rises over all entities of a project.

    ``data`` is the entity after the event, ``{id, ...fields, createdAt, updatedAt}``; for ``deleted``, its last state.
    ``changes`` maps each changed field to ``{"from": …, "to": …}`` (no ``from`` or ``to``: the field was or is
    absent), each changed content root to ``{"delta": […]}`` or ``{"paths": […]}``. ``at`` is RFC 3339 in UTC.
    ``conflated`` is how many events this one stands for, if the subscriber was too slow to receive each.
    """

    position: int
    type: EventType
    collection: str
    id: str
    version: int
    data: dict[str, Any]
    changes: dict[str, dict[str, Any]]
    user_id: str | None
    at: str
    conflicts: tuple[FieldConflict, ...] = ()
    conflated: int = 1


def write_cursor(epoch: str, position: int) -> str:
    """Format a position as the cursor that clients store. ``epoch`` names what the positions belong to."""
    return f"{epoch}.{position}"


def read_cursor(epoch: str, cursor: str) -> int | None:
    """The position in a cursor; ``None`` if it is malformed or of another epoch."""
    theirs, dot, position = cursor.rpartition(".")
    if not dot or theirs != epoch or not (position.isascii() and position.isdigit() and len(position) <= 18):
        return None
    return int(position)
