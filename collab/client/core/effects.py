"""Effects: what the client's state tells the engine."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from collab.errors import CollabError
from collab.event import FieldConflict


class Opened(NamedTuple):
    """A session has opened; ``again``: it is not the first one."""

    again: bool


class Answered(NamedTuple):
    """The answer to a request: ``result`` as plain JSON values, or ``error``."""

    ticket: int
    result: Any
    error: CollabError | None = None


class Confirmed(NamedTuple):
    """A subscription is active. ``recovered`` is false if it missed events during a disconnect."""

    sub: int
    recovered: bool


class Delivery(NamedTuple):
    """A value for a subscriber: an event, rows, a metric, presence."""

    sub: int
    value: Any


class Delayed(NamedTuple):
    """A subscription is not active, or no longer; it will be retried."""

    sub: int
    error: CollabError


class Ended(NamedTuple):
    """A subscription has ended."""

    sub: int
    error: CollabError


class Met(NamedTuple):
    """A committed write met writes that its author had not seen."""

    collection: str
    id: str
    data: dict[str, Any]
    version: int
    conflicts: tuple[FieldConflict, ...]


class Trouble(NamedTuple):
    """An error that belongs to no request and no subscription."""

    error: CollabError


class DocumentFrame(NamedTuple):
    """A frame of the document protocol."""

    data: bytes


Effect: TypeAlias = Opened | Answered | Confirmed | Delivery | Delayed | Ended | Met | Trouble | DocumentFrame
