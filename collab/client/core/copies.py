"""Copies of what applications receive: none shares a value with another, or with the client. Pure."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import is_dataclass
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_IMMUTABLE = frozenset({str, int, float, bool, type(None)})


def own(value: T) -> T:
    """Copy JSON values, records and collections of them with their attributes, and errors.

    The copy of an error has its class, message, details and cause, but no traceback. Dataclasses and pydantic models
    are copied, values of other classes are not.
    """
    copied: T = _copy(value)
    return copied


def _copy(value: Any) -> Any:
    kind = type(value)
    if kind in _IMMUTABLE:
        return value
    if kind is dict:
        return {name: _copy(member) for name, member in value.items()}
    if kind is list:
        return [_copy(item) for item in value]
    if isinstance(value, tuple):
        items = map(_copy, value)
        return tuple(items) if kind is tuple else kind._make(items)
    if isinstance(value, msgspec.Struct):
        members = {name: _copy(getattr(value, name)) for name in value.__struct_fields__}
        return msgspec.structs.replace(value, **members)
    return _copy_of_class(value, kind)


def _copy_of_class(value: Any, kind: Any) -> Any:
    if isinstance(value, BaseException):
        copied = kind.__new__(kind, *value.args)
        copied.__cause__ = value.__cause__
    elif isinstance(value, dict):
        copied = kind.__new__(kind)
        copied.update((name, _copy(member)) for name, member in value.items())
    elif isinstance(value, list):
        copied = kind.__new__(kind)
        copied.extend(map(_copy, value))
    else:
        return deepcopy(value) if is_dataclass(kind) or hasattr(kind, "model_validate") else value
    vars(copied).update(_copy(vars(value)))
    return copied
