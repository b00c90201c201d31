"""Pages of a query: what ``after`` says, and the condition that it is."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from collab.errors import InvalidRequest
from collab.query.match import COMPOSITE, behind, form_of, kind_of, lookup
from collab.query.query import Order, Place

__all__ = ["MAX_CURSOR", "behind", "page_after", "place_of", "read_after", "write_after"]

MAX_CURSOR = 256 * 1024
"""Characters of a cursor that are read."""

_decoder = msgspec.json.Decoder(tuple[str, list[bool | int | float | str | list[None] | None]])


def page_after(data: Mapping[str, Any], order_by: Sequence[Order]) -> str:
    """The ``after`` of a query for the rows behind this one. An opaque text of ``A-Z a-z 0-9 - _``."""
    return write_after(place_of(data, order_by))


def write_after(after: tuple[str, Sequence[Place]]) -> str:
    """The text of a place in an order."""
    return urlsafe_b64encode(msgspec.json.encode(after)).decode().rstrip("=")


def place_of(data: Mapping[str, Any], order_by: Sequence[Order]) -> tuple[str, tuple[Place, ...]]:
    """A row's id and its values of ``order_by``."""
    values = (lookup(data, order.path) for order in order_by)
    return data["id"], tuple(() if kind_of(value) == COMPOSITE else value for value in values)


def read_after(text: str, order_by: Sequence[Order]) -> tuple[str, tuple[Place, ...]]:
    """What :func:`page_after` wrote. Raises :class:`InvalidRequest`, also if it belongs to another order."""
    try:
        if len(text) > MAX_CURSOR or not text.isascii():
            raise ValueError
        name, values = _decoder.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, msgspec.MsgspecError, RecursionError):
        raise InvalidRequest("after: not the cursor of a page") from None
    if len(values) != len(order_by):
        raise InvalidRequest("after: this cursor belongs to another orderBy")
    places = (
        () if isinstance(value, list) else form_of(order.path)(value)
        for order, value in zip(order_by, values, strict=True)
    )
    return name, tuple(places)
