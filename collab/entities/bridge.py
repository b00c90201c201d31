"""Translates the gate's field writes into changes of entities: the document's own, and those inside it.

The root map ``fields`` is the document's own entity. In a root that is mapped to a collection, each child map is an
entity of that collection, with the id ``<id of the document>:<key of the child>``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pycrdt

from collab.entities.entity import ABSENT, ConcurrentWrite, EntityOp, EntityState, Intent
from collab.gate.fields import NESTED, Write
from collab.json_values import plain, same
from collab.names import RoomKey, is_part
from collab.storage.base import EntityRow

FIELDS = "fields"

ValueReader = Callable[[str, str | None, str | None], Any]
"""Root, child, key -> the current value in the document as JSON, or ``ABSENT``. Called for nested types only."""


class RowChange(NamedTuple):
    """What an edit would do to an entity: its row now (``None``: it does not exist), and then (``None``: deleted)."""

    key: RoomKey
    before: dict[str, Any] | None
    after: dict[str, Any] | None

    @property
    def is_none(self) -> bool:
        """Whether the row stays as it is."""
        return self.before is self.after

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The different rows."""
        rows = [self.before] if self.is_none else [self.before, self.after]
        return [row for row in rows if row is not None]


class Bridge:
    """The entities of one document. ``seq`` is its newest log row; content changes up to ``covered`` have events."""

    __slots__ = ("_children", "_mapped", "_noted", "covered", "edition", "key", "main", "seq")

    def __init__(
        self,
        key: RoomKey,
        row: EntityRow | None = None,
        children: Iterable[EntityRow] = (),
        mapped: Mapping[str, str] | None = None,
        seq: int = 0,
    ) -> None:
        self.key = key
        self.main = EntityState(key, row)
        self.seq = seq
        self.covered = self.main.covered
        self.edition = 0  # changes whenever an entity is written
        self._mapped = mapped or {}  # root -> collection
        self._noted = False
        self._children = {child.key: EntityState(child.key, child) for child in children}

    @property
    def exists(self) -> bool:
        """Whether anything was ever written here, committed or not."""
        return bool(self.seq or self.main.version or self._noted)

    def noted(self) -> None:
        """A change without a log row was recorded: from then on the entity exists."""
        self._noted = True

    def cover(self, seq: int) -> None:
        """The log rows up to ``seq`` need no more events."""
        self.covered = max(self.covered, seq)

    def owns(self, root: str) -> bool:
        """Whether a root holds entities rather than content."""
        return root == FIELDS or root in self._mapped

    @property
    def mapped(self) -> tuple[str, ...]:
        """The root maps whose entries are entities."""
        return tuple(self._mapped)

    @property
    def roots(self) -> tuple[str, ...]:
        """The root maps that hold entities."""
        return (FIELDS, *self._mapped)

    def rows_after(self, value: Mapping[str, Any]) -> list[RowChange]:
        """The entities that an edit affects, given the ``value`` of :attr:`roots` after it.

        The document's own entity is always included, also if the edit leaves it as it is.
        """
        after = value.get(FIELDS, {})
        current = self.main.current if self.exists else None
        stays = current is not None and same(plain(self.main.now), after)
        found = [RowChange(self.key, current, current if stays else self.main.with_fields(after))]
        for root, collection in self._mapped.items():
            there = value.get(root, {})
            known = [key.id.partition(":")[2] for key in self._children if key.collection == collection]
            for name in dict.fromkeys([*there, *known]):
                key = self._child_key(collection, name)
                change = self._child_after(key, there.get(name, ABSENT)) if key is not None else None
                if change is not None:
                    found.append(change)
        return found

    def _child_key(self, collection: str, name: str) -> RoomKey | None:
        """The entity at a key of a mapped root; ``None`` if nobody could name it."""
        key = RoomKey(self.key.project, collection, f"{self.key.id}:{name}")
        return key if name and is_part(key.id) else None

    def _child_after(self, key: RoomKey, value: Any) -> RowChange | None:
        entity = self._children.get(key) or EntityState(key)
        after = value if isinstance(value, dict) else {}
        if entity.alive and value is not ABSENT and same(plain(entity.now), after):
            return None
        if not entity.alive and value is ABSENT:
            return None
        current = entity.current if entity.alive else None
        return RowChange(key, current, None if value is ABSENT else entity.with_fields(after))

    def ops(
        self,
        writes: Sequence[Write],
        user_id: str | None,
        at: float,
        read: ValueReader,
        *,
        content: bool,
        intent: Intent | None = None,
    ) -> list[EntityOp]:
        """The operations of the next log row. ``content``: it also changes something other than entity fields."""
        first = not self.exists
        self.seq += 1
        covered = -1
        if not content and self.covered == self.seq - 1:
            self.covered = covered = self.seq
        ops: list[EntityOp] = []
        if writes:
            self.edition += 1
        if writes or first or intent is not None:
            own = [write for write in writes if write.root == FIELDS]
            for place, theirs in (_by_child(writes) if len(own) < len(writes) else {}).items():
                op = self._child(place, theirs, user_id, at, read)
                if op is not None:
                    ops.append(op._replace(intent=intent))
            if own or first or not ops:  # the author of this write must be notified, whatever the write did
                changes, met = _changes(self.main, own, read)
                ops.insert(0, EntityOp("write", self.main, user_id, at, changes, met, None if ops else intent, covered))
        return ops

    def inside(self) -> list[EntityState]:
        """The existing entities inside this document."""
        return [child for child in self._children.values() if child.alive]

    def left(self, children: Iterable[EntityState]) -> None:
        """Mark entities as deleted although the document still holds them: the document itself is deleted."""
        self.edition += 1
        for child in children:
            child.alive = False

    def restore_inside(
        self, places: Iterable[tuple[str, str]], user_id: str | None, at: float, read: ValueReader
    ) -> list[EntityOp]:
        """Restore a document's entities along with it: those at ``places``, each a root and a key."""
        self.edition += 1
        found = (
            self._child(place, [Write(*place, None, "set", NESTED, True, True, 0)], user_id, at, read)
            for place in places
        )
        return [op for op in found if op is not None]

    def row_inside(self, place: tuple[str, str], read: ValueReader) -> tuple[RoomKey, dict[str, Any]] | None:
        """The entity that the document holds at a root and a key, and the row that it would have if restored."""
        root, name = place
        key = self._child_key(self._mapped[root], name)
        change = self._child_after(key, read(root, name, None)) if key is not None else None
        return None if change is None else (change.key, change.rows[-1])

    def child(self, key: RoomKey) -> EntityState:
        """An entity inside this document, created if it is unknown."""
        entity = self._children.get(key)
        if entity is None:
            entity = self._children[key] = EntityState(key)
        return entity

    def _child(
        self, place: tuple[str, str], writes: Sequence[Write], user_id: str | None, at: float, read: ValueReader
    ) -> EntityOp | None:
        root, name = place
        key = self._child_key(self._mapped[root], name)
        if key is None:
            return None
        entity = self.child(key)
        if not entity.alive and all(write.key is None and write.kind == "delete" for write in writes):
            return None
        if any(write.key is None for write in writes):
            value = read(root, name, None)
            if value is ABSENT:
                if not entity.alive:
                    return None
                entity.alive = False  # it keeps its fields, to compare with when it is restored
                return EntityOp("delete", entity, user_id, at)
            now = value if isinstance(value, dict) else {}
            changes = {field: ABSENT for field in entity.now if field not in now}
            changes |= {field: item for field, item in now.items() if not same(entity.now.get(field, ABSENT), item)}
            entity.now = dict(now)
            entity.alive = True
            return EntityOp("write", entity, user_id, at, changes)
        if not entity.alive:
            return None  # its author had not seen the deletion, and nothing of the write is visible
        changes, met = _changes(entity, writes, read)
        return EntityOp("write", entity, user_id, at, changes, met)


