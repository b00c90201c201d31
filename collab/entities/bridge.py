"""From what the gate read in an update to what it did to entities: the one of the document, and those inside it.

The root map ``fields`` is the document's entity. In a root that a collection is mapped to, each child map is an entity
of that collection, named ``<id of the document>:<key of the child>``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pycrdt

from collab.entities.entity import ABSENT, Entity, Intent, Met, Op
from collab.names import RoomKey, is_part
from collab.storage.base import EntityRow
from collab.wire.fields import NESTED, Write
from collab.wire.plain import plain, same

FIELDS = "fields"

Read = Callable[[str, str | None, str | None], Any]
"""Root, child, key: what the CRDT holds there now, as JSON, ``ABSENT`` if nothing. Asked for nested types only."""


class Bridge:
    """The entities of one document. ``seq`` is its newest log row, ``covered`` up to where its content is in events."""

    __slots__ = ("_children", "_mapped", "covered", "key", "main", "seq")

    def __init__(
        self,
        key: RoomKey,
        row: EntityRow | None = None,
        children: Iterable[EntityRow] = (),
        mapped: Mapping[str, str] | None = None,
        seq: int = 0,
    ) -> None:
        self.key = key
        self.main = Entity(key, row)
        self.seq = seq
        self.covered = self.main.covered
        self._mapped = mapped or {}  # root -> collection
        self._children = {child.key: Entity(child.key, child) for child in children}

    @property
    def exists(self) -> bool:
        """Whether something was ever written here."""
        return bool(self.seq or self.main.version)

    def owns(self, root: str) -> bool:
        """Whether a root holds entities, not content."""
        return root == FIELDS or root in self._mapped

    def ops(
        self,
        writes: Sequence[Write],
        user_id: str | None,
        at: float,
        read: Read,
        *,
        content: bool,
        intent: Intent | None = None,
    ) -> list[Op]:
        """What the next log row does. ``content``: it also changes something that is no entity's field."""
        first = not self.exists
        self.seq += 1
        covered = -1
        if not content and self.covered == self.seq - 1:
            self.covered = covered = self.seq
        ops: list[Op] = []
        if writes or first or intent is not None:
            own = [write for write in writes if write.root == FIELDS]
            for place, theirs in (_by_child(writes) if len(own) < len(writes) else {}).items():
                op = self._child(place, theirs, user_id, at, read)
                if op is not None:
                    ops.append(op._replace(intent=intent))
            if own or first or not ops:  # whoever waits for this write is told, whatever it did
                changes, met = _changes(self.main, own, read)
                ops.insert(0, Op("write", self.main, user_id, at, changes, met, None if ops else intent, covered))
        return ops

    def child(self, key: RoomKey) -> Entity:
        """An entity inside this document, known or not."""
        entity = self._children.get(key)
        if entity is None:
            entity = self._children[key] = Entity(key)
        return entity

    def _child(
        self, place: tuple[str, str], writes: Sequence[Write], user_id: str | None, at: float, read: Read
    ) -> Op | None:
        root, name = place
        key = RoomKey(self.key.project, self._mapped[root], f"{self.key.id}:{name}")
        if not is_part(key.id):
            return None
        entity = self.child(key)
        if any(write.key is None for write in writes):
            value = read(root, name, None)
            if value is ABSENT:
                if not entity.alive:
                    return None
                entity.alive = False  # it keeps its fields: they are what it comes back with, or differs from
                return Op("delete", entity, user_id, at)
            now = value if isinstance(value, dict) else {}
            changes = {field: ABSENT for field in entity.now if field not in now}
            changes |= {field: item for field, item in now.items() if not same(entity.now.get(field, ABSENT), item)}
            entity.now = dict(now)
            entity.alive = True
            return Op("write", entity, user_id, at, changes)
        if not entity.alive:
            return None  # its author had not seen that it was deleted: nothing of it can be seen
        changes, met = _changes(entity, writes, read)
        return Op("write", entity, user_id, at, changes, met)


def read_entry(doc: pycrdt.Doc[Any], root: str, child: str | None, key: str | None) -> Any:
    """What a root map holds, as JSON: its entry ``key``, or that of its entry ``child``; ``ABSENT`` if nothing."""
    value: Any = doc.get(root, type=pycrdt.Map)
    for name in (child, key):
        if name is not None:
            if not isinstance(value, pycrdt.Map) or name not in value:
                return ABSENT
            value = value[name]
    return plain(value.to_py() if isinstance(value, pycrdt.Map | pycrdt.Array) else value)


def _by_child(writes: Sequence[Write]) -> dict[tuple[str, str], list[Write]]:
    children: dict[tuple[str, str], list[Write]] = {}
    for write in writes:
        if write.child is not None:
            children.setdefault((write.root, write.child), []).append(write)
    return children


def _changes(entity: Entity, writes: Sequence[Write], read: Read) -> tuple[dict[str, Any], list[Met]]:
    """New values of fields, and the writes among them that met others. ``entity.now`` moves on."""
    changes: dict[str, Any] = {}
    met: list[Met] = []
    for write in writes:
        name = write.key
        assert name is not None
        value = ABSENT if write.kind == "delete" else write.value
        if write.kind == "inside" or value is NESTED:
            value = read(write.root, write.child, name)
        if not write.seen:
            met.append(Met(name, value, write.head))
        if write.head:
            changes[name] = value
            if value is ABSENT:
                entity.now.pop(name, None)
            else:
                entity.now[name] = value
    return changes, met
