"""Applications' own classes: rows as their instances, and their instances as JSON values. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from functools import partial
from typing import Any, TypeVar, cast

import msgspec
from typing_extensions import is_typeddict

from collab.errors import InvalidRequest, ValidationFailed
from collab.wire.realtime.encoding import MAX_DEPTH

T = TypeVar("T")

_LONGEST = 500


def reader_of(model: type[T]) -> Callable[[Mapping[str, Any]], T]:
    """Return a function that makes an instance of a row. Of a ``TypedDict`` the row is one, unchecked.

    The function raises :class:`ValidationFailed` for a row that does not fit. Raises :class:`InvalidRequest` if
    ``model`` is neither a pydantic model nor a msgspec struct nor a dataclass nor a ``TypedDict``.
    """
    if is_typeddict(model) or model is dict:
        return lambda row: cast("T", row)
    validate: Callable[[Any], T] | None = getattr(model, "model_validate", None)  # pydantic need not be there
    if isinstance(model, type) and (issubclass(model, msgspec.Struct) or is_dataclass(model)):
        validate = partial(msgspec.convert, type=model)
    if validate is None:
        raise InvalidRequest(f"{model!r} is no pydantic model, msgspec struct, dataclass or TypedDict")

    def read(row: Mapping[str, Any]) -> T:
        try:
            return validate(dict(row))
        except Exception as error:  # validators of the application may raise anything
            raise ValidationFailed(f"{row.get('id')}: this is no {model.__name__}: {_reason(error)}") from error

    return read


def as_data(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Convert instances, also inside lists and mappings, to what they stand for in JSON: only what was set.

    What is nested deeper than ``depth`` stays as it is. Raises :class:`InvalidRequest`.
    """
    if depth == 0:
        return value
    if isinstance(value, Mapping):
        return {name: as_data(member, depth - 1) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [as_data(item, depth - 1) for item in value]
    try:
        if hasattr(value, "model_dump"):
            return value.model_dump(mode="json", by_alias=True, exclude_unset=True)
        if isinstance(value, msgspec.Struct) or (is_dataclass(value) and not isinstance(value, type)):
            return msgspec.to_builtins(value)
    except Exception as error:  # serializers of the application may raise anything
        raise InvalidRequest(f"this {type(value).__name__} has no form in JSON: {_reason(error)}") from error
    return value


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:_LONGEST]
