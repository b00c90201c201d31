"""One entity: its accepted fields, its record as of the next commit, and the last writer of each field. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import msgspec

from collab.dates import iso_micros
from collab.entities.stamps import Stamps
from collab.event import RECORD_MEMBERS, EntityEvent, EventType, FieldConflict
from collab.json_values import same
from collab.names import RoomKey
from collab.storage.base import EntityRow, Fact, IdempotencyKey, NewContents

"""Reserved members of an entity's data; a document field with such a name is not part of the data."""


class Absent:
    """The value of a missing field."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = Absent()


class Head(msgspec.Struct, array_like=True):
    """The newest write of a field: its version, its author, and the value before it."""

    version: int
    user_id: str | None
    at: float
    before: Any = None


class ConcurrentWrite(NamedTuple):
    """A write that its author made without having seen a concurrent one."""

    field: str
    yours: Any
    won: bool


class WriteOutcome(NamedTuple):
    """What the author of a write learns once it is committed."""

    data: dict[str, Any]
    version: int
    conflicts: tuple[FieldConflict, ...]


@dataclass(slots=True)
class Intent:
    """Additional data of an application's write.

    ``version`` is the last one of the entity that the application had seen; ``request`` its name for this write.
    ``told`` is called after the commit. ``alone``: its event holds nothing else. ``always``: it has an event even if it
    changes no field.
    """

    writer: str
    told: Callable[[WriteOutcome], None]
    version: int | None = None
    request: IdempotencyKey | None = None
    alone: bool = False
    always: bool = False


class Answer(NamedTuple):
    """What to tell the author of a write to an entity of ``project`` once it is committed."""

    project: str
    intent: Intent
    outcome: WriteOutcome


class EntityOp(NamedTuple):
    """The effect of one accepted change on one entity.

    ``changes`` are new values of fields (``ABSENT``: removed), or for ``content`` the changes of content roots.
    ``covered`` is the log row up to which content changes have become events with this one, and ``contents`` what the
    document says then, if that has changed.
    """

    kind: Literal["write", "delete", "restore", "content"]
    entity: EntityState
    user_id: str | None
    at: float
    changes: Mapping[str, Any] = {}
    met: Sequence[ConcurrentWrite] = ()
    intent: Intent | None = None
    covered: int = -1
    contents: NewContents | None = None


@dataclass(slots=True)
class _Draft:
    """An event under construction: the changes of one author in one flush."""

    type: EventType
    user_id: str | None
    at: float  # of its first change: everything before it in the record is older
    before: dict[str, Any]  # by changed field
    content: dict[str, Any] = field(default_factory=dict)
    conflicts: list[FieldConflict] = field(default_factory=list)
    contents: NewContents | None = None
    covered: int = -1
    row: int = -1
    request: IdempotencyKey | None = None
    place: int = -1  # index in the facts
    alone: bool = False
    always: bool = False
    told: list[tuple[Intent, tuple[FieldConflict, ...]]] = field(default_factory=list)


class EntityState:
    """``now`` are the accepted fields, ``alive`` whether the entity exists, both including uncommitted changes.

    ``fields``, ``version``, ``deleted`` and ``covered`` are as of the newest event. ``heads`` has the newest write of
    each field, and ``writers`` who made it, to distinguish the sessions of one user; nobody knows after the room was
    closed.
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
        "writers",
    )

    def __init__(self, key: RoomKey, row: EntityRow | None = None) -> None:
        self.key = key
        self.version = 0
        self.deleted = False
        self.fields: dict[str, Any] = {}
        self.heads: dict[str, Head] = {}
        self.writers: dict[str, str] = {}
        self.created_at = ""
        self.updated_at = ""
        self.covered = 0
        self.draft: _Draft | None = None
        if row is not None:
            self.version = row.version
            self.deleted = row.deleted
            self.fields = {name: value for name, value in row.data.items() if name not in RECORD_MEMBERS}
            self.created_at = row.data.get("createdAt", "")
            self.updated_at = row.data.get("updatedAt", "")
            self.heads = _heads.decode(row.heads) if row.heads else {}
            self.covered = row.content_seq
        self.now = dict(self.fields)
        self.alive = self.version > 0 and not self.deleted

    @property
    def data(self) -> dict[str, Any]:
        """The entity as of the newest event, ``{id, ...fields, createdAt, updatedAt}``."""
        # an editor may write a field with a reserved name: it is left out
        own = {"id": self.key.id, "createdAt": self.created_at, "updatedAt": self.updated_at}
        return {"id": self.key.id, **self.fields, **own}

    @property
    def current(self) -> dict[str, Any]:
        """The same, with the accepted fields."""
        return self.with_fields(self.now)

    def with_fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The entity as it would be with exactly these fields."""
        own = {"id": self.key.id}
        if self.created_at:
            own |= {"createdAt": self.created_at, "updatedAt": self.updated_at}
        return {"id": self.key.id, **fields, **own}

    def newest(self) -> EntityRow | None:
        """The storage row as of the newest event; ``None`` if there is no event."""
        return self.row(self.data) if self.version else None

    def row(self, data: dict[str, Any]) -> EntityRow:
        """The storage row for ``data``, which is :attr:`data`."""
        return EntityRow(self.key, self.version, data, self.deleted, _encoder.encode(self.heads), self.covered)

    def written_since(self, version: int, fields: Sequence[str], writer: str, user_id: str | None) -> list[str]:
        """Those of ``fields`` that somebody else has written after ``version``."""
        return [name for name in fields if self._is_newer(name, version, writer, user_id)]

    def _is_newer(self, name: str, version: int, writer: str, user_id: str | None) -> bool:
        head = self.heads.get(name)
        if head is None or head.version <= version:
            return False
        known = self.writers.get(name)
        return known != writer if known is not None else head.user_id != user_id or user_id is None

    def conflict(self, name: str, yours: Any, *, won: bool, version: int | None = None) -> FieldConflict:
        """The conflict of a write to ``name`` with the current value."""
        head = self.heads.get(name)
        known = head is not None and (version is None or head.version == version + 1)
        return FieldConflict(
            name,
            head.before if head is not None and known else None,
            _plain(self.fields.get(name)),
            _plain(yours),
            "yours" if won else "theirs",
            head.user_id if head is not None else None,
            iso_micros(head.at) if head is not None else None,
        )


def derive(batch: Sequence[tuple[int, Sequence[EntityOp]]], stamps: Stamps) -> tuple[list[Fact], list[Answer]]:
    """The events of one flush, and the answers to the authors of its writes.

    ``batch`` holds the accepted changes in order, each with the index of its log row, -1 for none. Entities advance to
    the versions in the facts. The times of the facts are strictly increasing.
    """
    facts: list[Fact | None] = []
    answers: list[Answer] = []
    touched: dict[RoomKey, EntityState] = {}
    for row, ops in batch:
        for op in ops:
            touched[op.entity.key] = op.entity
            _take(op, row, stamps, facts, answers)
    for entity in touched.values():
        _close(entity, facts, answers)
    return [fact for fact in facts if fact is not None], answers


def _take(op: EntityOp, row: int, stamps: Stamps, facts: list[Fact | None], answers: list[Answer]) -> None:
    entity, intent = op.entity, op.intent
    if op.kind == "content" and entity.deleted:
        return  # written before the deletion, but computed after it: it must not restore the entity
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
        or draft.alone
        or (intent is not None and intent.alone)
        or (op.kind == "content" and not draft.content.keys().isdisjoint(op.changes))  # deltas cannot be merged
        or not (kind == draft.type or (kind == "updated" and draft.type in {"created", "restored"}))
    ):
        _close(entity, facts, answers)
        if entity.version and kind == "created":
            kind = "updated"
        draft = entity.draft = _Draft(kind, op.user_id, stamps.next(op.at), {}, place=len(facts))
        facts.append(None)
    draft.row = max(draft.row, row)
    draft.covered = max(draft.covered, op.covered)
    if op.contents is not None:
        draft.contents = op.contents
    if kind == "deleted":
        entity.deleted = True
    elif kind == "restored":
        entity.deleted = False
    conflicts = _write(entity, draft, op)
    if intent is not None:
        draft.request = draft.request or intent.request
        draft.alone = draft.alone or intent.alone
        draft.always = draft.always or intent.always
        draft.told.append((intent, conflicts))


def _write(entity: EntityState, draft: _Draft, op: EntityOp) -> tuple[FieldConflict, ...]:
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
        entity.heads[name] = Head(version, op.user_id, draft.at, _plain(old))
        if intent is not None:
            entity.writers[name] = intent.writer
        else:
            entity.writers.pop(name, None)
    return tuple(conflicts)


def _close(entity: EntityState, facts: list[Fact | None], answers: list[Answer]) -> None:
    draft, entity.draft = entity.draft, None
    if draft is None:
        return
    changes: dict[str, dict[str, Any]] = {}
    for name, old in draft.before.items():
        new = entity.fields.get(name, ABSENT)
        if name in RECORD_MEMBERS or same(old, new):
            continue
        change = {}
        if old is not ABSENT:
            change["from"] = old
        if new is not ABSENT:
            change["to"] = new
        changes[name] = change
    changes.update(draft.content)
    if changes or draft.conflicts or draft.type != "updated" or draft.always:
        entity.version += 1
        entity.updated_at = at = iso_micros(draft.at)
        entity.created_at = entity.created_at or at
        entity.covered = max(entity.covered, draft.covered)
        data = entity.data
        event = EntityEvent(
            0,
            draft.type,
            entity.key.collection,
            entity.key.id,
            entity.version,
            data,
            changes,
            draft.user_id,
            at,
            tuple(draft.conflicts),
        )
        facts[draft.place] = Fact(entity.row(data), event, draft.at, draft.row, draft.request, draft.contents)
    if draft.told:
        data, project = entity.data, entity.key.project
        for intent, conflicts in draft.told:
            answers.append(Answer(project, intent, WriteOutcome(data, entity.version, conflicts)))


def _plain(value: Any) -> Any:
    return None if value is ABSENT else value


_encoder = msgspec.msgpack.Encoder()
_heads = msgspec.msgpack.Decoder(dict[str, Head])