def read_keys(doc: pycrdt.Doc[Any], root: str) -> list[str]:
    """The keys of a root map, sorted."""
    return sorted(doc.get(root, type=pycrdt.Map).keys())


def read_entry(doc: pycrdt.Doc[Any], root: str, child: str | None, key: str | None) -> Any:
    """An entry of a root map as JSON: ``key``, or ``key`` of its entry ``child``; ``ABSENT`` if there is none."""
    value: Any = doc.get(root, type=pycrdt.Map)
    for name in (child, key):
        if name is not None:
            if not isinstance(value, pycrdt.Map) or name not in value:
                return ABSENT
            value = value[name]
    return _shown(value)


def _shown(value: Any) -> Any:
    """A value of a document as JSON, with any nested shared types, like Yjs ``toJSON``."""
    # not to_py(): it raises for XML
    match value:
        case pycrdt.Map():
            return {key: _shown(item) for key, item in value.items()}
        case pycrdt.Array():
            return [_shown(item) for item in value]
        case _:
            return plain(value)  # a text becomes its characters, XML a string with tags


def _by_child(writes: Sequence[Write]) -> dict[tuple[str, str], list[Write]]:
    children: dict[tuple[str, str], list[Write]] = {}
    for write in writes:
        if write.child is not None:
            children.setdefault((write.root, write.child), []).append(write)
    return children


def _changes(
    entity: EntityState, writes: Sequence[Write], read: ValueReader
) -> tuple[dict[str, Any], list[ConcurrentWrite]]:
    """New values of fields, and the concurrent writes among them. Updates ``entity.now``."""
    changes: dict[str, Any] = {}
    met: list[ConcurrentWrite] = []
    for write in writes:
        name = write.key
        assert name is not None
        value = ABSENT if write.kind == "delete" else write.value
        if write.kind == "inside" or value is NESTED:
            value = read(write.root, write.child, name)
        if not write.seen:
            met.append(ConcurrentWrite(name, value, write.head))
        if write.head:
            changes[name] = value
            if value is ABSENT:
                entity.now.pop(name, None)
            else:
                entity.now[name] = value
    return changes, met
