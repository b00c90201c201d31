"""Updates as applications write them, as one of several writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from collab.errors import InvalidRequest
from collab.nearest import did_you_mean
from collab.wire.realtime.values import UpdateOne

_MEMBERS = ("id", "changes", "unset", "version", "on_conflict")


def read_update(collection: str, update: Mapping[str, Any], **more: Any) -> UpdateOne:
    """Read ``{"id", "changes", "unset", "version", "on_conflict"}``. Raises :class:`InvalidRequest`."""
    if not isinstance(update, Mapping):
        raise InvalidRequest(f"an update must be an object, not a {type(update).__name__}")
    for name in update:
        if name not in _MEMBERS:
            raise InvalidRequest(f"an update has no {name!r}{did_you_mean(str(name), _MEMBERS)}")
    if not isinstance(update.get("id"), str):
        raise InvalidRequest("an update needs the id of its entity")
    said = {"onConflict" if name == "on_conflict" else name: value for name, value in {**more, **update}.items()}
    said |= {"collection": collection, "entity": said.pop("id", None)}
    try:
        return msgspec.convert(said, UpdateOne)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"an update: {error}") from None
