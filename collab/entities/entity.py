"""One entity: its fields as accepted, its record as of the next commit, and who wrote each field last. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import msgspec

from collab.dates import iso
from collab.event import Conflict, EntityEvent, EventType
from collab.names import RoomKey
from collab.storage.base import EntityRow, Fact
from collab.wire.plain import same

OWN = frozenset({"id", "createdAt", "updatedAt"})
"""Members of an entity's data that are the record's: a field of this name is not part of it."""


class Absent:
    """The value of a field that is not there."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = Absent()


class Head(msgspec.Struct, array_like=True):
    """The newest write of a field: in which version, by whom, and what was there before.

    ``writer`` tells sessions of one user apart; it is not known any more after the room was closed.
    """

    version: int
    user_id: str | None
    at: float
    before: Any = None
    writer: str | None = None


class Met(NamedTuple):
    """A write that met one that its author had not seen."""

    field: str
    yours: Any
    won: bool


class Told(NamedTuple):
    """What the author of a write is told once it is committed."""

    data: dict[str, Any]
    version: int
    conflicts: tuple[Conflict, ...]


@dataclass(slots=True)
class Intent:
    """What an application said along with its write.

    ``version`` is the last one it had seen of the entity; ``request`` its name for this write. ``told`` is called after
    the commit.
    """

    writer: str
    told: Callable[[Told], None]
    version: int | None = None
    request: str | None = None


class Op(NamedTuple):
    """What one accepted change does to one entity.

    ``changes`` are new values of fields (``ABSENT``: removed), or for ``content`` what happened to content roots.
    ``covered`` is the log row up to which changes of content have become events with this one.
    """

    kind: Literal["write", "delete", "restore", "content"]
    entity: Entity
    user_id: str | None
    at: float
    changes: Mapping[str, Any] = {}
    met: Sequence[Met] = ()
    intent: Intent | None = None
    covered: int = -1


@dataclass(slots=True)
class _Draft:
    """An event in the making: what one author does in one flush."""

    type: EventType
    user_id: str | None
    at: float
    before: dict[str, Any]  # by changed field
    content: dict[str, Any] = field(default_factory=dict)
    conflicts: list[Conflict] = field(default_factory=list)
    row: int = -1
    request: str | None = None
    place: int = -1  # among the facts
    told: list[tuple[Intent, tuple[Conflict, ...]]] = field(default_factory=list)


class Entity:
    """``now`` are the fields as accepted, ``alive`` is whether it is there, likewise.

    ``fields``, ``version`` and ``deleted`` are as the newest event left them.
    """

    __slots__ = (
        "alive",
        "covered",
        "created_at",
        "deleted",
        "draft",
        "fields",
        "heads",
        "key",
        "now",
        "updated_at",
        "version",
    )

    def __init__(self, key: RoomKey, row: EntityRow | None = None) -> None:
        self.key = key
        self.version = 0
        self.deleted = False
        self.fields: dict[str, Any] = {}
        self.heads: dict[str, Head] = {}
        self.created_at = ""
        self.updated_at = ""
        self.covered = 0
        self.draft: _Draft | None = None
        if row is not None:
            self.version = row.version
            self.deleted = row.deleted
            self.fields = {name: value for name, value in row.data.items() if name not in OWN}
            self.created_at = row.data.get("createdAt", "")
            self.updated_at = row.data.get("updatedAt", "")
            self.heads = _heads.decode(row.heads) if row.heads else {}
            self.covered = row.content_seq
        self.now = dict(self.fields)
        self.alive = self.version > 0 and not self.deleted

    @property
    def data(self) -> dict[str, Any]:
        """The entity as the newest event left it, ``{id, ...fields, createdAt, updatedAt}``."""
        return {"id": self.key.id, **self.fields, "createdAt": self.created_at, "updatedAt": self.updated_at}

    def row(self) -> EntityRow:
        """The same for the storage."""
        heads = {
            name: head if head.writer is None else Head(head.version, head.user_id, head.at, head.before)
            for name, head in self.heads.items()
        }
        return EntityRow(self.key, self.version, self.data, self.deleted, _encoder.encode(heads), self.covered)

    def written_since(self, version: int, fields: Sequence[str], writer: str, user_id: str | None) -> list[str]:
        """Which of ``fields`` somebody else has written after ``version``."""
        return [name for name in fields if self._is_newer(name, version, writer, user_id)]

    def _is_newer(self, name: str, version: int, writer: str, user_id: str | None) -> bool:
        head = self.heads.get(name)
        if head is None or head.version <= version:
            return False
        return head.writer != writer if head.writer is not None else head.user_id != user_id or user_id is None

    def conflict(self, name: str, yours: Any, *, won: bool, version: int | None = None) -> Conflict:
        """A write to ``name`` that meets what is there now."""
        head = self.heads.get(name)
        known = head is not None and (version is None or head.version == version + 1)
        return Conflict(
            name,
            head.before if head is not None and known else None,
            _plain(self.fields.get(name)),
            _plain(yours),
            "yours" if won else "theirs",
            head.user_id if head is not None else None,
            iso(head.at) if head is not None else None,
        )


