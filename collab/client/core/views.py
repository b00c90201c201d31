"""Local views: the current value of a subscription, computed from its messages. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, TypeAlias

import msgspec

from collab.client.core.included import IncludedView
from collab.client.core.overlay import Lens, Op
from collab.client.core.values import Rows
from collab.errors import InvalidRequest
from collab.event import EntityEvent
from collab.query.parse_include import has_include, without_include
from collab.query.steps import apply_steps
from collab.wire.realtime import messages as realtime
from collab.wire.realtime import values as wire
from collab.wire.realtime.messages import People, RowsAre, RowsChanged
from collab.wire.realtime.values import Person


class Event(EntityEvent, frozen=True, rename="camel"):
    """An entity event, with the user's permissions on the entity if requested."""

    permissions: dict[str, bool] | None = None


def read_event(message: realtime.Event) -> Event:
    """Read the event in a message. Raises :class:`msgspec.ValidationError`."""
    event = msgspec.convert(message.event, Event)
    return event if message.permissions is None else msgspec.structs.replace(event, permissions=message.permissions)


class RowsView:
    """A live query: the rows that the server sent last, with the newer own writes applied."""

    def __init__(self, query: Mapping[str, Any], fields: Sequence[str] | None, collection: str = "") -> None:
        self._collection = collection
        self._included = IncludedView(query["include"]) if has_include(query) else None
        self._lens = Lens(without_include(query), fields)
        self._rows: list[dict[str, Any]] | None = None  # None: not received yet
        self._versions: dict[str, int] = {}  # includes rows that left, while there are own writes to them
        self._asked = 0  # number of own commits when the rows were last requested,
        self._answered = -1  # and when the present rows were requested
        self._renewing = False
        self._permissions: dict[str, dict[str, bool]] | None = None
        self._shown: Rows | None = None

    @property
    def collections(self) -> Set[str]:
        """The collections of the rows, and of those that they include."""
        return {self._collection} | (set() if self._included is None else self._included.collections)

    @property
    def seen(self) -> Sequence[tuple[str, str, int]]:
        """Collection, id and version of the included rows in the last message."""
        return () if self._included is None else self._included.seen

    def asking(self, commits: int) -> None:
        """The rows are being requested; ``commits`` own writes are known to be committed."""
        self._asked = commits

    def reset(self, message: RowsAre, own: Set[str] = frozenset()) -> dict[str, int]:
        """Replace all rows; ``own`` are the ids with own writes. Returns the versions of the rows by id."""
        self._rows = list(message.rows)
        self._answered, self._renewing = self._asked, False
        ids = [row["id"] for row in message.rows]
        seen = dict(zip(ids, message.versions, strict=False))
        self._versions = {entity: version for entity, version in self._versions.items() if entity in own} | seen
        self._permissions = None if message.permissions is None else dict(zip(ids, message.permissions, strict=False))
        if self._included is not None:
            self._included.reset(message.included, self._rows)
        return seen

    def change(self, message: RowsChanged, own: Set[str] = frozenset()) -> dict[str, int]:
        """Change some rows; as :meth:`reset`. Raises :class:`InvalidRequest` if the steps do not fit."""
        if self._rows is None:
            raise InvalidRequest("changes of rows that were never sent")
        self._rows = apply_steps(self._rows, message.steps)
        seen = {}
        for step in message.steps:
            if step.version is not None:
                self._versions[step.id] = step.version
                if step.op != "leave":  # the client did not see the version that made the row leave
                    seen[step.id] = step.version
            if step.op == "leave" and step.id not in own:
                self._versions.pop(step.id, None)
        if self._included is not None:
            self._included.change(message.included, self._rows, own)
        return seen

    def shown(self, ops: Sequence[Op]) -> Rows | None:
        """Return the rows with the own writes applied, if they differ from the last result."""
        if self._rows is None:
            return None
        rows = self._over(self._rows, self._untold(ops))
        if self._permissions is not None:
            rows.permissions = [self._permissions.get(row["id"], {}) for row in rows]
        before, self._shown = self._shown, rows
        if before is not None and before == rows and before.permissions == rows.permissions:
            return None if before.included == rows.included else rows
        return rows

    def _over(self, rows: Sequence[dict[str, Any]], ops: Sequence[Op]) -> Rows:
        shown = self._lens.over(rows, self._versions, [op for op in ops if self._is_mine(op)])
        if self._included is not None:
            shown.included = self._included.shown(shown, ops)
        return shown

    def _is_mine(self, op: Op) -> bool:
        return not self._collection or op.collection == self._collection

    def is_told(self, op: Op) -> bool:
        """Whether the rows are known to include an own committed write."""
        if self._included is not None and not self._included.is_told(op, self._answered):
            return False
        return (
            not self._is_mine(op)
            or not op.is_news(self._versions.get(op.entity, 0))
            or (op.commit is not None and op.commit <= self._answered)
        )

    def wants_renewal(self, ops: Sequence[Op]) -> bool:
        """Whether all rows should be fetched again, because late writes change the result. True once per answer."""
        untold = self._untold(ops)
        timely = [op for op in untold if not op.late]
        if self._rows is None or self._renewing or len(timely) == len(untold):
            return False
        with_late, without = (self._over(self._rows, some) for some in (untold, timely))
        self._renewing = with_late != without or with_late.included != without.included
        return self._renewing

    def _untold(self, ops: Sequence[Op]) -> list[Op]:
        return [op for op in ops if op.version is None or not self.is_told(op)]


class GroupsView:
    """The groups of a live aggregate. Own writes count once the server has them."""

    def __init__(self) -> None:
        self._groups: list[dict[str, Any]] | None = None

    def change(self, message: RowsAre | RowsChanged) -> list[dict[str, Any]]:
        """Return the groups after a message. Raises :class:`InvalidRequest` if its steps do not fit."""
        if isinstance(message, RowsAre):
            self._groups = message.rows
        elif self._groups is None:
            raise InvalidRequest("changes of groups that were never sent")
        else:
            self._groups = apply_steps(self._groups, message.steps)
        return list(self._groups)


class PeopleView:
    """Presence of a room."""

    def __init__(self) -> None:
        self._people: dict[str, Person] = {}

    def change(self, message: People) -> Crowd:
        """Apply joins, changes and leaves."""
        if message.complete:
            self._people.clear()
        for key in message.left:
            self._people.pop(key, None)
        for person in message.people:
            self._people[person.key] = person
        return Crowd(self._people.values(), message.count)


class Crowd(list[Person]):
    """The people in a room; ``total`` exceeds the list's length if the server sends only a sample."""

    def __init__(self, people: Iterable[Person], total: int) -> None:
        super().__init__(people)
        self.total = total


View: TypeAlias = RowsView | GroupsView | PeopleView | None


def view_of(target: wire.AnyTarget) -> View:
    """Create the local state of a subscription; ``None`` if its messages are independent."""
    match target:
        case wire.Rows():
            return RowsView(target.query, target.fields, target.collection)
        case wire.Aggregated():
            return GroupsView()
        case wire.Presence():
            return PeopleView()
        case _:
            return None
