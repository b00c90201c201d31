"""Renames a collection in a record that nobody uses: what was renamed, and the errors of both storages."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from collab.errors import Conflict, InvalidRequest, NotFound
from collab.names import is_part
from collab.storage.codec import event_from, to_json


class Renamed(NamedTuple):
    """How many entities, documents, quarantined edits and dead letters got the new name."""

    entities: int
    documents: int
    quarantined: int
    dead_letters: int


def check_names(old: str, new: str) -> None:
    """Raise :class:`InvalidRequest` if these cannot be two collections."""
    if not is_part(old) or not is_part(new):
        raise InvalidRequest("a collection's name must be 1-128 characters of [A-Za-z0-9_.:-]")
    if old == new:
        raise InvalidRequest(f"{old} has this name already")


def check_found(old: str, new: str, *, olds: int, news: int) -> None:
    """Raise :class:`NotFound` if there is nothing to rename, :class:`Conflict` if the new name is taken."""
    if not olds:
        raise NotFound(f"there is no collection {old}")
    if news:
        raise Conflict(f"there is a collection {new} already: two are not made one")


def renamed_event(event: str, new: str) -> str:
    """An event as JSON, in a collection of another name."""
    return to_json(msgspec.structs.replace(event_from(event), collection=new))
