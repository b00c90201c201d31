"""Operations on one collection."""
# ruff: noqa: A002  # `id` is the public name of an entity's id

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from time import time
from typing import Any, TypeVar

import msgspec
import pycrdt

from collab.client.calls import Call
from collab.client.core.copies import own
from collab.client.core.failures import rebuild
from collab.client.core.values import Entity, Rows, moment, plain_object, read_query
from collab.client.core.views import Event
from collab.client.core.writes import WriteMessage
from collab.client.documents import Document
from collab.client.requests import ErrorCallback, OnConflict, Requests
from collab.client.subscription import Subscription
from collab.dates import iso
from collab.errors import CollabError, InvalidRequest
from collab.wire.realtime import messages as realtime
from collab.wire.realtime import values as wire
from collab.wire.realtime.encoding import MAX_DEPTH
from collab.wire.realtime.updates import read_update

V = TypeVar("V")
ONE_OF_SEVERAL = MAX_DEPTH - 3
"""Nesting of an entity's data as one of several writes."""


class Collection:
    """Entities of one kind, e.g. ``client.tasks``.

    An operation starts when it is called; ``await`` it for its result. Values are JSON values; datetimes are
    converted. Each may raise the errors of :mod:`collab.errors`, by code; a write raises
    :class:`collab.errors.RateLimitExceeded` immediately if too many are queued. ``on_error`` receives the error of an
    operation that nobody awaits.
    """

    def __init__(self, requests: Requests, name: str) -> None:
        self._name = name
        self._requests = requests

    @property
    def name(self) -> str:
        """The name of the collection."""
        return self._name

    # writing

    def create(
        self, data: Mapping[str, Any], *, id: str | None = None, on_error: ErrorCallback | None = None
    ) -> Call[Entity]:
        """Create an entity. Its id is ``id``, else ``data["id"]``, else random."""
        entity, fields = named(data, id)
        return self._write(
            realtime.Create(
                id=self._requests.ticket(),
                collection=self.name,
                data=fields,
                entity=entity,
                request=uuid.uuid4().hex,
            ),
            on_error,
        )

    def update(
        self,
        id: str,
        changes: Mapping[str, Any],
        *,
        unset: Iterable[str] = (),
        version: int | None = None,
        on_conflict: OnConflict | None = None,
        on_error: ErrorCallback | None = None,
    ) -> Call[Entity]:
        """Set some fields; remove the fields in ``unset``.

        ``version`` is the last version that the writer has seen, by default the last one that this client received.
        If others wrote to the same fields since then, their writes are reported in ``conflicts`` of the result and to
        the client's ``on_conflict``. With ``on_conflict="reject"`` nothing is written instead, and
        :class:`collab.errors.Conflict` is raised. The default is the client's ``conflicts``.
        """
        return self._write(
            realtime.Update(
                id=self._requests.ticket(),
                collection=self.name,
                entity=id,
                changes=plain_object(changes),
                unset=_names("unset", unset) or (),
                version=version,
                on_conflict=on_conflict or self._requests.conflicts,
                request=uuid.uuid4().hex,
            ),
            on_error,
        )

    def delete(self, id: str, *, on_error: ErrorCallback | None = None) -> Call[Entity]:
        """Delete an entity; its history is kept. Returns its last state."""
        return self._write(
            realtime.Delete(id=self._requests.ticket(), collection=self.name, entity=id, request=uuid.uuid4().hex),
            on_error,
        )

    def restore(self, id: str, *, version: int | None = None, on_error: ErrorCallback | None = None) -> Call[Entity]:
        """Restore a deleted entity; with ``version``, reset any entity to that version, as a new edit."""
        return self._write(
            realtime.Restore(
                id=self._requests.ticket(), collection=self.name, entity=id, version=version, request=uuid.uuid4().hex
            ),
            on_error,
        )

    # writing several, each on its own

    def create_many(
        self, entities: Iterable[Mapping[str, Any]], *, on_error: ErrorCallback | None = None
    ) -> Call[list[Entity | CollabError]]:
        """Create up to 1,000 entities in one request, each on its own.

        Returns for each, in order, the entity or the error: one that fails does not affect the others.
        """
        return self._write_many(
            [
                wire.CreateOne(collection=self.name, data=fields, entity=entity, request=uuid.uuid4().hex)
                for entity, fields in (named(data, None, ONE_OF_SEVERAL) for data in entities)
            ],
            on_error,
        )

    def update_many(
        self, updates: Iterable[Mapping[str, Any]], *, on_error: ErrorCallback | None = None
    ) -> Call[list[Entity | CollabError]]:
        """Update up to 1,000 entities in one request, each on its own, as :meth:`create_many` creates them.

        Each of ``updates`` is ``{"id", "changes", "unset", "version", "on_conflict"}``, as the arguments of
        :meth:`update`; all but ``id`` are optional. An entity may occur once.
        """
        return self._write_many(
            [
                read_update(
                    self.name,
                    plain_object(update, ONE_OF_SEVERAL + 1),
                    on_conflict=self._requests.conflicts,
                    request=uuid.uuid4().hex,
                )
                for update in updates
            ],
            on_error,
        )

    def delete_many(
        self, ids: Iterable[str], *, on_error: ErrorCallback | None = None
    ) -> Call[list[Entity | CollabError]]:
        """Delete up to 1,000 entities in one request, each on its own, as :meth:`create_many` creates them."""
        return self._write_many(
            [
                wire.DeleteOne(collection=self.name, entity=each, request=uuid.uuid4().hex)
                for each in _names("ids", ids) or ()
            ],
            on_error,
        )

    # reading

    def find_by_id(
        self,
        id: str,
        *,
        content: bool = False,
        version: int | None = None,
        at: datetime | str | None = None,
        include_permissions: bool = False,
    ) -> Call[Entity]:
        """Get one entity, optionally with its ``content`` roots; as of a ``version``, or ``at`` a time."""
        message = realtime.FindById(
            id=self._requests.ticket(),
            collection=self.name,
            entity=id,
            content=content,
            version=version,
            at=moment(at) if isinstance(at, datetime) else at,
            include_permissions=include_permissions,
        )
        return self._requests.ask(message, _found, None)

    def find_many(
        self,
        query: Mapping[str, Any] | None = None,
        *,
        fields: Sequence[str] | None = None,
        include_permissions: bool = False,
    ) -> Call[Rows]:
        """Get the rows of a query, with these ``fields`` only. At most 10,000: see ``next`` of the result."""
        message = realtime.FindMany(
            id=self._requests.ticket(),
            collection=self.name,
            query=_unconditional(query),
            fields=_names("fields", fields),
            include_permissions=include_permissions,
        )
        return self._requests.ask(message, _found_many, None)

    def seen(self, id: str) -> int | None:
        """Return the newest version of an entity that this client has received, if any.

        To detect what others write during an edit as a conflict, keep it from the start of the edit, and pass it to
        :meth:`update` as ``version``.
        """
        return self._requests.seen(self.name, id)

    def count(self, query: Mapping[str, Any] | None = None) -> Call[int]:
        """Count matching rows."""
        message = realtime.Count(id=self._requests.ticket(), collection=self.name, query=_unconditional(query))
        return self._requests.ask(message, lambda result: _convert(result, int), None)

    def aggregate(self, query: Mapping[str, Any] | None = None) -> Call[list[dict[str, Any]]]:
        """Add up matching rows by ``group_by``; it, ``sum``, ``avg``, ``min`` and ``max`` are names, or lists of them.

        Returns groups, ``{"id", "group", "count"}`` and those of ``sum``, ``avg``, ``min`` and ``max`` that the query
        has, in the order of ``group_by``; without ``group_by``, one group.
        """
        message = realtime.Aggregate(id=self._requests.ticket(), collection=self.name, query=_unconditional(query))
        return self._requests.ask(message, lambda result: _convert(result, wire.Groups).groups, None)

    def history(self, id: str, *, limit: int = 50, before: int | None = None) -> Call[list[Event]]:
        """Get events of one entity, newest first, ``before`` a version."""
        message = realtime.History(
            id=self._requests.ticket(), collection=self.name, entity=id, limit=limit, before=before
        )
        return self._requests.ask(message, lambda result: _convert(result, list[Event]), None)

    # live

    def subscribe(
        self,
        target: str | Mapping[str, Any] = "*",
        callback: Callable[[Any], object] | None = None,
        *,
        fields: Sequence[str] | None = None,
        include_permissions: bool = False,
        condition: Callable[[], object] | None = None,
        on_error: ErrorCallback | None = None,
        on_resync: Callable[[], object] | None = None,
    ) -> Subscription:
        """Subscribe to changes of all entities (``*``) or of one (its id) as :class:`Event`; or to a query, as
        :class:`Rows`: its rows now and after each change.

        ``fields``: only changes of these fields, with these fields only. While ``condition`` (also allowed in the
        query) returns false, values are dropped. ``on_resync`` is called when events were missed. Call the result to
        unsubscribe.
        """
        return self.subscription(
            target,
            callback,
            fields=fields,
            include_permissions=include_permissions,
            condition=condition,
            on_error=on_error,
            on_resync=on_resync,
        )()

    def subscribe_aggregate(
        self,
        query: Mapping[str, Any] | None = None,
        callback: Callable[[Any], object] | None = None,
        *,
        condition: Callable[[], object] | None = None,
        on_error: ErrorCallback | None = None,
        on_resync: Callable[[], object] | None = None,
    ) -> Subscription:
        """Subscribe to an aggregate: its groups now and after each change, as :meth:`aggregate` returns them."""
        wanted, from_query = read_query(query or {})
        return self._requests.subscription(
            wire.Aggregated(collection=self.name, query=wanted),
            callback,
            newest=True,
            condition=both(condition, from_query),
            on_error=on_error,
            on_resync=on_resync,
        )()

    def subscription(
        self,
        target: str | Mapping[str, Any],
        callback: Callable[[Any], object] | None,
        *,
        fields: Sequence[str] | None,
        include_permissions: bool,
        condition: Callable[[], object] | None,
        on_error: ErrorCallback | None,
        on_resync: Callable[[], object] | None,
        read: Callable[[Any], V] = own,
    ) -> Callable[[], Subscription[V]]:
        """Return a function that starts a subscription; as :meth:`subscribe`.

        ``read`` is as for :meth:`Requests.subscription`. Raises :class:`InvalidRequest`.
        """
        about, newest, from_query = self._target(target, fields, include_permissions)
        return self._requests.subscription(
            about,
            callback,
            newest=newest,
            condition=both(condition, from_query),
            on_error=on_error,
            on_resync=on_resync,
            read=read,
        )

    def _target(
        self, target: str | Mapping[str, Any], fields: Sequence[str] | None, include_permissions: bool
    ) -> tuple[wire.AnyTarget, bool, Callable[[], object] | None]:
        """Return the target, whether only the newest value matters, and the query's own condition."""
        names = _names("fields", fields)
        if isinstance(target, str):
            events = wire.Entities(
                collection=self.name, entity=target, fields=names, include_permissions=include_permissions
            )
            return events, False, None
        query, condition = read_query(target)
        rows = wire.Rows(collection=self.name, query=query, fields=names, include_permissions=include_permissions)
        return rows, True, condition

    def open(self, id: str, doc: pycrdt.Doc[Any] | None = None) -> Document:
        """Open the Yjs document of an entity over this client's connection; ``doc`` may be an existing one.

        Raises :class:`InvalidRequest` if it is already open.
        """
        return self._requests.open_document(f"{self.name}/{id}", doc)

    def _write(self, message: WriteMessage, on_error: ErrorCallback | None) -> Call[Entity]:
        return self._requests.write(message, _written, on_error, iso(time()))

    def _write_many(
        self, writes: Sequence[wire.AnyWrite], on_error: ErrorCallback | None
    ) -> Call[list[Entity | CollabError]]:
        check_writes(writes, wire.MOST_WRITES)
        message = realtime.WriteMany(id=self._requests.ticket(), writes=tuple(writes))
        return self._requests.write(message, written_many, on_error, iso(time()))


