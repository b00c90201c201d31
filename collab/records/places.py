"""Where an entity lives: in the map ``fields`` of its own document, or as a child of a map in another document.

Updates that write it are encoded here, byte by byte: the gate has all the information, so no document is copied.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from collab.entities.bridge import FIELDS
from collab.entities.entity import EntityState
from collab.errors import InvalidName, NotFound
from collab.gate.edit import encode_child, encode_fields
from collab.names import RoomKey, is_part
from collab.records.schema import Schemas
from collab.rooms.live.room import Room


class Place(NamedTuple):
    """``room`` is the document; ``child`` is the key in its map ``root``, ``None`` for the document's own fields."""

    key: RoomKey
    room: RoomKey
    root: str = FIELDS
    child: str | None = None

    def exists(self, room: Room) -> bool:
        """Whether the entity exists, according to accepted writes."""
        if self.child is None:
            return room.bridge.exists
        return room.bridge.child(self.key).alive

    def check_exists(self, room: Room) -> None:
        """Raise :class:`collab.errors.NotFound` unless :meth:`exists`."""
        if not self.exists(room):
            raise NotFound(f"there is no {self.key.name}")

    def entity(self, room: Room) -> EntityState:
        return room.bridge.main if self.child is None else room.bridge.child(self.key)

    def writing(self, room: Room, fields: Mapping[str, Any], unset: Collection[str], *, ahead: int = 0) -> bytes:
        """Return an update that sets and removes fields, and creates a missing child.

        It follows ``ahead`` structs of updates of other entities in the same document.
        """
        gate, client = room.gate, room.server_client_id
        clock = gate.state.get(client, 0) + ahead
        heads = gate.heads(self.root, self.child, (*fields, *unset))
        if self.child is None:
            return encode_fields(client, clock, self.root, fields, unset, heads)
        item = gate.head(self.root, self.child)
        if not self.exists(room):
            return encode_child(client, clock, self.root, self.child, fields, item)
        return encode_fields(client, clock, self.root, fields, unset, heads, item)

    def structs(self, room: Room, fields: Collection[str]) -> int:
        """Return how many structs :meth:`writing` makes."""
        return len(fields) + (self.child is not None and not self.exists(room))

    def deleting(self, room: Room) -> bytes:
        """Return an update that removes the child."""
        assert self.child is not None
        client = room.server_client_id
        clock = room.gate.state.get(client, 0)
        heads = room.gate.heads(self.root, keys=[self.child])
        return encode_fields(client, clock, self.root, {}, [self.child], heads)


class Places:
    """``schemas`` define which collection lives inside which."""

    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas

    def document_of(self, key: RoomKey) -> RoomKey:
        """Return the document in which an entity lives."""
        return self.of(key).room

    def of(self, key: RoomKey) -> Place:
        """Locate ``key``. Raises :class:`collab.errors.InvalidName` if the id does not name its document."""
        declared = self._schemas.get(key.collection)
        mapping = declared.mapped if declared is not None else None
        if mapping is None:
            return Place(key, key)
        document, colon, child = key.id.partition(":")
        if not colon or not child or not is_part(document):
            raise InvalidName(f"an id in {key.collection} must be <id of one of {mapping.collection}>:<key>")
        return Place(key, RoomKey(key.project, mapping.collection, document), mapping.root, child)
