"""Values of a CRDT document as JSON knows them, and when two of them are the same."""

from __future__ import annotations

import math
from base64 import b64encode
from typing import Any

SAFE_INTEGER = 2**53 - 1
"""The largest integer that JavaScript counts exactly."""


def plain(value: Any) -> Any:
    """``value`` as JSON: binary becomes base64, a number that JSON lacks ``None``, an integer too large text."""
    match value:
        case bool() | str() | None:
            return value
        case int():
            return value if abs(value) <= SAFE_INTEGER else str(value)
        case float():
            # JavaScript has one kind of number: 1 comes as 1.0
            if value.is_integer() and abs(value) <= SAFE_INTEGER:
                return int(value)
            return value if math.isfinite(value) else None
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case bytes() | bytearray():
            return b64encode(value).decode()
        case _:
            return str(value)


def same(left: Any, right: Any) -> bool:
    """Whether two JSON values are the same, also in type: ``1`` is neither ``True`` nor ``1.0``."""
    if left is right:
        return True
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(value, right[name]) for name, value in left.items())
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)
