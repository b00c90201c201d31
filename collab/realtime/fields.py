"""What an application may write into an entity's fields: checked here, before anything else sees it. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from collab.entities.entity import OWN
from collab.errors import TooLarge, ValidationFailed
from collab.wire.plain import SAFE_INTEGER
from collab.wire.realtime import MAX_DEPTH

MAX_NAME_BYTES = 1024
MAX_FIELDS = 1000


def check_fields(
    changes: Mapping[str, Any], unset: Collection[str] = (), *, now: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The changes that are to be made, of those that were asked for.

    ``now`` is the entity's data: what an application sends back unchanged of the record's own members is left out.
    Raises :class:`ValidationFailed`.
    """
    if len(changes) + len(unset) > MAX_FIELDS:
        raise ValidationFailed(f"more than {MAX_FIELDS} fields at once")
    wanted: dict[str, Any] = {}
    for name, value in changes.items():
        _check_name(name)
        if name in OWN:
            if now is None or now.get(name) != value:
                raise _failed(name, "is the record's own and cannot be written")
            continue
        _check_value(name, value, 1)
        wanted[name] = value
    for name in unset:
        _check_name(name)
        if name in OWN or name in changes:
            raise _failed(name, "cannot be removed")
    return wanted


def check_size(data: Mapping[str, Any], size: int, limit: int) -> None:
    """Raises :class:`TooLarge` if an entity of ``size`` bytes is more than ``limit``."""
    if size > limit:
        raise TooLarge(f"an entity has {limit} bytes at most", limit=limit, size=size, fields=len(data))


def _check_name(name: str) -> None:
    if not name or not _is_text(name) or len(name.encode()) > MAX_NAME_BYTES:
        raise _failed(name[:100], f"a field's name is a text of 1 to {MAX_NAME_BYTES} bytes")


def _check_value(path: str, value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _failed(path, f"more than {MAX_DEPTH} arrays and objects in each other")
    match value:
        case bool() | None:
            pass
        case int():
            if abs(value) > SAFE_INTEGER:
                raise _failed(path, "an integer that JavaScript does not count exactly; send it as text")
        case float():
            if not math.isfinite(value):
                raise _failed(path, "is not a finite number")
        case str():
            if not _is_text(value):
                raise _failed(path, "holds half a character (a lone surrogate)")
        case list() | tuple():
            for index, item in enumerate(value):
                _check_value(f"{path}[{index}]", item, depth + 1)
        case dict():
            for name, item in value.items():
                if not isinstance(name, str) or not _is_text(name):
                    raise _failed(path, "has a member whose name is not a text")
                _check_value(f"{path}.{name}", item, depth + 1)
        case _:
            raise _failed(path, f"is no JSON value but a {type(value).__name__}")


def _is_text(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)


def _failed(field: str, why: str) -> ValidationFailed:
    return ValidationFailed(f"{field}: {why}", errors=[{"field": field, "message": why}])
