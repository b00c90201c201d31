"""Pagination: cursors (``after``) and the conditions they stand for."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from collab.errors import InvalidRequest
from collab.query.match import COMPOSITE, form_of, kind_of, lookup
from collab.query.query import Order, SortKey

MAX_CURSOR = 256 * 1024
"""Maximum length of a cursor, in characters."""

_decoder = msgspec.json.Decoder(tuple[str, list[bool | int | float | str | list[None] | None]])


def page_after(data: Mapping[str, Any], order_by: Sequence[Order]) -> str:
    """Return the ``after`` of a query for the rows behind this one: an opaque string of ``A-Z a-z 0-9 - _``."""
    return write_after(place_of(data, order_by))


def write_after(after: tuple[str, Sequence[SortKey]]) -> str:
    """Encode a place in an order as a cursor."""
    return urlsafe_b64encode(msgspec.json.encode(after)).decode().rstrip("=")


def place_of(data: Mapping[str, Any], order_by: Sequence[Order]) -> tuple[str, tuple[SortKey, ...]]:
    """Return a row's id and its values of ``order_by``."""
    values = (lookup(data, order.path) for order in order_by)
    return data["id"], tuple(() if kind_of(value) == COMPOSITE else value for value in values)


def read_after(text: str, order_by: Sequence[Order]) -> tuple[str, tuple[SortKey, ...]]:
    """Decode a cursor of :func:`page_after`. Raises :class:`InvalidRequest`, also if it belongs to another order."""
    try:
        if len(text) > MAX_CURSOR or not text.isascii():
            raise ValueError
        name, values = _decoder.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, msgspec.MsgspecError, RecursionError):
        raise InvalidRequest("after: not a valid cursor") from None
    if len(values) != len(order_by):
        raise InvalidRequest("after: this cursor belongs to a different orderBy")
    places = (
        () if isinstance(value, list) else form_of(order.path)(value)
        for order, value in zip(order_by, values, strict=True)
    )
    return name, tuple(places)
