"""What the state of a client has to say to the ring around it."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from collab.errors import CollabError
from collab.event import Conflict


class Opened(NamedTuple):
    """A session has begun; ``again``: it is not the first one."""

    again: bool


class Answered(NamedTuple):
    """A request has its answer: ``result`` as plain JSON values, or ``error``."""

    ticket: int
    result: Any
    error: CollabError | None = None


class Confirmed(NamedTuple):
    """A subscription is in force. ``recovered`` is false if it missed something while there was no connection."""

    sub: int
    recovered: bool


class Value(NamedTuple):
    """Something for the subscriber: an event, rows, a number, people."""

    sub: int
    value: Any


class Delayed(NamedTuple):
    """A subscription is not in force yet, or not any more; it is asked for again."""

    sub: int
    error: CollabError


class Ended(NamedTuple):
    """A subscription is over."""

    sub: int
    error: CollabError


class Met(NamedTuple):
    """A committed write met others that its author had not seen."""

    collection: str
    id: str
    data: dict[str, Any]
    version: int
    conflicts: tuple[Conflict, ...]


class Trouble(NamedTuple):
    """An error that no request and no subscription is waiting for."""

    error: CollabError


class Frame(NamedTuple):
    """A frame of the document protocol."""

    data: bytes


Told: TypeAlias = Opened | Answered | Confirmed | Value | Delayed | Ended | Met | Trouble | Frame
