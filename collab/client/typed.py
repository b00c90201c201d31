"""A collection whose rows are instances of a class."""
# ruff: noqa: A002  # `id` is the public name of an entity's id

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic

from typing_extensions import TypeVar

from collab.client.calls import Call
from collab.client.collection import Collection
from collab.client.core.copies import own
from collab.client.core.models import as_data, reader_of
from collab.client.core.values import RelatedT, Rows, RowT
from collab.client.requests import ErrorCallback, OnConflict
from collab.client.subscription import Subscription
from collab.errors import CollabError

NewT = TypeVar("NewT", default=Any)
"""What is written to create an entity."""
ChangesT = TypeVar("ChangesT", default=Any)
"""What is written to change one."""
QueryT = TypeVar("QueryT", bound=Mapping[str, Any], default=Mapping[str, Any])
GroupingT = TypeVar("GroupingT", bound=Mapping[str, Any], default=Mapping[str, Any])
FieldT = TypeVar("FieldT", bound=str, default=str)
"""The names of the fields."""


class TypedCollection(Generic[RowT, NewT, ChangesT, QueryT, GroupingT, FieldT, RelatedT]):
    """A collection whose rows are instances of ``row``: a pydantic model, a msgspec struct or a dataclass. A row of a
    ``TypedDict`` is a dict, as the server sends it.

    ``client.collection("tasks", Task)`` returns one, as does each property of the client that ``collab types --client``
    writes. ``untyped`` is the same collection with dicts, for events, content, permissions and metadata. ``related``
    are the classes of the rows that a query includes, by the name of the relation.

    A row that does not fit its class raises :class:`collab.errors.ValidationFailed`; it ends a subscription. To read
    only some ``fields``, use a class that needs no others. What is written may be instances or mappings. Otherwise,
    operations are those of :class:`Collection`.
    """

    def __init__(self, collection: Collection, row: type[RowT], related: Mapping[str, type]) -> None:
        self.untyped = collection
        self._read = reader_of(row)
        self._related: dict[str, Callable[[Mapping[str, Any]], Any]] = {
            name: reader_of(each) for name, each in related.items()
        }

    @property
    def name(self) -> str:
        """The name of the collection."""
        return self.untyped.name

    # writing

    def create(self, data: NewT, *, id: str | None = None, on_error: ErrorCallback | None = None) -> Call[RowT]:
        """Create an entity. Its id is ``id``, else that in ``data``, else random."""
        return self.untyped.create(as_data(data), id=id, on_error=on_error).converted(self._read)

    def update(
        self,
        id: str,
        changes: ChangesT,
        *,
        unset: Iterable[FieldT] = (),
        version: int | None = None,
        on_conflict: OnConflict | None = None,
        on_error: ErrorCallback | None = None,
    ) -> Call[RowT]:
        """Set some fields; remove the fields in ``unset``. As :meth:`Collection.update`."""
        return self.untyped.update(
            id, as_data(changes), unset=unset, version=version, on_conflict=on_conflict, on_error=on_error
        ).converted(self._read)

    def delete(self, id: str, *, on_error: ErrorCallback | None = None) -> Call[RowT]:
        """Delete an entity; its history is kept. Returns its last state."""
        return self.untyped.delete(id, on_error=on_error).converted(self._read)

    def restore(self, id: str, *, version: int | None = None, on_error: ErrorCallback | None = None) -> Call[RowT]:
        """Restore a deleted entity; with ``version``, reset any entity to that version, as a new edit."""
        return self.untyped.restore(id, version=version, on_error=on_error).converted(self._read)

    def create_many(
        self, entities: Iterable[NewT], *, on_error: ErrorCallback | None = None
    ) -> Call[list[RowT | CollabError]]:
        """Create up to 1,000 entities in one request, each on its own. Returns for each the entity or the error."""
        return self.untyped.create_many(map(as_data, entities), on_error=on_error).converted(self._outcomes)

    def update_many(
        self, updates: Iterable[Mapping[str, Any]], *, on_error: ErrorCallback | None = None
    ) -> Call[list[RowT | CollabError]]:
        """Update up to 1,000 entities in one request, each on its own, as :meth:`Collection.update_many`."""
        return self.untyped.update_many(map(as_data, updates), on_error=on_error).converted(self._outcomes)

    def delete_many(
        self, ids: Iterable[str], *, on_error: ErrorCallback | None = None
    ) -> Call[list[RowT | CollabError]]:
        """Delete up to 1,000 entities in one request, each on its own."""
        return self.untyped.delete_many(ids, on_error=on_error).converted(self._outcomes)

    # reading

    def find_by_id(self, id: str, *, version: int | None = None, at: datetime | str | None = None) -> Call[RowT]:
        """Get one entity; as of a ``version``, or ``at`` a time."""
        return self.untyped.find_by_id(id, version=version, at=at).converted(self._read)

    def find_many(
        self, query: QueryT | None = None, *, fields: Sequence[FieldT] | None = None
    ) -> Call[Rows[RowT, RelatedT]]:
        """Get the rows of a query, with these ``fields`` only. At most 10,000: see ``next`` of the result."""
        return self.untyped.find_many(query, fields=fields).converted(self._rows)

    def seen(self, id: str) -> int | None:
        """Return the newest version of an entity that this client has received, if any."""
        return self.untyped.seen(id)

    def count(self, query: QueryT | None = None) -> Call[int]:
        """Count matching rows."""
        return self.untyped.count(query)

    def aggregate(self, query: GroupingT | None = None) -> Call[list[dict[str, Any]]]:
        """Add up matching rows, as :meth:`Collection.aggregate`."""
        return self.untyped.aggregate(query)

    # live

    def subscribe(
        self,
        query: QueryT,
        callback: Callable[[Rows[RowT, RelatedT]], object] | None = None,
        *,
        fields: Sequence[FieldT] | None = None,
        condition: Callable[[], object] | None = None,
        on_error: ErrorCallback | None = None,
        on_resync: Callable[[], object] | None = None,
    ) -> Subscription[Rows[RowT, RelatedT]]:
        """Subscribe to a query: its rows now and after each change, as :meth:`Collection.subscribe`."""
        return self.untyped.subscription(
            query,
            callback,
            fields=fields,
            include_permissions=False,
            condition=condition,
            on_error=on_error,
            on_resync=on_resync,
            read=lambda rows: self._rows(own(rows)),
        )()

    def subscribe_aggregate(
        self,
        query: GroupingT | None = None,
        callback: Callable[[list[dict[str, Any]]], object] | None = None,
        *,
        condition: Callable[[], object] | None = None,
        on_error: ErrorCallback | None = None,
        on_resync: Callable[[], object] | None = None,
    ) -> Subscription[list[dict[str, Any]]]:
        """Subscribe to an aggregate: its groups now and after each change."""
        return self.untyped.subscribe_aggregate(
            query, callback, condition=condition, on_error=on_error, on_resync=on_resync
        )

    # results

    def _outcomes(self, outcomes: list[Any]) -> list[RowT | CollabError]:
        return [self._outcome(each) for each in outcomes]

    def _outcome(self, outcome: Any) -> RowT | CollabError:
        if isinstance(outcome, CollabError):
            return outcome
        try:
            return self._read(outcome)
        except CollabError as error:
            return error

    def _rows(self, rows: Rows) -> Rows[RowT, RelatedT]:
        made: Rows[RowT, Any] = Rows(map(self._read, rows), rows.versions)
        made.next = rows.next
        if rows.included is not None:
            made.included = [
                {name: self._read_related(name, some) for name, some in related.items()} for related in rows.included
            ]
        return made

    def _read_related(self, name: str, related: Any) -> Any:
        read = self._related.get(name)
        if read is None or related is None:
            return related
        return [read(row) for row in related] if isinstance(related, list) else read(related)
