"""Several writes of which all are made, or none."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from time import time
from typing import Any

from collab.client.calls import Call
from collab.client.collection import ONE_OF_SEVERAL, check_writes, named, written_many
from collab.client.core.values import Entity, plain_object
from collab.client.requests import ErrorCallback, OnConflict, Requests
from collab.dates import iso
from collab.errors import InvalidRequest
from collab.wire.realtime import messages as realtime
from collab.wire.realtime import values as wire
from collab.wire.realtime.updates import read_update


class Transaction:
    """Up to 100 writes of different entities, of any collections. Nothing is sent before :meth:`commit`."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._writes: list[wire.AnyWrite] = []

    def create(self, collection: str, data: Mapping[str, Any], *, id: str | None = None) -> Transaction:  # noqa: A002
        """Add the creation of an entity. Its id is ``id``, else ``data["id"]``, else random."""
        entity, fields = named(data, id, ONE_OF_SEVERAL)
        self._writes.append(wire.CreateOne(collection=collection, data=fields, entity=entity))
        return self

    def update(
        self,
        collection: str,
        id: str,  # noqa: A002
        changes: Mapping[str, Any],
        *,
        unset: Iterable[str] = (),
        version: int | None = None,
        on_conflict: OnConflict | None = None,
    ) -> Transaction:
        """Add an update. With ``on_conflict="reject"``, a conflict refuses the whole transaction."""
        if isinstance(unset, str):
            raise InvalidRequest("unset must be a list of names")
        said = {"id": id, "changes": plain_object(changes, ONE_OF_SEVERAL), "unset": list(unset)}
        more = {"version": version, "on_conflict": on_conflict or self._requests.conflicts}
        self._writes.append(read_update(collection, said, **more))
        return self

    def delete(self, collection: str, id: str) -> Transaction:  # noqa: A002
        """Add the deletion of an entity."""
        self._writes.append(wire.DeleteOne(collection=collection, entity=id))
        return self

    def commit(self, *, on_error: ErrorCallback | None = None) -> Call[list[Entity]]:
        """Send all writes, to be made in one commit. Returns the entities, in order.

        It waits for a connection like other writes, and has effect once. The error of a write that cannot be made
        refuses all of them; its details have the number of the write (``write``). Raises :class:`InvalidRequest`.
        """
        check_writes(self._writes, wire.MOST_IN_TRANSACTION)
        message = realtime.Transaction(id=self._requests.ticket(), writes=tuple(self._writes), request=uuid.uuid4().hex)
        return self._requests.write(message, written_many, on_error, iso(time()))
