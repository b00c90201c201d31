"""A fact of the record: what happened to one entity, as applications are told it."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

EventType = Literal["created", "updated", "deleted", "restored"]


class Conflict(msgspec.Struct, frozen=True, rename="camel"):
    """Two writes to one field, of which neither author had seen the other's.

    ``yours`` is the write that is reported with this event, ``theirs`` the one that it met; ``winner`` says whose
    value the field has now. ``base`` is what both had seen before, ``None`` also if that is not known any more.
    ``user_id`` and ``at`` (RFC 3339) are of the write that it met.
    """

    field: str
    base: Any
    theirs: Any
    yours: Any
    winner: Literal["yours", "theirs"]
    user_id: str | None
    at: str | None


class EntityEvent(msgspec.Struct, frozen=True, rename="camel"):
    """One event. Versions of an entity rise by one from 1, positions rise over all entities of a database.

    ``data`` is the entity after the event, ``{id, ...fields, createdAt, updatedAt}``; of a deleted one, as it was
    last. ``changes`` maps each changed field to ``{"from": …, "to": …}`` (a missing side: the field was or is
    absent), each changed content root to ``{"delta": […]}`` or ``{"paths": […]}``. ``at`` is RFC 3339 in UTC.
    ``conflated`` is how many events this one stands for, to a subscriber who could not be sent each.
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
    conflicts: tuple[Conflict, ...] = ()
    conflated: int = 1