def derive(batch: Sequence[tuple[int, Sequence[Op]]]) -> tuple[list[Fact], list[tuple[Intent, Told]]]:
    """The events that one flush makes, and what to tell the authors of its writes once it is committed.

    ``batch`` are the accepted changes in order, each with the index of its log row, -1 for none. The entities move on
    to the versions that the facts give them.
    """
    facts: list[Fact | None] = []
    told: list[tuple[Intent, Told]] = []
    touched: dict[RoomKey, Entity] = {}
    for row, ops in batch:
        for op in ops:
            touched[op.entity.key] = op.entity
            _take(op, row, facts, told)
    for entity in touched.values():
        _close(entity, facts, told)
    return [fact for fact in facts if fact is not None], told


def _take(op: Op, row: int, facts: list[Fact | None], told: list[tuple[Intent, Told]]) -> None:
    entity, intent = op.entity, op.intent
    draft = entity.draft
    kind: EventType
    if op.kind == "delete":
        kind = "deleted"
    elif entity.version == 0 and (draft is None or draft.type == "created"):
        kind = "created"
    elif entity.deleted:
        kind = "restored"
    else:
        kind = "updated"
    new_request = intent is not None and intent.request is not None and draft is not None and draft.request is not None
    if (
        draft is None
        or draft.user_id != op.user_id
        or new_request
        or (op.kind == "content" and not draft.content.keys().isdisjoint(op.changes))  # deltas do not add up to one
        or not (kind == draft.type or (kind == "updated" and draft.type in {"created", "restored"}))
    ):
        _close(entity, facts, told)
        if entity.version and kind == "created":
            kind = "updated"
        draft = entity.draft = _Draft(kind, op.user_id, op.at, {}, place=len(facts))
        facts.append(None)
    draft.at = max(draft.at, op.at)
    draft.row = max(draft.row, row)
    if op.covered > entity.covered:
        entity.covered = op.covered
    if kind == "deleted":
        entity.deleted = True
    elif kind == "restored":
        entity.deleted = False
    conflicts = _write(entity, draft, op)
    if intent is not None:
        draft.request = draft.request or intent.request
        draft.told.append((intent, conflicts))


def _write(entity: Entity, draft: _Draft, op: Op) -> tuple[Conflict, ...]:
    if op.kind == "content":
        draft.content.update(op.changes)
        return ()
    intent = op.intent
    conflicts = [entity.conflict(met.field, met.yours, won=met.won) for met in op.met]
    base = intent.version if intent is not None else None
    if intent is not None and base is not None and entity.version:
        conflicts += [
            entity.conflict(name, op.changes[name], won=True, version=base)
            for name in entity.written_since(base, list(op.changes), intent.writer, op.user_id)
        ]
    draft.conflicts += conflicts
    version = entity.version + 1
    for name, value in op.changes.items():
        old = entity.fields.get(name, ABSENT)
        draft.before.setdefault(name, old)
        if value is ABSENT:
            entity.fields.pop(name, None)
        else:
            entity.fields[name] = value
        entity.heads[name] = Head(version, op.user_id, op.at, _plain(old), intent.writer if intent else None)
    return tuple(conflicts)


def _close(entity: Entity, facts: list[Fact | None], told: list[tuple[Intent, Told]]) -> None:
    draft, entity.draft = entity.draft, None
    if draft is None:
        return
    changes: dict[str, dict[str, Any]] = {}
    for name, old in draft.before.items():
        new = entity.fields.get(name, ABSENT)
        if name in OWN or same(old, new):
            continue
        change = {}
        if old is not ABSENT:
            change["from"] = old
        if new is not ABSENT:
            change["to"] = new
        changes[name] = change
    changes.update(draft.content)
    if changes or draft.conflicts or draft.type != "updated":
        entity.version += 1
        # to the millisecond that the event tells: who asks for the entity as of that moment gets this version
        seconds = round(draft.at, 3)
        entity.updated_at = at = iso(seconds)
        entity.created_at = entity.created_at or at
        event = EntityEvent(
            0,
            draft.type,
            entity.key.collection,
            entity.key.id,
            entity.version,
            entity.data,
            changes,
            draft.user_id,
            at,
            tuple(draft.conflicts),
        )
        facts[draft.place] = Fact(entity.row(), event, seconds, draft.row, draft.request)
    if draft.told:
        data = entity.data
        told += [(intent, Told(data, entity.version, conflicts)) for intent, conflicts in draft.told]


def _plain(value: Any) -> Any:
    return None if value is ABSENT else value


_encoder = msgspec.msgpack.Encoder()
_heads = msgspec.msgpack.Decoder(dict[str, Head])