def both(first: Callable[[], object] | None, second: Callable[[], object] | None) -> Callable[[], object] | None:
    """Combine two optional conditions."""
    if first is None or second is None:
        return first or second
    return lambda: first() and second()


def _unconditional(query: Mapping[str, Any] | None) -> dict[str, Any]:
    return read_query(query or {})[0]


def _names(argument: str, names: Iterable[str] | None) -> tuple[str, ...] | None:
    if isinstance(names, str):
        raise InvalidRequest(f"{argument} must be a list of names")
    return None if names is None else tuple(names)


def _convert(result: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(result, kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"invalid answer from the server: {error}") from None


def _written(result: Any) -> Entity:
    written = _convert(result, wire.Written)
    entity = Entity(written.data, written.version)
    entity.conflicts = written.conflicts
    return entity


def check_writes(writes: Sequence[wire.AnyWrite], most: int) -> None:
    """Raise :class:`InvalidRequest` if there are more than ``most`` writes, or two of one entity."""
    if len(writes) > most:
        raise InvalidRequest(f"{len(writes)} writes: there may be {most}")
    for name, count in Counter(f"{write.collection}/{write.entity}" for write in writes).items():
        if count > 1:
            raise InvalidRequest(f"{name}: an entity may occur once")


def named(data: Mapping[str, Any], id: str | None, depth: int = MAX_DEPTH - 1) -> tuple[str, dict[str, Any]]:
    """Return the id of an entity to create (``id``, else ``data["id"]``, else random), and its fields."""
    fields = plain_object(data, depth)
    inside = fields.pop("id", None)
    given = inside if id is None else id
    return uuid.uuid4().hex if given is None else given, fields


def written_many(result: Any) -> list[Entity | CollabError]:
    """Read the results of several writes."""
    return [
        rebuild(one.error) if one.error is not None else _written(msgspec.to_builtins(one))
        for one in _convert(result, list[wire.WriteResult])
    ]


def _found(found: wire.Found) -> Entity:
    entity = Entity(found.data, found.version)
    entity.deleted = found.deleted
    entity.content = found.content
    entity.permissions = found.permissions
    return entity


def _found_many(found: wire.FoundMany) -> Rows:
    rows = Rows(found.rows, found.versions)
    rows.permissions = found.permissions
    if found.included is not None:
        rows.included = [found.related(row) for row in found.rows]
    rows.next = found.next
    return rows
