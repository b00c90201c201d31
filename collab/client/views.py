"""What one subscription shows, from the messages about it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from collab.client.overlay import Lens, Op
from collab.client.values import Rows
from collab.errors import InvalidRequest
from collab.event import EntityEvent
from collab.query.steps import apply_steps
from collab.wire import realtime
from collab.wire.realtime import People, Person, RowsAre, RowsChanged


class Event(EntityEvent, frozen=True, rename="camel"):
    """An entity event with what this user may do with the entity, if that was asked for."""

    permissions: dict[str, bool] | None = None


def read_event(message: realtime.Event) -> Event:
    """The event in a message. Raises :class:`msgspec.ValidationError`."""
    event = msgspec.convert(message.event, Event)
    return event if message.permissions is None else msgspec.structs.replace(event, permissions=message.permissions)


class RowsView:
    """A live query: what the server says, and over it the own writes."""

    def __init__(self, query: Mapping[str, Any], fields: Sequence[str] | None) -> None:
        self._lens = Lens(query, fields)
        self._rows: list[dict[str, Any]] | None = None  # none are known yet
        self._versions: dict[str, int] = {}
        self._permissions: dict[str, dict[str, bool]] | None = None
        self._shown: Rows | None = None

    def reset(self, message: RowsAre) -> dict[str, int]:
        """All rows, anew. Returns their versions by id."""
        self._rows = list(message.rows)
        ids = [row["id"] for row in message.rows]
        self._versions = dict(zip(ids, message.versions, strict=False))
        self._permissions = None if message.permissions is None else dict(zip(ids, message.permissions, strict=False))
        return self._versions

    def change(self, message: RowsChanged) -> dict[str, int]:
        """Some rows. Returns their versions by id. Raises :class:`InvalidRequest` if they do not fit what is here."""
        if self._rows is None:
            raise InvalidRequest("changes of rows that were never told")
        self._rows = apply_steps(self._rows, message.steps)
        seen = {step.id: step.version for step in message.steps if step.version is not None}
        self._versions |= seen
        for step in message.steps:
            if step.op == "leave":
                self._versions.pop(step.id, None)
        return seen

    def shown(self, ops: Sequence[Op]) -> Rows | None:
        """The rows with the own writes over them, if that is not what was shown last."""
        if self._rows is None:
            return None
        rows = self._lens.over(self._rows, self._versions, ops)
        if self._permissions is not None:
            rows.permissions = [self._permissions.get(row["id"], {}) for row in rows]
        before, self._shown = self._shown, rows
        if before is not None and before == rows and before.permissions == rows.permissions:
            return None
        return rows


class PeopleView:
    """Who is in a room."""

    def __init__(self) -> None:
        self._people: dict[str, Person] = {}

    def change(self, message: People) -> Crowd:
        """Those who came, changed or went."""
        if message.complete:
            self._people.clear()
        for key in message.left:
            self._people.pop(key, None)
        for person in message.people:
            self._people[person.key] = person
        return Crowd(self._people.values(), message.count)


class Crowd(list[Person]):
    """The people of a room; ``total`` is larger than the list where only a sample of a crowd is sent."""

    def __init__(self, people: Iterable[Person], total: int) -> None:
        super().__init__(people)
        self.total = total


View: TypeAlias = RowsView | PeopleView | None


def view_of(target: realtime.AnyTarget) -> View:
    """What keeps a subscription's state; ``None`` where each message stands for itself."""
    match target:
        case realtime.Rows():
            return RowsView(target.query, target.fields)
        case realtime.Presence():
            return PeopleView()
        case _:
            return None
