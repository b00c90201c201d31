"""Operations on one collection."""
# ruff: noqa: A002  # an entity's id is called so, everywhere

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from time import time
from typing import Any, Literal, Protocol

import msgspec
import pycrdt

from collab.client.background import Background
from collab.client.calls import Call
from collab.client.documents import Document
from collab.client.subscription import Subscription
from collab.client.values import Entity, Rows, moment, plain_object, read_query
from collab.client.views import Event
from collab.client.writes import WriteMessage
from collab.dates import iso
from collab.errors import CollabError, InvalidRequest
from collab.wire import realtime

ErrorCallback = Callable[[CollabError], object]


OnConflict = Literal["merge", "reject"]


class Client(Protocol):
    """What the parts of the API need of the client."""

    background: Background
    conflicts: OnConflict

    def ticket(self) -> int:
        """A number for a request."""

    def ask(self, message: realtime.Asked, read: Callable[[Any], Any], on_error: ErrorCallback | None) -> Call[Any]:
        """Ask something."""

    def write(
        self, message: WriteMessage, read: Callable[[Any], Any], on_error: ErrorCallback | None, at: str
    ) -> Call[Any]:
        """Write something."""

    def subscribe(
        self,
        target: realtime.AnyTarget,
        callback: Callable[[Any], object] | None,
        *,
        newest: bool,
        condition: Callable[[], object] | None,
        on_error: ErrorCallback | None,
        on_resync: Callable[[], object] | None,
    ) -> Subscription:
        """Begin a subscription."""

    def open_document(self, name: str, doc: pycrdt.Doc[Any] | None) -> Document:
        """Open an entity's document."""


