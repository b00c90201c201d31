"""Names of entities: ``collection/id`` within a project, validated before any other code sees them."""

from __future__ import annotations

import re
from typing import NamedTuple

from collab.errors import InvalidName

DEFAULT_COLLECTION = "documents"
DEFAULT_PROJECT = "default"

# A part has no "/" and no leading dot: joining parts with "/" is injective, and no part is a path.
_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.:-]{0,127}", re.ASCII)


class RoomKey(NamedTuple):
    """The full name of an entity. ``project`` comes from the credential, never from a client's message."""

    project: str
    collection: str
    id: str

    @property
    def name(self) -> str:
        """``collection/id``, the name without the project."""
        return f"{self.collection}/{self.id}"

    def __str__(self) -> str:
        return "/".join(self)


def is_part(text: str) -> bool:
    """Whether ``text`` is valid as a project, a collection or an id (1-128 characters)."""
    return _PART.fullmatch(text) is not None


def may_hold_others(key: RoomKey) -> bool:
    """Whether other entities can live inside a document: they are named ``<id>:<key>``, up to the first colon."""
    return ":" not in key.id


def parse_name(project: str, name: str) -> RoomKey:
    """Parse ``collection/id`` or ``id`` (in the collection ``documents``).

    Raises :class:`InvalidName`.
    """
    collection, slash, entity_id = name.rpartition("/")
    if not slash:
        collection = DEFAULT_COLLECTION
    if not (is_part(project) and is_part(collection) and is_part(entity_id)):
        raise InvalidName("a document is named collection/id, each of [A-Za-z0-9_.:-], 128 characters at most")
    return RoomKey(project, collection, entity_id)
