"""The JSON Schema of fields that are declared by a class, or by their types by name. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from keyword import iskeyword
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec import Meta

from collab.event import RECORD_MEMBERS

_JSON = (str, int, float, list, tuple, Mapping, type(None))
"""What a member of a JSON Schema may be; a type by name is none of these."""


def schema_of(fields: type | Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of a class or of types by name, or a copy of a schema. Raises :class:`ValueError`.

    Types by name (``{"title": str, "due": datetime | None}``) are all fields that there may be; one that may be
    ``None`` may be missing too. Metadata members (``id``, ``createdAt``, ``updatedAt``) are ignored.
    """
    if isinstance(fields, Mapping):
        if all(isinstance(value, _JSON) for value in fields.values()):
            return _copy(fields)
        fields = _class_of(fields)
    described: Callable[[], dict[str, Any]] | None = getattr(fields, "model_json_schema", None)
    try:
        schema = described() if described is not None else msgspec.json.schema(fields)
    except TypeError as error:
        raise ValueError(f"fields must be a JSON Schema, types by name, or a class with fields: {error}") from None
    name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    if name in schema.get("$defs", {}):
        schema = {**schema["$defs"][name], "$defs": schema["$defs"]}
    if schema.get("type") != "object":
        raise ValueError("fields must be a class whose instances are objects")
    schema = _copy(schema)
    for member in RECORD_MEMBERS:
        schema.get("properties", {}).pop(member, None)
    if "required" in schema:
        schema["required"] = [member for member in schema["required"] if member not in RECORD_MEMBERS]
    return schema


def _class_of(fields: Mapping[str, Any]) -> type:
    """A class with these fields and no others."""
    for name, kind in fields.items():
        if isinstance(kind, str):
            raise ValueError(f"{name}: {kind!r} is no type")
        if not name.isidentifier() or iskeyword(name):
            raise ValueError(f"{name!r} is no name for a type by name: use a JSON Schema")
    members = {name: _point_in_time(kind) for name, kind in fields.items() if name not in RECORD_MEMBERS}
    required = [(name, kind) for name, kind in members.items() if not _may_be_none(kind)]
    others = [(name, kind, None) for name, kind in members.items() if _may_be_none(kind)]
    try:
        return msgspec.defstruct("Fields", [*required, *others], kw_only=True, forbid_unknown_fields=True)
    except TypeError as error:
        raise ValueError(f"fields: {error}") from None


def _may_be_none(kind: Any) -> bool:
    return kind in (None, type(None)) or type(None) in get_args(kind)


def _point_in_time(kind: Any) -> Any:
    """The type, with the format of a point in time: msgspec describes other datetimes as any string."""
    if kind is datetime:
        return Annotated[datetime, Meta(tz=True)]
    if get_origin(kind) in (Union, UnionType):
        return Union[tuple(map(_point_in_time, get_args(kind)))]  # noqa: UP007
    return kind


def _copy(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a deep copy. Raises :class:`ValueError` if it is not JSON."""
    try:
        copied: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(schema))
    except (TypeError, msgspec.MsgspecError, UnicodeError) as error:
        raise ValueError(f"fields is not JSON: {error}") from None
    return copied
