"""JSON values: whether a value is one, conversion from a CRDT document, and comparison."""

from __future__ import annotations

import math
from base64 import b64encode
from typing import Any

SAFE_INTEGER = 2**53 - 1
"""JavaScript's ``Number.MAX_SAFE_INTEGER``."""


def plain(value: Any) -> Any:
    """``value`` as JSON: binary becomes base64, NaN and infinity ``None``, an integer beyond 2**53 a string."""
    match value:
        case bool() | str() | None:
            return value
        case int():
            return value if abs(value) <= SAFE_INTEGER else str(value)
        case float():
            # JavaScript has one number type: 1 arrives as 1.0
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


def scalar_fault(value: Any) -> str | None:
    """Why a value that is neither a list nor an object is not JSON: "is not a finite number"; ``None`` if it is JSON.

    An integer may have any size: each caller has its own limit.
    """
    match value:
        case None | bool() | int():
            return None
        case float():
            return None if math.isfinite(value) else "is not a finite number"
        case str():
            return None if is_unicode(value) else "contains a lone surrogate"
    return f"is not a JSON value but a {type(value).__name__}"


def is_unicode(text: str) -> bool:
    """Whether a string can be encoded: JSON from other programs may hold lone surrogates."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return False
    return True


def same(left: Any, right: Any) -> bool:
    """Whether two JSON values are equal, including their type: ``1`` is neither ``True`` nor ``1.0``."""
    if left is right:
        return True
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(value, right[name]) for name, value in left.items())
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)