class Collection:
    """Entities of one kind, e.g. ``client.tasks``.

    Operations are under way as soon as they are called; ``await`` them for their result. Values are JSON values,
    points in time among them. Every one may raise what :mod:`collab.errors` names, by its code; writes also
    :class:`collab.errors.RateLimitExceeded` at once when too many wait to be saved already. ``on_error`` is called
    with what an operation that nobody awaits was refused with.
    """

    def __init__(self, client: Client, name: str) -> None:
        self.name = name
        self._client = client

    # writing

    def create(
        self, data: Mapping[str, Any], *, id: str | None = None, on_error: ErrorCallback | None = None
    ) -> Call[Entity]:
        """A new entity, named ``id``, else ``data["id"]``, else by chance."""
        fields = plain_object(data)
        named = fields.pop("id", None)
        return self._write(
            realtime.Create(
                id=self._client.ticket(),
                collection=self.name,
                data=fields,
                entity=id or named or uuid.uuid4().hex,
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
        """New values of some fields; ``unset`` fields are removed.

        ``version`` is the last that the writer has seen, by default the last that this client has. What others wrote
        to the same fields since then is told as ``conflicts`` of the result and to ``on_conflict`` of the client; with
        ``on_conflict="reject"`` nothing is written then, and :class:`collab.errors.Conflict` is raised. By default it
        is ``conflicts`` of the client.
        """
        return self._write(
            realtime.Update(
                id=self._client.ticket(),
                collection=self.name,
                entity=id,
                changes=plain_object(changes),
                unset=tuple(unset),
                version=version,
                on_conflict=on_conflict or self._client.conflicts,
                request=uuid.uuid4().hex,
            ),
            on_error,
        )

    def delete(self, id: str, *, on_error: ErrorCallback | None = None) -> Call[Entity]:
        """Delete an entity; its history is kept. The result is what it was last."""
        return self._write(
            realtime.Delete(id=self._client.ticket(), collection=self.name, entity=id, request=uuid.uuid4().hex),
            on_error,
        )

    def restore(self, id: str, *, version: int | None = None, on_error: ErrorCallback | None = None) -> Call[Entity]:
        """Bring a deleted entity back; with ``version``, bring any entity to what it was then, as a new edit."""
        return self._write(
            realtime.Restore(
                id=self._client.ticket(), collection=self.name, entity=id, version=version, request=uuid.uuid4().hex
            ),
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
        """One entity, with its ``content`` roots if asked for; as it was in a ``version``, or ``at`` some time."""
        message = realtime.FindById(
            id=self._client.ticket(),
            collection=self.name,
            entity=id,
            content=content,
            version=version,
            at=moment(at) if isinstance(at, datetime) else at,
            include_permissions=include_permissions,
        )
        return self._client.ask(message, _found, None)

    def find_many(
        self,
        query: Mapping[str, Any] | None = None,
        *,
        fields: Sequence[str] | None = None,
        include_permissions: bool = False,
    ) -> Call[Rows]:
        """The rows of a query, with these ``fields`` only. At most 10,000: ``next`` of the result leads on."""
        message = realtime.FindMany(
            id=self._client.ticket(),
            collection=self.name,
            query=_unconditional(query),
            fields=_names(fields),
            include_permissions=include_permissions,
        )
        return self._client.ask(message, _found_many, None)

    def count(self, query: Mapping[str, Any] | None = None) -> Call[int]:
        """How many rows match."""
        message = realtime.Count(id=self._client.ticket(), collection=self.name, query=_unconditional(query))
        return self._client.ask(message, lambda result: _convert(result, int), None)

    def history(self, id: str, *, limit: int = 50, before: int | None = None) -> Call[list[Event]]:
        """Events of one entity, the newest first, ``before`` a version."""
        message = realtime.History(
            id=self._client.ticket(), collection=self.name, entity=id, limit=limit, before=before
        )
        return self._client.ask(message, lambda result: _convert(result, list[Event]), None)

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
        """Changes of all entities (``*``) or of one (its id) as :class:`Event`; or the rows of a query, as they are
        now and whenever they change, as :class:`Rows`.

        ``fields``: only changes of these, and only these. Nothing is told while ``condition`` (which may also be in
        the query) is false. ``on_resync`` is called when events were missed. Call the result to end it.
        """
        about, newest, own = self.target(target, fields, include_permissions)
        return self._client.subscribe(
            about,
            callback,
            newest=newest,
            condition=both(condition, own),
            on_error=on_error,
            on_resync=on_resync,
        )

    def target(
        self, target: str | Mapping[str, Any], fields: Sequence[str] | None = None, include_permissions: bool = False
    ) -> tuple[realtime.AnyTarget, bool, Callable[[], object] | None]:
        """What a subscription is about, whether its values replace each other, and its own condition."""
        if isinstance(target, str):
            events = realtime.Entities(
                collection=self.name, entity=target, fields=_names(fields), include_permissions=include_permissions
            )
            return events, False, None
        query, condition = read_query(target)
        rows = realtime.Rows(
            collection=self.name, query=query, fields=_names(fields), include_permissions=include_permissions
        )
        return rows, True, condition

    def open(self, id: str, doc: pycrdt.Doc[Any] | None = None) -> Document:
        """The Yjs document of an entity, over the connection of this client; ``doc`` may be one that exists already.

        Raises :class:`InvalidRequest` if it is open.
        """
        return self._client.open_document(f"{self.name}/{id}", doc)

    def _write(self, message: WriteMessage, on_error: ErrorCallback | None) -> Call[Entity]:
        return self._client.write(message, _written, on_error, iso(time()))


def both(first: Callable[[], object] | None, second: Callable[[], object] | None) -> Callable[[], object] | None:
    """Both conditions, where there are any."""
    if first is None or second is None:
        return first or second
    return lambda: first() and second()


def _unconditional(query: Mapping[str, Any] | None) -> dict[str, Any]:
    return read_query(query or {})[0]


def _names(fields: Sequence[str] | None) -> tuple[str, ...] | None:
    if isinstance(fields, str):
        raise InvalidRequest("fields is a list of names")
    return None if fields is None else tuple(fields)


def _convert(result: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(result, kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"an answer that is not understood: {error}") from None


def _written(result: Any) -> Entity:
    written = _convert(result, realtime.Written)
    entity = Entity(written.data, written.version)
    entity.conflicts = written.conflicts
    return entity


def _found(found: realtime.Found) -> Entity:
    entity = Entity(found.data, found.version)
    entity.deleted = found.deleted
    entity.content = found.content
    entity.permissions = found.permissions
    return entity


def _found_many(found: realtime.FoundMany) -> Rows:
    rows = Rows(found.rows, found.versions)
    rows.permissions = found.permissions
    rows.next = found.next
    return rows
