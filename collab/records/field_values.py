"""Validate what an application writes into an entity's fields. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from collab.errors import TooLarge, ValidationFailed
from collab.event import RECORD_MEMBERS
from collab.json_values import SAFE_INTEGER, is_unicode, same, scalar_fault
from collab.wire.realtime.encoding import MAX_DEPTH
from collab.wire.realtime.values import PROTO

MAX_NAME_BYTES = 1024
MAX_FIELDS = 1000
_A_PATH = "looks like a path, but only whole fields can be written: send all of {!r}"


def check_fields(
    changes: Mapping[str, Any], unset: Collection[str] = (), *, now: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the changes to make, out of those requested.

    ``now`` is the entity's data. Metadata, and members whose names look like paths, are skipped if the application
    sends them back unchanged. Raises :class:`ValidationFailed`.
    """
    if len(changes) + len(unset) > MAX_FIELDS:
        raise ValidationFailed(f"more than {MAX_FIELDS} fields at once")
    wanted: dict[str, Any] = {}
    for name, value in changes.items():
        _check_name(name)
        if name in RECORD_MEMBERS:
            if now is None or now.get(name) != value:
                raise _failed(name, "is read-only metadata")
            continue
        if "." in name:
            if now is None or name not in now or not same(now[name], value):
                raise _failed(name, _A_PATH.format(name.partition(".")[0]))
            continue
        _check_value(name, value, 1)
        wanted[name] = value
    for name in unset:
        _check_name(name)
        if name in RECORD_MEMBERS or name in changes:
            raise _failed(name, "cannot be removed")
        if "." in name and (now is None or name not in now):
            raise _failed(name, _A_PATH.format(name.partition(".")[0]))
    return wanted


def check_values(changes: Mapping[str, Any], unset: Collection[str] = ()) -> None:
    """Check as much of requested changes as can be known without the entity. Raises :class:`ValidationFailed`."""
    for name in (*changes, *unset):
        _check_name(name)
    for name, value in changes.items():
        _check_value(name, value, 1)


def check_size(data: Mapping[str, Any], size: int, limit: int) -> None:
    """Raise :class:`TooLarge` if ``size`` exceeds ``limit`` (bytes)."""
    if size > limit:
        raise TooLarge(f"an entity may have at most {limit} bytes", limit=limit, size=size, fields=len(data))


def _check_name(name: str) -> None:
    if not name or not is_unicode(name) or len(name.encode()) > MAX_NAME_BYTES:
        raise _failed(name[:100], f"a field name must be a string of 1 to {MAX_NAME_BYTES} bytes")
    if name == PROTO:
        raise _failed(name, "is a reserved name: JavaScript could not read it")


def _check_value(path: str, value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise _failed(path, f"more than {MAX_DEPTH} nested arrays and objects")
    match value:
        case int() if abs(value) > SAFE_INTEGER:
            raise _failed(path, "exceeds JavaScript's safe integers; send it as a string")
        case list() | tuple():
            for index, item in enumerate(value):
                _check_value(f"{path}[{index}]", item, depth + 1)
        case dict():
            for name, item in value.items():
                if not isinstance(name, str) or not is_unicode(name):
                    raise _failed(path, "has a member whose name is not a string")
                if name == PROTO:
                    raise _failed(f"{path}.{name}", "is a reserved name: JavaScript could not read it")
                _check_value(f"{path}.{name}", item, depth + 1)
        case _:
            fault = scalar_fault(value)
            if fault is not None:
                raise _failed(path, fault)


def _failed(field: str, why: str) -> ValidationFailed:
    return ValidationFailed(f"{field}: {why}", errors=[{"field": field, "message": why}])
