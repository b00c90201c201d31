"""Values that messages of the application protocol carry, and what no such value may be.

They are used by the names that :mod:`collab.wire.realtime` gives them.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from collab.errors import CollabError, InvalidRequest
from collab.event import Conflict

Number: TypeAlias = Annotated[int, Meta(ge=0, le=2**53 - 1)]
"""What names a request or a subscription: an integer that all languages can hold."""


class Target(msgspec.Struct, tag_field="kind", frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What a subscription is about."""


class Entities(Target, tag="entities", frozen=True, kw_only=True):
    """Events of one entity, or of all in a collection (``*``). ``fields``: only changes of these, and only these.

    ``cursor`` is of the last event seen, when resuming.
    """

    collection: str
    entity: str = "*"
    fields: tuple[str, ...] | None = None
    include_permissions: bool = False
    cursor: str | None = None


class Rows(Target, tag="rows", frozen=True, kw_only=True):
    """A live query."""

    collection: str
    query: dict[str, Any] = {}
    fields: tuple[str, ...] | None = None
    include_permissions: bool = False


class Custom(Target, tag="custom", frozen=True, kw_only=True):
    """Custom events of one type."""

    event: str
    cursor: str | None = None


class System(Target, tag="system", frozen=True, kw_only=True):
    """``schema_updated``, ``permissions_changed`` or ``health``.

    ``schema_updated`` with ``cursor`` begins with what was declared since.
    """

    event: str
    cursor: str | None = None


class Analytics(Target, tag="analytics", frozen=True, kw_only=True):
    """A number that is told whenever it changes: ``active_users``."""

    metric: str


class Presence(Target, tag="presence", frozen=True, kw_only=True):
    """Who is in a room (``collection/id``, or ``id`` of ``documents``)."""

    room: str


AnyTarget: TypeAlias = Entities | Rows | Custom | System | Analytics | Presence


class Limits(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What this session may do. 0 is no limit."""

    max_subscriptions: int
    max_events_per_second: int
    max_message_bytes: int


class Error(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An error as a value. ``code`` is one of docs/protocol.md; ``retryable``: the same may succeed later."""

    code: str
    message: str
    details: dict[str, Any] = {}
    retryable: bool = False

    @classmethod
    def of(cls, error: CollabError) -> Error:
        """What a peer is told of ``error``."""
        return cls(code=error.code, message=error.message, details=error.details, retryable=error.retryable)


class Written(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A write that is committed."""

    data: dict[str, Any]
    version: int
    conflicts: tuple[Conflict, ...] = ()


class Found(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An entity as it is, or was."""

    data: dict[str, Any]
    version: int
    deleted: bool = False
    content: dict[str, Any] | None = None
    permissions: dict[str, bool] | None = None


class FoundMany(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Rows; ``next`` is the ``after`` of the query for the next page, if there may be one."""

    rows: list[dict[str, Any]]
    versions: list[int]
    next: str | None = None
    permissions: list[dict[str, bool]] | None = None


class Subscribed(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One subscription is in force from ``cursor`` on, or ``error`` says why not.

    ``recovered`` is false if a ``cursor`` was given and what came after it is not known any more: read anew.
    Rows of a live query, values of metrics and people of a room follow at once, as messages.
    """

    sub: int
    cursor: str | None = None
    recovered: bool = True
    error: Error | None = None


class Step(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One step from a list of rows to the next, to be made in order.

    ``enter``: insert ``data`` at ``index``. ``leave``: remove. ``move``: take out and insert at ``index``.
    ``change``: ``set`` and ``unset`` members in place. ``version`` is the row's new one. ``permissions`` come with
    ``enter``, if they were asked for.
    """

    op: Literal["enter", "leave", "move", "change"]
    id: str
    index: int | None = None
    data: dict[str, Any] | None = None
    set: dict[str, Any] | None = None
    unset: tuple[str, ...] | None = None
    version: int | None = None
    permissions: dict[str, bool] | None = None


class Person(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One verified user with the states of all their clients, or one client that nobody verified.

    ``key`` tells people of one room apart. ``state`` is the newest of ``states`` (cursor and whatever else was said).
    """

    key: str
    user_id: str | None = None
    name: str | None = None
    state: dict[str, Any] = {}
    states: list[dict[str, Any]] = []


def wrong_value(message: msgspec.Struct, max_depth: int) -> str | None:
    """What in a message no JSON can say. Raises :class:`InvalidRequest` if it is too deep.

    Level by level: what is deep must not be walked by recursion.
    """
    wrong = None
    level: list[Any] = [message]
    depth = 0
    while level:
        depth += 1
        if depth > max_depth:
            raise InvalidRequest(f"not a message: more than {max_depth} arrays and objects in each other")
        below: list[Any] = []
        for node in level:
            if isinstance(node, dict):
                values: Iterable[Any] = node.values()
                if not all(type(name) is str for name in node):
                    wrong = "a member whose name is not a text"
            elif isinstance(node, msgspec.Struct):
                values = [getattr(node, name) for name in node.__struct_fields__]
            else:
                values = node
            for value in values:
                kind = type(value)
                if kind is str or kind is bool or value is None:
                    continue
                if kind is dict or kind is list or kind is tuple or isinstance(value, msgspec.Struct):
                    below.append(value)
                elif kind is int:
                    if not -(2**63) <= value < 2**64:
                        wrong = "an integer of more than 64 bits"
                elif kind is float:
                    if not isfinite(value):
                        wrong = "a number that is not finite"
                else:
                    wrong = f"a value of a kind that JSON does not have ({kind.__name__})"
        level = below
    return wrong
